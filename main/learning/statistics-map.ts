import { AppError } from '../contract/errors.ts';
import {
  cholesky,
  invertLower,
  matrix,
  slice,
  solveCholesky,
  type Cholesky,
  type Matrix,
  type Products,
} from './dense.ts';
import type { GivenSums } from './held-out-heads.ts';
import { pick } from './selection.ts';
import type { Statistics } from './statistics.ts';

/*
 * Sums of parts whose pictures are not at hand, on the features of another backbone. What a linear map A turns z into has the sums s A and A^T S A: so they are mapped as if each part
 * had been, with the covariance of the residual for each of them, since z_new = z A + e. A is the ridge solution from old to new features on what pictures there are. It takes the constant to the constant.
 */

/** How well the map tells features that it was not fitted on. */
export interface MapFit {
  /** Pictures that it was fitted on. */
  images: number;
  /** Explained share of the variance of the new features; 0: no better than their mean. */
  r2: number;
  /** What was held out of the fit: whole classes, as a class without any picture here is, or folds. */
  heldOut: 'classes' | 'folds';
}

/** Explained share of the variance below which mapped parts may be anywhere. */
export const LEAST_R2 = 0.5;

/** @param fit null: nothing was mapped */
export const isPoor = (fit: Pick<MapFit, 'r2'> | null): boolean => fit !== null && !(fit.r2 >= LEAST_R2);

export interface FeatureMap {
  /** A [d old, d new]. */
  matrix: Matrix;
  /** Mean of e e^T over the rows, each held out of the fit [d new, d new]. */
  residual: Matrix;
}

export interface FittedMap extends FeatureMap {
  fit: MapFit;
  /** The map of some of the rows alone, with the same ridge. */
  of(rows: readonly number[]): Promise<FeatureMap>;
}

const RIDGES = [1e-4, 1e-3, 1e-2, 0.1, 1];
/** Of the constant beside the features, so that the ridge leaves the mean alone. */
const CONSTANT = 30;

/** Sum of squared distances to the mean of all rows. */
function spreadOf({ rows, columns, data }: Matrix): number {
  let total = 0;
  for (let j = 0; j < columns; j += 1) {
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < rows; i += 1) {
      const value = data[i * columns + j]!;
      sum += value;
      squares += value * value;
    }
    total += squares - sum ** 2 / rows;
  }
  return total;
}

/** What is left over of rows by fits without their group: of a kernel fit it is G_gg^-1 (G y)_g. */
async function leftOver(
  inverse: Matrix,
  alpha: Matrix,
  groups: readonly (readonly number[])[],
  products: Products,
): Promise<Matrix> {
  const n = inverse.rows;
  const all = matrix(n, alpha.columns);
  for (const group of groups) {
    const m = group.length;
    const block = matrix(m, m);
    const own = matrix(m, alpha.columns);
    group.forEach((i, at) => {
      group.forEach((j, to) => (block.data[at * m + to] = inverse.data[i * n + j]!));
      own.data.set(slice(alpha, i, 1, 0, alpha.columns).data, at * alpha.columns);
    });
    const left = await solveCholesky(await cholesky(block, products), own, products);
    group.forEach((i, at) => all.data.set(slice(left, at, 1, 0, alpha.columns).data, i * alpha.columns));
  }
  return all;
}

/** Rows with the constant made large. */
function enlarged(z: Matrix): Matrix {
  const x = matrix(z.rows, z.columns, z.data.slice());
  for (let i = 1; i <= x.rows; i += 1) x.data[i * x.columns - 1] = CONSTANT;
  return x;
}

/** (K + ridge I) of a kernel K, factored. */
function factorOf(kernel: Matrix, ridge: number, products: Products): Promise<Cholesky> {
  const n = kernel.rows;
  const a = matrix(n, n, kernel.data.slice());
  for (let i = 0; i < n; i += 1) a.data[i * n + i]! += ridge;
  return cholesky(a, products);
}

/** Of a kernel: alpha [n, d new], and what is left over of each row by the fit without its group. */
interface Fit {
  alpha: Matrix;
  left: Matrix;
}

