import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../contract/errors.ts';
import { scanDataset, type Dataset } from '../learning/dataset.ts';
import type { Products } from '../learning/dense.ts';
import { splitTasks } from '../learning/protocol.ts';
import { createOrtEngine } from '../training/ort/engine.ts';
import { adaptForPruning, adaptModeOf, type AdaptMode } from './adapt.ts';
import { measureLayers } from './cost/cost-model.ts';
import { studentsOf, type CompressDatasetOptions } from './dataset-options.ts';
import { checkEnoughImages } from './enough-images.ts';
import { describeEnvironment, integerWeightBits } from './environment.ts';
import { measureInterleaved } from './evidence/latency.ts';
import { openLabelledImages, type LabelledImages } from './labelled-images.ts';
import { teachingMsWithin } from './plan/budget.ts';
import { openCheckpoint, type Checkpoint } from './plan/checkpoint.ts';
import type { Measure } from './plan/contender.ts';
import { forwardMsOf } from './plan/evaluate.ts';
import { inputSizesOf } from './plan/finalists.ts';
import { searchPlan } from './plan/search.ts';
import { openTrials, type TrialBench } from './plan/trials.ts';
import { describeVariant } from './plan/variant.ts';
import { firstTaskOf } from './tasks.ts';

/** Share of the time budget for fine-tuning the backbone on the first task, the trial included. */
const ADAPTATION_SHARE = 0.25;
/** Share of the time budget for the search; the rest finishes, times and reports what it found. */
const SEARCH_SHARE = 0.75;

/** A data set whose training images were read; of the test images the names alone. */
export interface ReadDataset {
  dataset: Dataset;
  tasks: string[][];
  training: LabelledImages;
  /** Rows of the training images that the first task has. */
  firstTask: readonly number[];
}

/** @throws DATASET_*, BAD_CLASS_NAME, TOO_FEW_CLASSES, TOO_FEW_PER_CLASS, TOO_FEW_IMAGES, INVALID_INPUT, CANCELLED */
export async function readDataset({
  dir,
  backbone,
  tasks: count,
  signal,
  onProgress,
}: CompressDatasetOptions): Promise<ReadDataset> {
  const dataset = await scanDataset(dir, signal ? { signal } : {});
  if (dataset.classes.length < 2) throw new AppError('TOO_FEW_CLASSES', { found: dataset.classes.length, needed: 2 });
  const tasks = splitTasks(dataset.classes, count ?? dataset.classes.length);
  onProgress?.(`reading ${dataset.train.length} training images`);
  const training = await openLabelledImages(dataset.train, backbone, signal);
  const { images, ledger } = training;
  const firstTask = firstTaskOf(tasks, images, ledger);
  if (images.length === 0) throw new AppError('DATASET_EMPTY', { path: join(dir, 'train') });
  const perClass = Map.groupBy(ledger, ({ classId }) => classId);
  checkEnoughImages(new Map(dataset.classes.map((name) => [name, perClass.get(name)?.length ?? 0])));
  return { dataset, tasks, training, firstTask };
}

/** What was tried, all of it on training folds. */
export interface SearchedDataset {
  bench: TrialBench;
  /** Null: nobody asked for it. */
  adaptation: Awaited<ReturnType<typeof adaptForPruning>> | null;
  /** What is kept until the report is made; null: nothing. */
  checkpoint: Checkpoint | null;
  outOfTime: boolean;
}

/**
 * @param startedAt of the whole run, by `performance.now`
 * @throws CANCELLED, BACKBONE_UNSUITABLE, MODEL_UNREADABLE, SINGULAR_STATISTICS, HOME_NOT_WRITABLE where what was tried cannot be kept
 */
