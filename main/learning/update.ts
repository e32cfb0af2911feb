import type { z } from 'zod';
import type { Recipe } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { trainerEvents, trainerMethods } from '../contract/trainer.ts';
import { learnableFrom } from './anomaly/cold-start.ts';
import { openProducts } from './dense.ts';
import { extractFeatures, featureRows, openExtractor, type ExtractOptions } from './extract.ts';
import { appendFeatureRows, readLooks, readRowsOf, writeLooks } from './feature-rows.ts';
import { embed } from './embedding.ts';
import { readExport } from './knowledge-export.ts';
import { solveStatistics } from './knowledge.ts';
import { writeKnowledge } from './knowledge-files.ts';
import { keyOf, picturesPerClass } from './folds.ts';
import { leaveOneOut } from './leave-one-out.ts';
import { sampleOf, type LedgerRow } from './selection.ts';
import { openStatistics } from './statistics-cache.ts';
import { findSuspects, heldOutProbabilities } from './suspects.ts';

type Input<M extends keyof typeof trainerMethods> = z.output<(typeof trainerMethods)[M]['input']>;
type Output<M extends keyof typeof trainerMethods> = z.input<(typeof trainerMethods)[M]['output']>;
export type TrainerProgress = z.infer<(typeof trainerEvents)['trainer.progressed']>;

