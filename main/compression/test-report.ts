import type { Backbone } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { matrix, type Products } from '../learning/dense.ts';
import { embed } from '../learning/embedding.ts';
import { AccuracyMatrix, argmax, type Prediction } from '../learning/evaluation.ts';
import { logitsOf } from '../learning/knowledge.ts';
import { solveHead } from '../learning/solve.ts';
import { Statistics } from '../learning/statistics.ts';
import type { Finished } from './finish.ts';
import type { ImageSource } from './image-source.ts';
import { classCounts, featuresOf, stagesOf, type Judged } from './plan/evaluate.ts';

export interface TestOptions {
  backbone: Backbone;
  source: ImageSource;
  images: readonly number[];
  /** Class of each image. */
  truth: readonly string[];
  tasks: readonly (readonly string[])[];
  products: Products;
  threads: number;
  signal?: AbortSignal | undefined;
}

export interface TestResult {
  judged: Judged;
  /** Recall by class. */
  perClass: Record<string, number>;
  bwt: number | null;
  /** Raw, of the test images. */
  features: Float32Array;
}

/** Each task needs one solve; beyond this many they would take longer than all the rest. */
const MOST_TASKS = 20;

/** Judges test images with a finished model, for the report alone. @throws DATASET_CLASSES_DIFFER, and as featuresOf */
export async function testFinished(finished: Finished, options: TestOptions): Promise<TestResult> {
  const { backbone, products, truth } = options;
  const { knowledge, variant } = finished;
  const features = await featuresOf(
    backbone,
    finished.backboneBytes,
    variant.inputSize,
    options.source,
    options.images,
    options,
  );
  const z = embed(features, stagesOf(backbone));
  const logits = await logitsOf(knowledge, z, products);
  const classIds = knowledge.classes.map(({ classId }) => classId);
  const column = new Map(classIds.map((id, c) => [id, c]));
  const judged: Judged = {
    classIds,
    rows: truth.map((_, i) => i),
    truth: Int32Array.from(truth, (id) => column.get(id) ?? -1),
    given: Int32Array.from(truth, (_, i) => argmax(logits.data, i * classIds.length, classIds.length)),
  };
  if (judged.truth.includes(-1)) {
    throw new AppError('DATASET_CLASSES_DIFFER', { difference: 'a test class has no readable training image' });
  }
  return {
    judged,
    features,
    perClass: Object.fromEntries(classCounts(judged).map(({ n, right }, c) => [classIds[c]!, n === 0 ? 0 : right / n])),
    bwt: await backwardTransfer(),
  };

  /** Learns task after task from the statistics that the finished model was solved from. */
  async function backwardTransfer(): Promise<number | null> {
    const { tasks } = options;
    if (tasks.length > MOST_TASKS) return null;
    const rowsOf = tasks.map((task) => truth.flatMap((id, i) => (task.includes(id) ? [i] : [])));
    if (rowsOf.some((rows) => rows.length === 0)) return null;
    const follow = new AccuracyMatrix();
    for (const t of tasks.keys()) {
      if (options.signal?.aborted) throw new AppError('CANCELLED');
      const seen = new Statistics(finished.statistics.size);
      seen.merge(finished.statistics);
      for (const id of tasks.slice(t + 1).flat()) if (seen.count(id) > 0) seen.forget(id);
      const head = await solveHead(seen, knowledge, products);
      const predictions = [];
      for (const rows of rowsOf.slice(0, t + 1)) {
        const some = matrix(rows.length, z.columns);
        rows.forEach((row, i) => some.data.set(z.data.subarray(row * z.columns, (row + 1) * z.columns), i * z.columns));
        const values = await logitsOf(head, some, products);
        predictions.push(
          rows.map((row, i): Prediction => ({
            truth: truth[row]!,
            predicted: head.classIds[argmax(values.data, i * head.classIds.length, head.classIds.length)]!,
          })),
        );
      }
      follow.add(predictions);
    }
    return follow.bwt;
  }
}
