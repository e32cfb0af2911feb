import { assert } from '../contract/errors.ts';

/* Measures of LEARNING section 8. Accuracies are 0..1. */

/** Column of the largest of `count` numbers from `at`; the first among equals. */
export function argmax(values: ArrayLike<number>, at: number, count: number): number {
  let best = 0;
  for (let c = 1; c < count; c += 1) if (values[at + c]! > values[at + best]!) best = c;
  return best;
}

export interface Prediction {
  truth: string;
  predicted: string;
}

/** Share right, 0..1; NaN of none. */
export const accuracyOf = (predictions: readonly Prediction[]): number =>
  predictions.filter(({ truth, predicted }) => truth === predicted).length / predictions.length;

/** Per true class that occurs, the share right, 0..1. */
export function recallOf(predictions: readonly Prediction[]): Map<string, number> {
  const seen = new Map<string, { right: number; all: number }>();
  for (const { truth, predicted } of predictions) {
    const entry = seen.get(truth) ?? { right: 0, all: 0 };
    entry.all += 1;
    if (truth === predicted) entry.right += 1;
    seen.set(truth, entry);
  }
  return new Map([...seen].map(([classId, { right, all }]) => [classId, right / all]));
}

/** Mean recall over the classes that occur. */
export function balancedAccuracyOf(predictions: readonly Prediction[]): number {
  const recalls = [...recallOf(predictions).values()];
  return recalls.reduce((sum, recall) => sum + recall, 0) / recalls.length;
}

export interface TaskRecord {
  /** Per task so far: share right of its test images, among all classes seen so far. */
  perTask: number[];
  /** Over all test images of the classes seen so far. */
  accuracy: number;
  recall: ReadonlyMap<string, number>;
}

/** Follows a class-incremental run: R[t][j], backward transfer and forgetting. */
export class AccuracyMatrix {
  readonly records: TaskRecord[] = [];

  /** @param byTask predictions for the test images of task 0..t, in order. */
  add(byTask: readonly (readonly Prediction[])[]): void {
    assert(byTask.length === this.records.length + 1, 'after task t the tests of tasks 0..t are judged');
    const all = byTask.flat();
    this.records.push({ perTask: byTask.map(accuracyOf), accuracy: accuracyOf(all), recall: recallOf(all) });
  }

  /** R; null where a task was not learnt yet. */
  get matrix(): (number | null)[][] {
    return this.records.map(({ perTask }) => this.records.map((_, j) => perTask[j] ?? null));
  }

  /** Mean over t of the accuracy on the classes seen. */
  get averageAccuracy(): number {
    return this.records.reduce((sum, { accuracy }) => sum + accuracy, 0) / this.records.length;
  }

  /** Mean over j < T of R[T][j] - R[j][j]; 0 for a single task. Negative: forgetting. */
  get bwt(): number {
    const last = this.records.at(-1)!.perTask;
    if (last.length < 2) return 0;
    let sum = 0;
    for (let j = 0; j < last.length - 1; j += 1) sum += last[j]! - this.records[j]!.perTask[j]!;
    return sum / (last.length - 1);
  }

  /** Greatest recall so far minus the final one. */
  forgetting(classId: string): number {
    const recalls = this.records.flatMap(({ recall }) => recall.get(classId) ?? []);
    return Math.max(...recalls) - recalls.at(-1)!;
  }
}
