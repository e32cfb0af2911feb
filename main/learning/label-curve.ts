import type { Backbone } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { scanDataset, type SkippedFile } from './dataset.ts';
import { probabilities } from './calibration.ts';
import { openProducts, type Matrix, type Products } from './dense.ts';
import { embed } from './embedding.ts';
import { argmax, balancedAccuracyOf } from './evaluation.ts';
import { featureRows, featuresOfReadable, openExtractor } from './extract.ts';
import { solveKnowledge, type SolvedKnowledge } from './knowledge.ts';
import { scoreNovelty } from './novelty-score.ts';
import { likenessOfMany, rankQueue, usefulness, type Likeness } from './queue.ts';
import { pick } from './selection.ts';
import { mulberry32 } from '../vision/random.ts';

/*
 * What the queue is worth: the labels of the training images are revealed batch by batch, in the order in which the queue would ask for them
 * or at random, and the knowledge is solved anew after each batch. Test images are judged for the report and change nothing.
 */

/** The JSON of `label-curve` (CLI). Balanced accuracies on test images. */
export interface LabelCurve {
  threads: number;
  labels: number[];
  queue: number[];
  /** Mean over the seeds. */
  random: number[];
  seeds: number;
  images: { train: number; test: number };
  /** Files that were left out, and why. */
  skipped: SkippedFile[];
  /** Accuracy of random order at its last point; labels that each order needs for 95 % of it (null: not reached). */
  target: { balancedAccuracy: number; queue: number | null; random: number | null };
}

const FIRST_LABELS = 10;
const SEEDS = 5;

/** 10, 15, 20, 30, 40, 60, 80, 120 … and no more than there is. */
export function curveSizes(pool: number, most: number): number[] {
  const sizes: number[] = [];
  for (let size = FIRST_LABELS; size < Math.min(pool, most); size *= 2) sizes.push(size, size * 1.5);
  return [...sizes.filter((size) => size < Math.min(pool, most)), Math.min(pool, most)];
}

interface Pool {
  z: Matrix;
  features: Float32Array;
  images: readonly { className: string; sha: string; look: string }[];
}