export interface TrainerOptions {
  onProgress?: ((event: TrainerProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** One image (or region) has one class. @throws CONTRADICTING_LABELS */
function checkLabels(ledger: readonly LedgerRow[]): void {
  const classOf = new Map<string, string>();
  for (const { sha, key = '', classId } of ledger) {
    const name = `${sha} ${key}`;
    const known = classOf.get(name) ?? classId;
    if (known !== classId) throw new AppError('CONTRADICTING_LABELS', { classes: `${known}, ${classId}`, file: sha });
    classOf.set(name, classId);
  }
}

const EXTRACTING = 0.6;
const SOLVING = 0.95;
/** Newest rows outside the sample whose labels are looked at: an update may not take longer the more was learnt. */
const MOST_OTHERS = 2000;

type UpdateImage = Input<'trainer.update'>['images'][number];
/** Its features are not in the feature file. */
const isFresh = ({ row }: UpdateImage): boolean => row < 0;

interface Appended {
  /** All images but those without a part. */
  images: UpdateImage[];
  /** Row of each image in the feature file. */
  places: number[];
  /** What was appended. */
  rows: { sha: string; row: number }[];
  /** Why the first of those that were left out was; null: none was. */
  lost: AppError | null;
}

/**
 * Features of new images are appended to the feature file. What the line would not judge teaches nothing: pictures in which the part is not found are left out, with all of
 * their tiles.
 * @throws IMAGE_* or FEATURES_NOT_FINITE naming the first picture that cannot be learnt, BACKBONE_UNSUITABLE, MODEL_UNREADABLE, DISK_FULL, HOME_NOT_WRITABLE, CANCELLED
 */
async function appendFresh(
  { backbone, recipe, threads, featureFile, images }: Input<'trainer.update'>,
  options: Pick<ExtractOptions, 'onProgress' | 'signal'>,
): Promise<Appended> {
  const places = images.map(({ row }) => row);
  const fresh = images.flatMap((image, i) => (isFresh(image) ? [i] : []));
  if (fresh.length === 0) return { images, places, rows: [], lost: null };
  await using extractor = await openExtractor(backbone, { threads });
  const { features, failed, looks } = await extractFeatures(
    extractor,
    fresh.map((i) => ({ file: images[i]!.file, region: images[i]!.region })),
    { recipe, ...options },
  );
  const other = failed.find(({ error }) => error.code !== 'PART_NOT_FOUND');
  if (other) throw other.error;
  const without = new Set(failed.map(({ index }) => images[fresh[index]!]!.sha));
  const taken = fresh.flatMap((i, k) => (without.has(images[i]!.sha) ? [] : [k]));
  const kept = without.size === 0 ? features : featureRows(features, extractor.features, taken);
  const first = await appendFeatureRows(featureFile, kept, backbone);
  await writeLooks(
    featureFile,
    first,
    taken.map((k) => looks[k]!),
  );
  const rows = taken.map((k, at) => {
    const i = fresh[k]!;
    places[i] = first + at;
    return { sha: images[i]!.sha, row: first + at };
  });
  const left = images.flatMap(({ sha }, i) => (without.has(sha) ? [] : [i]));
  const lost = failed[0]?.error ?? null;
  return { images: left.map((i) => images[i]!), places: left.map((i) => places[i]!), rows, lost };
}

/**
 * trainer.update: features of new images are appended to the feature file, then the knowledge of all images is solved into
 * outDir. Cancelled or failed, it leaves at most rows that nobody refers to.
 * @throws CONTRADICTING_LABELS, TOO_FEW_CLASSES, PART_NOT_FOUND where the pictures with a part are too few, what appendFresh and readExport throw, BUNDLE_ALTERED where a stored row is not
 * there, SINGULAR_STATISTICS, DISK_FULL, HOME_NOT_WRITABLE, CANCELLED
 */
export async function updateKnowledge(
  input: Input<'trainer.update'>,
  { onProgress, signal }: TrainerOptions = {},
): Promise<Output<'trainer.update'>> {
  const started = performance.now();
  const { backbone, classes, criteria, threads, featureFile, outDir } = input;
  checkLabels(input.images.map(({ classId, sha, region }) => ({ classId, sha, ...keyOf(region) })));
  const okIds = new Set(classes.flatMap(({ id, isOk }) => (isOk ? [id] : [])));
  const requireEnough = (of: typeof input.images, lost: AppError | null): void => {
    const counts = picturesPerClass(of);
    if (learnableFrom(counts, okIds) !== 'nothing' || (input.exports ?? []).length > 0) return;
    throw lost ?? new AppError('TOO_FEW_CLASSES', { found: counts.size, needed: 2 });
  };
  requireEnough(input.images, null);
  const report = (progress: number, key: string, details: Record<string, number> = {}) => {
    const elapsed = (performance.now() - started) / 1000;
    const secondsLeft = progress > 0.05 ? (elapsed * (1 - progress)) / progress : null;
    onProgress?.({ progress, secondsLeft, step: { key, details } });
  };
  const stages = backbone.featureOutputs.map(({ channels }) => channels);
  const base = input.images.some(isFresh) ? EXTRACTING : 0;
  const { images, places, rows, lost } = await appendFresh(input, {
    onProgress: (done, total) => report((EXTRACTING * done) / total, 'update.features', { done, total }),
    ...(signal ? { signal } : {}),
  });
  // What is left without the pictures on which no part was found has to be enough as well.
  requireEnough(images, lost);
  const looks = await readLooks(featureFile, places);
  const ledger = images.map(({ classId, sha, region }, i) => ({
    classId,
    sha,
    look: looks[i]!,
    ...keyOf(region),
    row: places[i]!,
  }));
  const nameOf = (row: number) => images[places.indexOf(row)]?.file ?? `row ${row} of ${featureFile}`;
  const readRows = (wanted: readonly number[]) => readRowsOf(featureFile, wanted, backbone, nameOf);
  await using products = openProducts({ threads });
  const cached = await openStatistics(ledger, {
    products,
    dir: input.statisticsDir ?? null,
    backboneSha256: backbone.sha256,
    stages,
    readRows,
    signal,
  });
  const { statistics } = cached;
  const foreign = await Promise.all(
    (input.exports ?? []).map((file) =>
      readExport(file, { backboneSha256: backbone.sha256, stages, successors: input.successors }),
    ),
  );
  const own = statistics.classIds.length;
  const sample = sampleOf(ledger);
  const raw = await readRows(sample.rows.map((i) => places[i]!));
  // Only what is stored is sums of this station alone.
  await cached.save();
  for (const { statistics: theirs } of foreign) statistics.merge(theirs);
  const last = foreign.at(-1);
  const picked = embed(raw, stages);
  const { knowledge, crossValidation } = await solveStatistics(
    {
      statistics,
      ledger,
      sample,
      picked,
      stages,
      // Without labels of its own a station has nothing to choose on: it takes over what the other one chose.
      ...(own === 0 && last ? { fixed: last.choice } : {}),
      okIds,
      criteria,
    },
    {
      products,
      onProgress: (share) => report(base + (1 - base) * SOLVING * share, 'update.solve'),
      ...(signal ? { signal } : {}),
    },
  );
  report(base + (1 - base) * SOLVING, 'update.labels');
  const sampled = new Set(sample.rows);
  const held = await heldOutProbabilities(
    {
      ledger,
      validation: crossValidation,
      temperature: knowledge.temperature,
      picked,
      others: ledger
        .flatMap((_, i) => (sampled.has(i) ? [] : [i]))
        .sort((a, b) => places[b]! - places[a]!)
        .slice(0, MOST_OTHERS),
      readRows: async (wanted) => embed(await readRows(wanted.map((i) => places[i]!)), stages),
    },
    { products, ...(signal ? { signal } : {}) },
  );
  const suspects = findSuspects(ledger, held).map(({ index, contradicting, ...suspect }) => ({
    ...suspect,
    sha: ledger[index]!.sha,
    contradicting: [...new Set(contradicting.map((other) => ledger[other]!.sha))],
  }));
  const left = await leaveOneOut(picked, sample, ledger, crossValidation, products);
  await writeKnowledge(outDir, {
    knowledge,
    backboneId: backbone.id,
    backboneSha256: backbone.sha256,
    inputSize: backbone.inputSize,
  });
  report(1, 'update.done');
  const { lambda, balancing, temperature, balancedAccuracy } = knowledge;
  return {
    summary: {
      lambda,
      balancing,
      temperature,
      balancedAccuracy,
      classes: knowledge.classes.map((each) => {
        const found = left.get(each.classId);
        return found ? { ...each, leaveOneOut: found } : each;
      }),
      seconds: (performance.now() - started) / 1000,
    },
    rows,
    suspects,
  };
}

/** trainer.features: row-major [images, features]; an unreadable picture gives a row of NaN. */
export async function featuresOf(
  { backbone, recipe, images, threads }: Input<'trainer.features'>,
  { onProgress, signal }: TrainerOptions = {},
): Promise<Output<'trainer.features'>> {
  await using extractor = await openExtractor(backbone, { threads });
  const { features } = await extractFeatures(extractor, images, {
    recipe: recipe satisfies Recipe,
    onProgress: (done, total) =>
      onProgress?.({
        progress: done / total,
        secondsLeft: null,
        step: { key: 'queue.features', details: { done, total } },
      }),
    ...(signal ? { signal } : {}),
  });
  return { features };
}