export async function searchDataset(
  options: CompressDatasetOptions,
  read: ReadDataset,
  { products, measure, startedAt }: { products: Products; measure: Measure; startedAt: number },
): Promise<SearchedDataset> {
  const { backbone, strategy, threads, signal } = options;
  const { tasks, training, firstTask } = read;
  const say = (line: string) => options.onProgress?.(line);
  say('measuring the uncompressed backbone');
  const bytes = await readFile(backbone.file);
  const mode = adaptModeOf(options);
  const adaptation = mode === 'off' ? null : await adapt(options, mode, read, { bytes, products });
  const checkpoint = await checkpointOf(options, read);
  const budgetMs = SEARCH_SHARE * 1000 * options.timeBudgetS;
  const bench = await openTrials({
    backbone,
    bytes,
    source: training.source,
    images: training.images,
    ledger: training.ledger,
    firstTask,
    adapted: adaptation?.backbone ?? null,
    students: studentsOf(options),
    tasks,
    products,
    threads,
    importance: options.importance,
    seed: options.seed,
    signal,
    measure,
    // A clock that was replaced has no profile either.
    costs: measure === measureInterleaved ? { measure: measureLayers, folder: options.costs ?? null } : null,
    maxDropPp: options.maxDropPp,
    budgetMs,
    checkpoint,
  });
  const { outOfTime } = await searchPlan(
    {
      strategy,
      precision: options.precision,
      ratio: options.ratio ?? null,
      nativeSize: backbone.inputSize,
      sizes: inputSizesOf(backbone),
      maxDropPp: options.maxDropPp,
      timeBudgetMs: Math.max(0, budgetMs - (performance.now() - startedAt)),
      teachingMs: teachingMsWithin(budgetMs),
    },
    {
      evaluate: (variant) => {
        const left = Math.max(0, options.timeBudgetS - (performance.now() - startedAt) / 1000);
        say(`trying ${describeVariant(variant, backbone.inputSize)} (at most ${Math.ceil(left)} s left)`);
        return bench.evaluate(variant);
      },
      now: () => bench.now(),
      signal,
    },
  );
  if (bench.taken > 0) say(`${bench.taken} trials were taken from the run before`);
  return { bench, adaptation, checkpoint, outOfTime };
}

/** Null: nothing is to be kept. */
const checkpointOf = async (
  options: CompressDatasetOptions,
  { tasks, training: { ledger } }: ReadDataset,
): Promise<Checkpoint | null> => {
  const { backbone, threads, work } = options;
  if (work === undefined) return null;
  return openCheckpoint({
    work,
    // The time budget is not among it: a search that ran out of time may go on with more.
    key: {
      environment: describeEnvironment(threads),
      weightBits: integerWeightBits(),
      backbone: [backbone.sha256, backbone.mean, backbone.std],
      images: ledger.map(({ sha, classId }) => [sha, classId]),
      tasks,
      strategy: options.strategy,
      precision: options.precision,
      ratio: options.ratio ?? null,
      maxDropPp: options.maxDropPp,
      importance: options.importance ?? null,
      seed: options.seed,
      // Made anew when it goes on: how long it may train depends on the clock. Trials that were kept say themselves what they learnt from.
      adaptFirstTask: adaptModeOf(options),
      students: studentsOf(options),
    },
    resume: options.resume ?? false,
    onProblem: (problem) => options.onProgress?.(`going on without keeping what is measured: ${problem}`),
  });
};

async function adapt(
  { backbone, threads, seed, timeBudgetS, signal, onProgress }: CompressDatasetOptions,
  mode: Exclude<AdaptMode, 'off'>,
  { dataset, training: { source, images, ledger }, firstTask }: ReadDataset,
  { bytes, products }: { bytes: Uint8Array; products: Products },
) {
  const adapted = await adaptForPruning({
    backbone,
    mode,
    ledger,
    images,
    firstTask,
    describe: (image) => dataset.train[image]!,
    engine: createOrtEngine(),
    products,
    seconds: ADAPTATION_SHARE * timeBudgetS,
    forwardMs: await forwardMsOf(backbone, bytes, source, images, { threads, signal }),
    threads,
    seed,
    onProgress,
    signal,
  });
  onProgress?.(`adaptation to the first task: ${adapted.reason}`);
  return adapted;
}