/** An order that any machine repeats. */
function randomOrder(count: number, seed: number): number[] {
  const next = mulberry32(Math.imul(seed + 1, 0x9e3779b9));
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i -= 1) {
    const j = Math.floor((next() / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

async function solved({ features, images }: Pool, labelled: readonly number[], run: Run): Promise<SolvedKnowledge> {
  const rows = featureRows(features, features.length / images.length, labelled);
  const ledger = labelled.map((row) => ({
    classId: images[row]!.className,
    sha: images[row]!.sha,
    look: images[row]!.look,
  }));
  const criteria = { maxEscape: 1, maxOverkill: 1 };
  const { knowledge } = await solveKnowledge(
    { features: rows, stages: run.stages, ledger, okIds: new Set(), criteria },
    { products: run.products, ...(run.signal ? { signal: run.signal } : {}) },
  );
  return knowledge;
}

interface Run {
  stages: number[];
  products: Products;
  signal?: AbortSignal;
}

/** The next parts that the queue would ask for, given what is known; null: nothing is. */
async function nextOfQueue(
  { z }: Pool,
  likeness: Likeness,
  labelled: readonly number[],
  count: number,
  knowledge: SolvedKnowledge | null,
  { products }: Run,
): Promise<number[]> {
  let own: number[] | null = null;
  if (knowledge) {
    const known = new Set(labelled);
    const open = Array.from({ length: z.rows }, (_, i) => i).filter((i) => !known.has(i));
    const waiting = pick(z, open);
    const { classes, temperature, thresholds, weights } = knowledge;
    const k = classes.length;
    const logits = await products.multiply(waiting, weights);
    const scores = await scoreNovelty(knowledge.novelty, waiting, logits, products);
    const values = Array.from({ length: z.rows }, () => 0);
    own = values;
    open.forEach((row, i) => {
      const p = probabilities(logits.data, i * k, k, temperature);
      const best = argmax(p, 0, k);
      // With one class known nothing lies between two.
      const margin = k > 1 ? p[best]! - Math.max(...p.filter((__, c) => c !== best)) : 1;
      values[row] = usefulness({ novelty: scores[i]!, noveltyLimit: thresholds.novelty, margin });
    });
  }
  return rankQueue(likeness, own, { labelled, first: count }).map(({ index }) => index);
}

/**
 * Balanced accuracy on `test` after so many labels, in the order of the queue (seed null) or a random one.
 * @throws what solveKnowledge throws
 */
export async function labelCurveOf(
  pool: Pool,
  test: Pick<Pool, 'z' | 'images'>,
  sizes: readonly number[],
  seed: number | null,
  run: Run,
): Promise<number[]> {
  const order = seed === null ? null : randomOrder(pool.images.length, seed);
  const likeness = order ? null : await likenessOfMany(pool.z, run.products);
  const labelled: number[] = [];
  const curve: number[] = [];
  let knowledge: SolvedKnowledge | null = null;
  for (const size of sizes) {
    if (run.signal?.aborted) throw new AppError('CANCELLED');
    const count = size - labelled.length;
    labelled.push(
      ...(likeness === null
        ? order!.slice(labelled.length, size)
        : await nextOfQueue(pool, likeness, labelled, count, knowledge, run)),
    );
    knowledge = await solved(pool, labelled, run);
    const { classes, weights } = knowledge;
    const logits = await run.products.multiply(test.z, weights);
    curve.push(
      balancedAccuracyOf(
        test.images.map(({ className }, i) => ({
          truth: className,
          predicted: classes[argmax(logits.data, i * classes.length, classes.length)]!.classId,
        })),
      ),
    );
  }
  return curve;
}

/** Labels after which a curve stays at or above a value: a single lucky point does not count. */
export function labelsNeeded(labels: readonly number[], curve: readonly number[], value: number): number | null {
  let needed: number | null = null;
  for (let i = curve.length - 1; i >= 0 && curve[i]! >= value; i -= 1) needed = labels[i]!;
  return needed;
}

/** @throws what scanDataset and openExtractor throw, DATASET_EMPTY when no picture can be read, CANCELLED */
export async function measureLabelCurve(options: {
  dir: string;
  backbone: Backbone;
  threads: number;
  /** Labels of the last point; default: 320 or all. */
  labels?: number;
  seeds?: number;
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
}): Promise<LabelCurve> {
  const { dir, backbone, threads, signal, onProgress, seeds = SEEDS, labels: most = 320 } = options;
  const stages = backbone.featureOutputs.map(({ channels }) => channels);
  const dataset = await scanDataset(dir, signal ? { signal } : {});
  await using extractor = await openExtractor(backbone, { threads });
  const extract = async (images: typeof dataset.train): Promise<Pool> => {
    const readable = await featuresOfReadable(extractor, images, dataset.skipped, {
      ...(signal ? { signal } : {}),
      onProgress: (done, total) => onProgress?.(`features ${done} of ${total}`),
    });
    if (readable.images.length === 0) throw new AppError('DATASET_EMPTY', { path: dir });
    return { ...readable, z: embed(readable.features, stages) };
  };
  const train = await extract(dataset.train);
  const test = await extract(dataset.test);
  await using products = openProducts({ threads });
  const run: Run = { stages, products, ...(signal ? { signal } : {}) };
  const labels = curveSizes(train.images.length, most);
  onProgress?.('queue order');
  const queue = await labelCurveOf(train, test, labels, null, run);
  const random = labels.map(() => 0);
  for (let seed = 0; seed < seeds; seed += 1) {
    onProgress?.(`random order ${seed + 1} of ${seeds}`);
    const curve = await labelCurveOf(train, test, labels, seed, run);
    curve.forEach((x, i) => (random[i]! += x / seeds));
  }
  const value = 0.95 * random.at(-1)!;
  return {
    threads,
    labels,
    queue,
    random,
    seeds,
    images: { train: train.images.length, test: test.images.length },
    skipped: dataset.skipped,
    target: {
      balancedAccuracy: value,
      queue: labelsNeeded(labels, queue, value),
      random: labelsNeeded(labels, random, value),
    },
  };
}
