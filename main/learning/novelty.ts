import { isAppError } from '../contract/errors.ts';
import { cholesky, invertLower, matrix, slice, type Matrix, type Products } from './dense.ts';

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

export const MAX_RANK = 128;
/** Share of the mean variance that is added to every direction: few images do not know their covariance. */
const SHRINKAGE = 0.05;
/** Added to squared lengths before they are divided by: a part in the very middle has no angle. */
export const TINY_LENGTH = 1e-6;
const SUBSPACE_STEPS = 4;

/** Deterministic numbers in -1..1: the start of the subspace iteration must be the same on every machine. */
function startOf(rows: number, columns: number): Matrix {
  const start = matrix(rows, columns);
  let state = 0x2545f491;
  for (let i = 0; i < start.data.length; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    start.data[i] = state / 0x80000000;
  }
  return start;
}

/** Orthonormal columns of the same span: Cholesky QR twice (Yamamoto et al., 2015), Gram-Schmidt where columns depend on each other. */
async function orthonormalise(a: Matrix, products: Products): Promise<Matrix> {
  let basis = a;
  try {
    for (let pass = 0; pass < 2; pass += 1) {
      const factor = await cholesky(await products.multiply(basis, basis, { transposeA: true }), products);
      basis = await products.multiply(basis, await invertLower(factor, products), { transposeB: true });
    }
    return basis;
  } catch (error) {
    if (!isAppError(error, 'SINGULAR_STATISTICS')) throw error;
    return gramSchmidt(a);
  }
}

/** Modified Gram-Schmidt, twice; columns that add nothing become zero. */
function gramSchmidt(a: Matrix): Matrix {
  const { rows, columns } = a;
  // Column by column in contiguous memory.
  const basis = Array.from({ length: columns }, (_, c) =>
    Float64Array.from({ length: rows }, (_, r) => a.data[r * columns + c]!),
  );
  for (let c = 0; c < columns; c += 1) {
    const column = basis[c]!;
    const before = Math.sqrt(column.reduce((sum, v) => sum + v * v, 0));
    for (let pass = 0; pass < 2; pass += 1) {
      for (let e = 0; e < c; e += 1) {
        const earlier = basis[e]!;
        let dot = 0;
        for (let r = 0; r < rows; r += 1) dot += column[r]! * earlier[r]!;
        if (dot !== 0) for (let r = 0; r < rows; r += 1) column[r]! -= dot * earlier[r]!;
      }
    }
    let norm = 0;
    for (let r = 0; r < rows; r += 1) norm += column[r]! ** 2;
    norm = Math.sqrt(norm);
    const scale = norm > 1e-10 * before && norm > 0 ? 1 / norm : 0;
    for (let r = 0; r < rows; r += 1) column[r]! *= scale;
  }
  const out = matrix(rows, columns);
  basis.forEach((column, c) => column.forEach((v, r) => (out.data[r * columns + c] = v)));
  return out;
}

