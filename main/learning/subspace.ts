import { isAppError } from '../contract/errors.ts';
import { cholesky, invertLower, matrix, type Matrix, type Products } from './dense.ts';

/* The leading directions of a ledger's scatter, in which novelty (novelty.ts) and drift (monitor/drift.ts) are measured. */

export const MAX_RANK = 128;
const SUBSPACE_STEPS = 4;
const STEPS_FROM_NEAR = 3;
/** Two or three are usual; more never came. */
const MOST_QL_STEPS = 60;
/** Half of the four fifths that a fold's fit is made of. */
const RANK_PER_SAMPLE = 0.4;

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

/**
 * Eigenvectors (columns, by falling eigenvalue) of a small symmetric matrix: Householder to three diagonals, then implicit QL (Bowdler, Martin,
 * Reinsch & Wilkinson, 1968). Rows of `v` are the vectors while it works: contiguous.
 */
export function eigenSymmetric(a: Matrix): { values: Float64Array; vectors: Matrix } {
  const n = a.rows;
  const m = a.data.slice();
  const v = matrix(n, n);
  for (let i = 0; i < n; i += 1) v.data[i * n + i] = 1;
  const off = new Float64Array(n);
  const u = new Float64Array(n);
  const p = new Float64Array(n);
  for (let k = 0; k < n - 2; k += 1) {
    // Row k beyond its neighbour to zero: H = I - 2 u u^T.
    let norm = 0;
    for (let i = k + 1; i < n; i += 1) norm += m[i * n + k]! ** 2;
    norm = Math.sqrt(norm);
    const first = m[(k + 1) * n + k]!;
    const alpha = first > 0 ? -norm : norm;
    let length = 0;
    for (let i = k + 1; i < n; i += 1) {
      u[i] = m[i * n + k]! - (i === k + 1 ? alpha : 0);
      length += u[i]! ** 2;
    }
    if (length <= Number.MIN_VALUE) continue;
    const scale = 1 / Math.sqrt(length);
    for (let i = k + 1; i < n; i += 1) u[i]! *= scale;
    // m = H m H = m - u q^T - q u^T with p = 2 m u, q = p - (u^T p) u.
    let dot = 0;
    for (let i = k; i < n; i += 1) {
      let sum = 0;
      for (let j = k + 1; j < n; j += 1) sum += m[i * n + j]! * u[j]!;
      p[i] = 2 * sum;
      if (i > k) dot += u[i]! * p[i]!;
    }
    for (let i = k + 1; i < n; i += 1) p[i]! -= dot * u[i]!;
    for (let i = k + 1; i < n; i += 1) {
      for (let j = k + 1; j < n; j += 1) m[i * n + j]! -= u[i]! * p[j]! + p[i]! * u[j]!;
      m[i * n + k] = i === k + 1 ? alpha : 0;
      m[k * n + i] = m[i * n + k]!;
    }
    // v = H v, rows are vectors: v_i -= 2 u_i (u^T v).
    p.fill(0);
    for (let i = k + 1; i < n; i += 1) {
      for (let j = 0; j < n; j += 1) p[j]! += 2 * u[i]! * v.data[i * n + j]!;
    }
    for (let i = k + 1; i < n; i += 1) for (let j = 0; j < n; j += 1) v.data[i * n + j]! -= u[i]! * p[j]!;
  }
  const values = Float64Array.from({ length: n }, (_, i) => m[i * n + i]!);
  for (let i = 0; i + 1 < n; i += 1) off[i] = m[(i + 1) * n + i]!;
  const rotate = (row: number, c: number, s: number) => {
    const [x, y] = [row * n, (row + 1) * n];
    for (let j = 0; j < n; j += 1) {
      const next = v.data[y + j]!;
      v.data[y + j] = s * v.data[x + j]! + c * next;
      v.data[x + j] = c * v.data[x + j]! - s * next;
    }
  };
  for (let l = 0; l < n; l += 1) {
    for (let step = 0; step < MOST_QL_STEPS; step += 1) {
      let end = l;
      while (end < n - 1) {
        const around = Math.abs(values[end]!) + Math.abs(values[end + 1]!);
        if (Math.abs(off[end]!) <= Number.EPSILON * around || off[end] === 0) break;
        end += 1;
      }
      if (end === l) break;
      let g = (values[l + 1]! - values[l]!) / (2 * off[l]!);
      let r = Math.hypot(g, 1);
      g = values[end]! - values[l]! + off[l]! / (g + (g >= 0 ? r : -r));
      let [s, c, shift] = [1, 1, 0];
      let whole = true;
      for (let i = end - 1; i >= l; i -= 1) {
        const f = s * off[i]!;
        const b = c * off[i]!;
        r = Math.hypot(f, g);
        off[i + 1] = r;
        if (r === 0) {
          values[i + 1]! -= shift;
          off[end] = 0;
          whole = false;
          break;
        }
        s = f / r;
        c = g / r;
        g = values[i + 1]! - shift;
        const t = (values[i]! - g) * s + 2 * c * b;
        shift = s * t;
        values[i + 1] = g + shift;
        g = c * t - b;
        rotate(i, c, s);
      }
      if (!whole) continue;
      values[l]! -= shift;
      off[l] = g;
      off[end] = 0;
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => values[j]! - values[i]!);
  const vectors = matrix(n, n);
  order.forEach((from, to) => {
    for (let k = 0; k < n; k += 1) vectors.data[k * n + to] = v.data[from * n + k]!;
  });
  return { values: Float64Array.from(order, (i) => values[i]!), vectors };
}

/** Weighted moments of the ledger: the scatter with the bias column, sum_c w_c s_c hidden in it, and the class means. */
export interface Moments {
  /** sum_c w_c S_c [d, d]; its last row is sum_c w_c s_c and its corner the total weight. */
  scatter: Matrix;
  classes: readonly { mean: Float64Array; weight: number }[];
  /** Rows to be taken out of the scatter, each times the root of its weight, [rows, d]; `classes` are without them already. */
  without?: Matrix;
}

export interface Subspace {
  mean: Float64Array;
  directions: Matrix;
  /** Variance of all parts along each direction. */
  variance: Float64Array;
  /** Mean energy outside. */
  residual: number;
}

/** Directions that `samples` parts can tell; of a fold's fit and of the whole ledger's it is the same number. */
const rankFor = (samples: number, width: number, most = MAX_RANK): number =>
  Math.max(1, Math.min(most, width, Math.floor(RANK_PER_SAMPLE * samples)));

/**
 * The leading directions of the centred scatter, by subspace iteration with a Rayleigh-Ritz step.
 * @param start directions of a scatter that is much the same: fewer steps are enough, and their number is the rank
 */
export async function leadingSubspace(
  { scatter, without = matrix(0, scatter.rows) }: Pick<Moments, 'scatter' | 'without'>,
  samples: number,
  products: Products,
  maxRank = MAX_RANK,
  start?: Matrix,
): Promise<Subspace> {
  const d = scatter.rows;
  const d0 = d - 1;
  const gone = without.rows > 0;
  const last = new Float64Array(d);
  const diagonal = Float64Array.from({ length: d }, (_, i) => scatter.data[i * d + i]!);
  for (let i = 0; i < d; i += 1) last[i] = scatter.data[d0 * d + i]!;
  for (let r = 0; r < without.rows; r += 1) {
    const row = without.data.subarray(r * d, (r + 1) * d);
    for (let i = 0; i < d; i += 1) {
      last[i]! -= row[i]! * row[d0]!;
      diagonal[i]! -= row[i]! ** 2;
    }
  }
  const total = last[d0]!;
  const mean = Float64Array.from({ length: d0 }, (_, i) => last[i]! / total);
  let energy = 0;
  for (let i = 0; i < d0; i += 1) energy += diagonal[i]! / total - mean[i]! ** 2;
  const offset = matrix(1, d0, mean);
  /** Centred covariance times the columns, without ever being formed: neither the scatter nor what is taken out of it is copied. */
  const apply = async (columns: Matrix): Promise<Matrix> => {
    const k = columns.columns;
    const padded = matrix(d, k);
    padded.data.set(columns.data);
    const all = await products.multiply(scatter, padded);
    const part = gone
      ? await products.multiply(without, await products.multiply(without, padded), { transposeA: true })
      : null;
    const along = await products.multiply(offset, columns);
    const out = matrix(d0, k);
    for (let i = 0; i < d0; i += 1) {
      for (let j = 0; j < k; j += 1) {
        const at = i * k + j;
        out.data[at] = (all.data[at]! - (part ? part.data[at]! : 0)) / total - mean[i]! * along.data[j]!;
      }
    }
    return out;
  };
  let basis = start ?? (await orthonormalise(startOf(d0, rankFor(samples, d0, maxRank)), products));
  for (let step = 0; step < (start ? STEPS_FROM_NEAR : SUBSPACE_STEPS); step += 1) {
    basis = await orthonormalise(await apply(basis), products);
  }
  const small = await products.multiply(basis, await apply(basis), { transposeA: true });
  const { values, vectors } = eigenSymmetric(small);
  const directions = await products.multiply(basis, vectors);
  const variance = values.map((value) => Math.max(value, 0));
  const kept = variance.reduce((sum, value) => sum + value, 0);
  return { mean, directions, variance, residual: Math.max(0, energy - kept) };
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
