import { cholesky, invertLower, matrix, type Matrix, type Products } from './dense.ts';
import { leadingSubspace, MAX_RANK, type Moments, type Subspace } from './subspace.ts';

/*
 * Distances that novelty is made of (novelty-score.ts). Relative Mahalanobis distance (Ren et al., 2021): the distance to
 * the nearest class mean under the covariance that all classes share, less the distance to the mean of all parts under the
 * covariance of all parts. The angle to the nearest class mean under the same covariance. Both live in the leading `rank` directions of the
 * ledger's scatter, so that the line pays a small product and no more; beside them, the energy outside these directions.
 *
 * All of it follows from the same statistics as the head.
 */

export interface NoveltySpace {
  rank: number;
  /** Mean of all parts, [d0] (z without the constant). */
  mean: Float64Array;
  /** Leading directions, row-major [d0, rank]. */
  directions: Matrix;
  /** Variance of all parts along each direction, and mean energy outside them. */
  variance: Float64Array;
  residual: number;
  /** 1 / regularised variance along each direction. */
  precision: Float64Array;
  /** u = y whitening, row-major [rank, rank]. */
  whitening: Matrix;
  /** Class means in u, row-major [classes, rank]. */
  centres: Matrix;
}

/** Share of the mean variance that is added to every direction: few images do not know their covariance. */
const SHRINKAGE = 0.05;
/** Added to squared lengths before they are divided by: a part in the very middle has no angle. */
export const TINY_LENGTH = 1e-6;

/** The model from directions, class means and the covariance within classes, all in the directions. */
async function noveltyOf(subspace: Subspace, within: Matrix, means: Matrix, products: Products): Promise<NoveltySpace> {
  const { mean, directions, variance, residual } = subspace;
  const rank = directions.columns;
  let trace = 0;
  for (let i = 0; i < rank; i += 1) trace += within.data[i * rank + i]!;
  // A floor: a ledger of copies of one image has no variance at all.
  const floor = SHRINKAGE * Math.max(trace / rank, 1e-9);
  const regular = matrix(rank, rank, within.data.slice());
  for (let i = 0; i < rank; i += 1) regular.data[i * rank + i]! += floor;
  const inverse = await invertLower(await cholesky(regular, products), products);
  // u = L^-1 y, written for row vectors: y L^-T.
  const whitening = matrix(rank, rank);
  for (let i = 0; i < rank; i += 1)
    for (let j = 0; j <= i; j += 1) whitening.data[j * rank + i] = inverse.data[i * rank + j]!;
  const spread = SHRINKAGE * Math.max(variance.reduce((a, b) => a + b, 0) / rank, 1e-9);
  return {
    rank,
    mean,
    directions,
    variance,
    residual,
    precision: variance.map((value) => 1 / (value + spread)),
    whitening,
    centres: await products.multiply(means, whitening),
  };
}

/**
 * @param start directions of much the same moments
 * @throws SINGULAR_STATISTICS
 */
export async function fitNovelty(
  moments: Moments,
  samples: number,
  products: Products,
  start?: Matrix,
): Promise<NoveltySpace> {
  const { classes } = moments;
  const subspace = await leadingSubspace(moments, samples, products, MAX_RANK, start);
  const { mean, directions, variance } = subspace;
  const rank = directions.columns;
  const d0 = mean.length;
  const total = classes.reduce((sum, { weight }) => sum + weight, 0);
  const centred = matrix(classes.length, d0);
  classes.forEach((entry, c) => {
    for (let i = 0; i < d0; i += 1) centred.data[c * d0 + i] = entry.mean[i]! - mean[i]!;
  });
  const means = await products.multiply(centred, directions);
  // Along the directions the covariance of all parts is diagonal. Less that of the class means, what is left is within classes.
  const within = matrix(rank, rank);
  for (let i = 0; i < rank; i += 1) {
    within.data[i * rank + i] = variance[i]!;
    for (let j = 0; j < rank; j += 1) {
      classes.forEach(({ weight }, c) => {
        within.data[i * rank + j]! -= (weight / total) * means.data[c * rank + i]! * means.data[c * rank + j]!;
      });
    }
  }
  return noveltyOf(subspace, within, means, products);
}

export interface Distances {
  /** (nearest class - all parts) / rank. */
  relative: Float64Array;
  /** Minus the cosine to the nearest class mean, whitened. */
  cosine: Float64Array;
}

/** @param y coordinates in the directions, row-major [n, rank] (subspace.ts, project) */
export async function distancesOf(
  { rank, precision, whitening, centres }: Pick<NoveltySpace, 'rank' | 'precision' | 'whitening' | 'centres'>,
  y: Matrix,
  products: Products,
): Promise<Distances> {
  const u = await products.multiply(y, whitening);
  const lengths = Array.from({ length: centres.rows }, (_, c) => {
    let sum = TINY_LENGTH;
    for (let j = 0; j < rank; j += 1) sum += centres.data[c * rank + j]! ** 2;
    return Math.sqrt(sum);
  });
  const relative = new Float64Array(y.rows);
  const cosine = new Float64Array(y.rows);
  for (let i = 0; i < y.rows; i += 1) {
    let nearest = Number.POSITIVE_INFINITY;
    let closest = Number.NEGATIVE_INFINITY;
    let length = 0;
    let all = 0;
    for (let j = 0; j < rank; j += 1) {
      length += u.data[i * rank + j]! ** 2;
      all += precision[j]! * y.data[i * rank + j]! ** 2;
    }
    for (let c = 0; c < centres.rows; c += 1) {
      let distance = 0;
      let dot = 0;
      for (let j = 0; j < rank; j += 1) {
        const [a, b] = [u.data[i * rank + j]!, centres.data[c * rank + j]!];
        distance += (a - b) ** 2;
        dot += a * b;
      }
      nearest = Math.min(nearest, distance);
      closest = Math.max(closest, dot / lengths[c]!);
    }
    relative[i] = (nearest - all) / rank;
    cosine[i] = -closest / Math.sqrt(length + TINY_LENGTH);
  }
  return { relative, cosine };
}