/** Eigenvectors (columns, by falling eigenvalue) of a small symmetric matrix: cyclic Jacobi. */
export function eigenSymmetric(a: Matrix): { values: Float64Array; vectors: Matrix } {
  const n = a.rows;
  const m = a.data.slice();
  const v = matrix(n, n);
  for (let i = 0; i < n; i += 1) v.data[i * n + i] = 1;
  let total = 0;
  for (const x of m) total += x * x;
  for (let sweep = 0; sweep < 12; sweep += 1) {
    let off = 0;
    for (let p = 0; p < n; p += 1) for (let q = 0; q < p; q += 1) off += m[p * n + q]! ** 2;
    if (off <= 1e-22 * total) break;
    for (let p = 0; p < n - 1; p += 1) {
      for (let q = p + 1; q < n; q += 1) {
        const apq = m[p * n + q]!;
        if (apq === 0) continue;
        const theta = (m[q * n + q]! - m[p * n + p]!) / (2 * apq);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        const s = t * c;
        for (let k = 0; k < n; k += 1) {
          const kp = m[k * n + p]!;
          const kq = m[k * n + q]!;
          m[k * n + p] = c * kp - s * kq;
          m[k * n + q] = s * kp + c * kq;
        }
        for (let k = 0; k < n; k += 1) {
          const pk = m[p * n + k]!;
          const qk = m[q * n + k]!;
          m[p * n + k] = c * pk - s * qk;
          m[q * n + k] = s * pk + c * qk;
        }
        // Eigenvectors as rows: contiguous.
        for (let k = 0; k < n; k += 1) {
          const pk = v.data[p * n + k]!;
          const qk = v.data[q * n + k]!;
          v.data[p * n + k] = c * pk - s * qk;
          v.data[q * n + k] = s * pk + c * qk;
        }
      }
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => m[j * n + j]! - m[i * n + i]!);
  const vectors = matrix(n, n);
  order.forEach((from, to) => {
    for (let k = 0; k < n; k += 1) vectors.data[k * n + to] = v.data[from * n + k]!;
  });
  return { values: Float64Array.from(order, (i) => m[i * n + i]!), vectors };
}

/** Weighted moments of the ledger: the scatter with the bias column, sum_c w_c s_c hidden in it, and the class means. */
export interface Moments {
  /** sum_c w_c S_c [d, d]; its last row is sum_c w_c s_c and its corner the total weight. */
  scatter: Matrix;
  classes: readonly { mean: Float64Array; weight: number }[];
}

export interface Subspace {
  mean: Float64Array;
  directions: Matrix;
  /** Variance of all parts along each direction. */
  variance: Float64Array;
  /** Mean energy outside. */
  residual: number;
}

/** The leading directions of the centred scatter, by subspace iteration with a Rayleigh-Ritz step. */
export async function leadingSubspace(
  { scatter }: Pick<Moments, 'scatter'>,
  samples: number,
  products: Products,
  maxRank = MAX_RANK,
): Promise<Subspace> {
  const d = scatter.rows;
  const d0 = d - 1;
  const total = scatter.data[d * d - 1]!;
  const mean = Float64Array.from({ length: d0 }, (_, i) => scatter.data[d0 * d + i]! / total);
  const centred = matrix(d0, d0);
  let energy = 0;
  for (let i = 0; i < d0; i += 1) {
    for (let j = 0; j < d0; j += 1) centred.data[i * d0 + j] = scatter.data[i * d + j]! / total - mean[i]! * mean[j]!;
    energy += centred.data[i * d0 + i]!;
  }
  const rank = Math.max(1, Math.min(maxRank, d0, Math.floor(samples / 2)));
  let basis = await orthonormalise(startOf(d0, rank), products);
  for (let step = 0; step < SUBSPACE_STEPS; step += 1) {
    basis = await orthonormalise(await products.multiply(centred, basis), products);
  }
  const small = await products.multiply(basis, await products.multiply(centred, basis), { transposeA: true });
  const { values, vectors } = eigenSymmetric(small);
  const directions = await products.multiply(basis, vectors);
  const variance = values.map((value) => Math.max(value, 0));
  const kept = variance.reduce((sum, value) => sum + value, 0);
  return { mean, directions, variance, residual: Math.max(0, energy - kept) };
}

/** The model from directions, class means and the covariance within classes, all in the directions. */
export async function noveltyOf(
  subspace: Subspace,
  within: Matrix,
  means: Matrix,
  products: Products,
): Promise<NoveltySpace> {
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

/** @throws SINGULAR_STATISTICS */
export async function fitNovelty(moments: Moments, samples: number, products: Products): Promise<NoveltySpace> {
  const { scatter, classes } = moments;
  const subspace = await leadingSubspace(moments, samples, products);
  const { mean, directions } = subspace;
  const rank = directions.columns;
  const d = scatter.rows;
  const d0 = d - 1;
  const total = scatter.data[d * d - 1]!;
  const centred = matrix(classes.length, d0);
  classes.forEach((entry, c) => {
    for (let i = 0; i < d0; i += 1) centred.data[c * d0 + i] = entry.mean[i]! - mean[i]!;
  });
  const means = await products.multiply(centred, directions);
  const inner = slice(scatter, 0, d0, 0, d0);
  const within = await products.multiply(directions, await products.multiply(inner, directions), { transposeA: true });
  const offset = await products.multiply(matrix(1, d0, mean), directions);
  for (let i = 0; i < rank; i += 1) {
    for (let j = 0; j < rank; j += 1) {
      // All scatter less that of the class means: what is left is within classes.
      let value = within.data[i * rank + j]! / total - offset.data[i]! * offset.data[j]!;
      classes.forEach(({ weight }, c) => {
        value -= (weight / total) * means.data[c * rank + i]! * means.data[c * rank + j]!;
      });
      within.data[i * rank + j] = value;
    }
  }
  return noveltyOf(subspace, within, means, products);
}

/** Coordinates y in the directions, and the energy outside, of each row of z (with its constant). */
export async function project(
  { mean, directions }: Pick<Subspace, 'mean' | 'directions'>,
  z: Matrix,
  products: Products,
): Promise<{ y: Matrix; outside: Float64Array }> {
  const d0 = mean.length;
  const centred = matrix(z.rows, d0);
  const outside = new Float64Array(z.rows);
  for (let i = 0; i < z.rows; i += 1) {
    for (let j = 0; j < d0; j += 1) {
      const value = z.data[i * z.columns + j]! - mean[j]!;
      centred.data[i * d0 + j] = value;
      outside[i]! += value * value;
    }
  }
  const y = await products.multiply(centred, directions);
  for (let i = 0; i < y.rows; i += 1) {
    for (let j = 0; j < y.columns; j += 1) outside[i]! -= y.data[i * y.columns + j]! ** 2;
  }
  return { y, outside: outside.map((value) => Math.max(value, 0)) };
}

export interface Distances {
  /** (nearest class - all parts) / rank. */
  relative: Float64Array;
  /** Minus the cosine to the nearest class mean, whitened. */
  cosine: Float64Array;
}

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
