import { cholesky, invertLower, matrix, type Products } from '../../learning/dense.ts';
import type { DependencyGroup } from './groups.ts';

/*
 * What a channel is worth: the error that removing it leaves in the outputs of its consumers, measured on calibration
 * activations, relative to the variance of what those outputs are added to.
 */

/** The order in which a group would lose its channels, and what that costs. */
export interface RemovalCurve {
  group: DependencyGroup;
  /** Channels, first to go first. May be shorter than the group: the rest always stays. */
  order: Int32Array;
  /** error[k]: relative error after the first k channels of `order` are gone; error[0] = 0, non-decreasing. */
  error: Float64Array;
}

/** Ridge on covariances, relative to their mean diagonal: sampled activations of dead channels have none of their own. */
const RIDGE = 1e-4;

/** A copy of a covariance [n, n] with that share of its mean diagonal added to the diagonal. */
export const withRidge = (covariance: Float64Array, n: number, share = RIDGE): Float64Array => {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += covariance[i * n + i]!;
  const ridge = Math.max((share * trace) / n, 1e-12);
  const out = Float64Array.from(covariance);
  for (let i = 0; i < n; i++) out[i * n + i]! += ridge;
  return out;
};

/** Inverse of a symmetric positive definite matrix [n, n]. */
const invertSymmetric = async (a: Float64Array, n: number, products: Products): Promise<Float64Array> => {
  const inverse = await invertLower(await cholesky(matrix(n, n, a), products), products);
  return (await products.multiply(inverse, inverse, { transposeA: true })).data;
};

/**
 * Removal with compensation: each step takes the channel whose loss the remaining ones can best make up for by least squares,
 * error w_c^T w_c / (C^-1)_cc, and moves weights and C^-1 accordingly (optimal brain surgeon, Hassibi & Stork 1993, for a
 * whole input channel of a pointwise convolution).
 * @param covariance [n, n] of the consumer's input
 * @param weight [outputs, n]
 * @param most channels to remove at most
 * @returns order of removal and the absolute error (summed over outputs) after each
 */
export async function compensatedOrder(
  covariance: Float64Array,
  weight: Float64Array,
  n: number,
  outputs: number,
  most: number,
  products: Products,
): Promise<{ order: Int32Array; error: Float64Array }> {
  const inverse = await invertSymmetric(withRidge(covariance, n), n, products);
  // Transposed: a channel's column is touched as one run.
  const columns = new Float64Array(n * outputs);
  for (let o = 0; o < outputs; o++) for (let c = 0; c < n; c++) columns[c * outputs + o] = weight[o * n + c]!;
  const gone = new Uint8Array(n);
  const order = new Int32Array(most);
  const error = new Float64Array(most + 1);
  for (let step = 0; step < most; step++) {
    let best = -1;
    let least = Infinity;
    for (let c = 0; c < n; c++) {
      if (gone[c]) continue;
      let norm = 0;
      for (let o = 0, at = c * outputs; o < outputs; o++, at++) norm += columns[at]! * columns[at]!;
      const cost = norm / inverse[c * n + c]!;
      if (cost < least) {
        least = cost;
        best = c;
      }
    }
    const pivot = inverse[best * n + best]!;
    const pivotRow = inverse.slice(best * n, best * n + n);
    const pivotColumn = columns.slice(best * outputs, best * outputs + outputs);
    for (let c = 0; c < n; c++) {
      if (gone[c]) continue;
      const factor = pivotRow[c]! / pivot;
      if (factor === 0) continue;
      for (let o = 0, at = c * outputs; o < outputs; o++, at++) columns[at]! -= factor * pivotColumn[o]!;
      for (let k = 0, at = c * n; k < n; k++, at++) inverse[at]! -= factor * pivotRow[k]!;
    }
    gone[best] = 1;
    order[step] = best;
    error[step + 1] = error[step]! + Math.max(0, least);
  }
  return { order, error };
}

/**
 * Removal without compensation, for groups that several consumers read or that a larger kernel reads: channels in the order of
 * activation energy times squared weight norm, summed over the consumers.
 */
export function energyOrder(scores: Float64Array, most: number): { order: Int32Array; error: Float64Array } {
  const order = Int32Array.from(scores.keys())
    .sort((a, b) => scores[a]! - scores[b]! || a - b)
    .slice(0, most);
  const error = new Float64Array(order.length + 1);
  order.forEach((channel, k) => (error[k + 1] = error[k]! + scores[channel]!));
  return { order, error };
}
