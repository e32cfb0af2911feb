import type { Matrix, Products } from './dense.ts';
import type { Stages } from './embedding.ts';
import type { Choice, LedgerRow } from './selection.ts';

/** What a learner needs from outside; one per run. */
export interface LearnerContext {
  products: Products;
  stages: Stages;
  signal?: AbortSignal;
}

/** The port behind which every continual learner stands; one file per method. Class ids are names and may come in any order. */
export interface Learner {
  /**
   * Takes in the images of a task; those of earlier tasks are not given again.
   * @param features raw pooled features, row-major [ledger.length, sum of stages]
   */
  learn(features: Float32Array, ledger: readonly LedgerRow[]): Promise<void>;
  /** Classes known, in the order of the logits. */
  readonly classIds: readonly string[];
  /** Row-major [images, classes]. */
  predict(features: Float32Array): Promise<Matrix>;
  /** Of a linear head: W [d, classes], bias last. */
  readonly weights: Matrix;
  /** Of the last update, as far as the method has them. */
  readonly choice: Choice | null;
}