async function fitWith(
  ridge: number,
  kernel: Matrix,
  to: Matrix,
  groups: readonly (readonly number[])[],
  products: Products,
): Promise<Fit> {
  const factor = await factorOf(kernel, ridge, products);
  const alpha = await solveCholesky(factor, to, products);
  const half = await invertLower(factor, products);
  const inverse = await products.multiply(half, half, { transposeA: true });
  return { alpha, left: await leftOver(inverse, alpha, groups, products) };
}

/** A = X^T alpha and E^T E / n, for rows whose constant is 1. */
async function mapOf(x: Matrix, { alpha, left }: Fit, products: Products): Promise<FeatureMap> {
  const map = await products.multiply(x, alpha, { transposeA: true });
  const residual = await products.multiply(left, left, { transposeA: true });
  for (let i = 0; i < residual.data.length; i += 1) residual.data[i]! /= left.rows;
  const { rows, columns } = map;
  for (let j = 0; j < columns; j += 1) {
    map.data[(rows - 1) * columns + j]! *= CONSTANT;
    // The constant is mapped exactly.
    residual.data[(columns - 1) * columns + j] = 0;
    residual.data[j * columns + columns - 1] = 0;
  }
  for (let i = 1; i <= rows; i += 1) map.data[i * columns - 1] = i === rows ? 1 : 0;
  return { matrix: map, residual };
}

/**
 * Ridge map from old to new features of the same pictures; the ridge is the one that tells held-out groups best.
 * @param from, @param to embedded rows [n, d old], [n, d new], the constant last
 * @param groups rows that are held out together; at least two
 * @throws CANCELLED, SINGULAR_STATISTICS
 */
export async function fitFeatureMap(
  from: Matrix,
  to: Matrix,
  { groups, heldOut }: { groups: readonly (readonly number[])[]; heldOut: MapFit['heldOut'] },
  products: Products,
  signal?: AbortSignal,
): Promise<FittedMap> {
  const x = enlarged(from);
  const kernel = await products.multiply(x, x, { transposeB: true });
  const spread = spreadOf(to);
  let best: (Fit & { ridge: number; r2: number }) | null = null;
  for (const ridge of RIDGES) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const fit = await fitWith(ridge, kernel, to, groups, products);
    const r2 = 1 - fit.left.data.reduce((sum, value) => sum + value * value, 0) / spread;
    if (best === null || r2 > best.r2) best = { ...fit, ridge, r2 };
  }
  const { ridge, r2 } = best!;
  return {
    ...(await mapOf(x, best!, products)),
    fit: { images: from.rows, r2, heldOut },
    async of(rows) {
      const [part, wanted] = [pick(x, rows), pick(to, rows)];
      const place = new Map(rows.map((row, i) => [row, i]));
      const kept = groups.map((group) => group.flatMap((row) => place.get(row) ?? []));
      const own = await products.multiply(part, part, { transposeB: true });
      return mapOf(part, await fitWith(ridge, own, wanted, kept, products), products);
    },
  };
}

/** Weighted sums on the new features: A^T (sum_c w_c S_c) A + sum_c w_c n_c times the residual, and s A of each class. @param weights per class id */
export async function mapSums(
  statistics: Statistics,
  weights: ReadonlyMap<string, number>,
  { matrix: map, residual }: FeatureMap,
  products: Products,
): Promise<GivenSums> {
  const sums = new Map<string, Float64Array>();
  let parts = 0;
  for (const id of statistics.classIds) {
    const { sum, count } = statistics.of(id)!;
    parts += (weights.get(id) ?? 0) * count;
    sums.set(id, (await products.multiply(matrix(1, sum.length, sum), map)).data);
  }
  const half = await products.multiply(await statistics.weightedScatter(weights, products), map);
  const scatter = await products.multiply(map, half, { transposeA: true });
  for (let i = 0; i < scatter.data.length; i += 1) scatter.data[i]! += parts * residual.data[i]!;
  return { scatter, sums };
}
