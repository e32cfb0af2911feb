import { AppError } from '../contract/errors.ts';
import { LEAST_OK_PARTS } from '../learning/anomaly/cold-start.ts';
import { keyOf, picturesPerClass, type LedgerRow } from '../learning/folds.ts';
import { checkEnoughImages } from './enough-images.ts';
import { createImageSource, readableImages, type ImageSource } from './image-source.ts';
import type { CompressStationInput } from './station.ts';
import { readSumsOfOthers, type SumsOfOthers } from './sums-of-others.ts';

/** A station's labelled pictures that can be read, and what other stations gave. */
export interface StationImages {
  source: ImageSource;
  /** Rows of the source, in ledger order. */
  images: number[];
  ledger: LedgerRow[];
  /** What of them names a search that may go on: content, class and region of each. */
  identity: unknown[];
  others: SumsOfOthers | null;
  /** A class for people. */
  nameOf(classId: string): string;
}

/**
 * @returns pictures of at least two classes, or the class of good parts where nothing else is labelled
 * @throws TOO_FEW_CLASSES, TOO_FEW_PER_CLASS, TOO_FEW_IMAGES, what readSumsOfOthers throws, CANCELLED
 */
export async function readStationImages(
  { backbone, recipe, classes, exports, successors, ...input }: CompressStationInput,
  { signal, onCount }: { signal?: AbortSignal | undefined; onCount(images: number): void },
): Promise<StationImages | { onlyGood: CompressStationInput['classes'][number] }> {
  const known = new Map(classes.map((each) => [each.id, each]));
  const nameOf = (classId: string) => known.get(classId)?.names.en ?? classId;
  const labelled = input.images.filter(({ classId }) => known.has(classId));
  const source = createImageSource(labelled, backbone, {
    rotation: recipe.rotation,
    maxPixels: recipe.maxPixels,
    finder: recipe.finder,
    signal,
  });
  onCount(labelled.length);
  const { indices: images, looks } = await readableImages(source);
  const ledger = images.map((index, i): LedgerRow => {
    const { sha, classId, region } = labelled[index]!;
    return { sha, classId, look: looks[i]!, ...keyOf(region) };
  });
  const others = await readSumsOfOthers(exports, backbone, successors);
  const pictures = picturesPerClass(ledger);
  const ofOthers = others?.statistics.classIds ?? [];
  const classIds = [...new Set([...pictures.keys(), ...ofOthers])];
  if (classIds.length < 2) {
    const only = known.get(classIds[0] ?? '');
    if (only?.isOk && (pictures.get(only.id) ?? 0) >= LEAST_OK_PARTS) return { onlyGood: only };
    throw new AppError('TOO_FEW_CLASSES', { found: classIds.length, needed: 2 });
  }
  checkEnoughImages(new Map([...pictures].map(([id, count]) => [nameOf(id), count])), ofOthers.map(nameOf));
  const identity = images.map((index) => {
    const { sha, classId, region } = labelled[index]!;
    return [sha, classId, region];
  });
  return { source, images, ledger, identity, others, nameOf };
}
