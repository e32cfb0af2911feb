import type { Backbone } from '../contract/domain.ts';
import { recipeSchema } from '../contract/domain.ts';
import type { DatasetImage } from '../learning/dataset.ts';
import type { LedgerRow } from '../learning/folds.ts';
import { createImageSource, readableImages, type ImageSource } from './image-source.ts';

/** Images of a data set that can be read, as they come from a line: whole frames. */
export interface LabelledImages {
  source: ImageSource;
  /** Of the source. */
  images: readonly number[];
  /** A row per image. */
  ledger: readonly LedgerRow[];
  /** Names of those that cannot be read. */
  unreadable: string[];
}

/** @throws CANCELLED */
export async function openLabelledImages(
  found: readonly DatasetImage[],
  backbone: Backbone,
  signal: AbortSignal | undefined,
): Promise<LabelledImages> {
  const { rotation, maxPixels } = recipeSchema.parse({});
  const source = createImageSource(
    found.map(({ file }) => ({ file, region: null })),
    backbone,
    { rotation, maxPixels, signal },
  );
  const { indices, looks, failed } = await readableImages(source);
  return {
    source,
    images: indices,
    ledger: indices.map((index, i) => {
      const { className, sha } = found[index]!;
      return { classId: className, sha, look: looks[i]! };
    }),
    unreadable: failed.map(({ index }) => found[index]!.name),
  };
}
