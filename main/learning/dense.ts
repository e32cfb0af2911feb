import { AppError, assert } from '../contract/errors.ts';
import type { Session } from '../runtime/session.ts';

/*
 * Dense float64 algebra on row-major arrays: small products in plain JavaScript, large ones by ORT's double Gemm (some
 * twenty times faster). Factorisations are blocked so that nearly all their work is such products.
 */

/** Row-major; `data.length === rows * columns`. */
export interface Matrix {
  rows: number;
  columns: number;
  data: Float64Array;
}

/** Over the numbers that are given; zeros by default. */
export const matrix = (
  rows: number,
  columns: number,
  data: Float64Array = new Float64Array(rows * columns),
): Matrix => {
  assert(data.length === rows * columns, 'a matrix has rows x columns numbers');
  return { rows, columns, data };
};

/** A copy of a rectangle. */
export function slice(of: Matrix, row: number, rows: number, column: number, columns: number): Matrix {
  if (column === 0 && columns === of.columns) {
    return matrix(rows, columns, of.data.slice(row * columns, (row + rows) * columns));
  }
  const out = matrix(rows, columns);
  for (let i = 0; i < rows; i += 1) {
    const from = (row + i) * of.columns + column;
    out.data.set(of.data.subarray(from, from + columns), i * columns);
  }
  return out;
}

function paste(into: Matrix, part: Matrix, row: number, column: number): void {
  for (let i = 0; i < part.rows; i += 1) {
    into.data.set(part.data.subarray(i * part.columns, (i + 1) * part.columns), (row + i) * into.columns + column);
  }
}

export interface Products extends AsyncDisposable {
  /** op(a) op(b), where op transposes when asked. */
  multiply(a: Matrix, b: Matrix, options?: { transposeA?: boolean; transposeB?: boolean }): Promise<Matrix>;
}

/** Below this many multiplications a session call costs more than it saves. */
const SMALL = 200_000;

function multiplySmall(a: Matrix, b: Matrix, transposeA: boolean, transposeB: boolean): Matrix {
  const m = transposeA ? a.columns : a.rows;
  const k = transposeA ? a.rows : a.columns;
  const n = transposeB ? b.rows : b.columns;
  const out = matrix(m, n);
  const stepA = transposeA ? a.columns : 1;
  for (let i = 0; i < m; i += 1) {
    const startA = transposeA ? i : i * k;
    const o = i * n;
    if (transposeB) {
      for (let j = 0; j < n; j += 1) {
        let sum = 0;
        for (let t = 0, p = startA, q = j * k; t < k; t += 1, p += stepA, q += 1) sum += a.data[p]! * b.data[q]!;
        out.data[o + j] = sum;
      }
    } else {
      for (let t = 0, p = startA; t < k; t += 1, p += stepA) {
        const factor = a.data[p]!;
        if (factor === 0) continue;
        for (let j = 0, q = t * n; j < n; j += 1, q += 1) out.data[o + j]! += factor * b.data[q]!;
      }
    }
  }
  return out;
}

/** Sessions are opened when first needed, by code that is loaded then: whoever wants the matrices alone needs no ORT. Whoever opens, disposes. */
export function openProducts({ threads }: { threads: number }): Products {
  const sessions = new Map<string, Promise<Session>>();
  const sessionOf = (transA: boolean, transB: boolean) => {
    const key = `${transA}${transB}`;
    let session = sessions.get(key);
    if (!session) {
      session = import('./gemm.ts').then(({ openGemm }) => openGemm(transA, transB, threads));
      sessions.set(key, session);
    }
    return session;
  };
  return {
    async multiply(a, b, { transposeA = false, transposeB = false } = {}) {
      const m = transposeA ? a.columns : a.rows;
      const k = transposeA ? a.rows : a.columns;
      const n = transposeB ? b.rows : b.columns;
      assert(k === (transposeB ? b.columns : b.rows), 'the inner sizes of a product agree');
      if (m * n * k <= SMALL) return multiplySmall(a, b, transposeA, transposeB);
      const session = await sessionOf(transposeA, transposeB);
      const { c } = await session.run({
        a: { type: 'float64', dims: [a.rows, a.columns], data: a.data },
        b: { type: 'float64', dims: [b.rows, b.columns], data: b.data },
      });
      return matrix(m, n, c!.data as Float64Array);
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions.values()) await (await session).dispose();
      sessions.clear();
    },
  };
}

const BLOCK = 192;

/** A = L L^T. Only the lower triangle of `lower` is meaningful. */
export interface Cholesky {
  size: number;
  lower: Matrix;
  /** Inverses of the diagonal blocks, in order. */
  diagonal: Matrix[];
}

/** Factors a small block in place (lower triangle) and returns the inverse of its factor. */
function factorBlock(block: Matrix, what: string): Matrix {
  const n = block.rows;
  const a = block.data;
  for (let j = 0; j < n; j += 1) {
    let pivot = a[j * n + j]!;
    for (let t = 0; t < j; t += 1) pivot -= a[j * n + t]! ** 2;
    if (!(pivot > 0)) throw new AppError('SINGULAR_STATISTICS', { problem: what });
    const root = Math.sqrt(pivot);
    a[j * n + j] = root;
    for (let i = j + 1; i < n; i += 1) {
      let sum = a[i * n + j]!;
      for (let t = 0; t < j; t += 1) sum -= a[i * n + t]! * a[j * n + t]!;
      a[i * n + j] = sum / root;
    }
  }
  const inverse = matrix(n, n);
  const x = inverse.data;
  for (let i = 0; i < n; i += 1) {
    const root = a[i * n + i]!;
    for (let t = 0; t < i; t += 1) {
      const factor = a[i * n + t]!;
      for (let j = 0; j <= t; j += 1) x[i * n + j]! -= factor * x[t * n + j]!;
    }
    for (let j = 0; j < i; j += 1) x[i * n + j]! /= root;
    x[i * n + i] = 1 / root;
  }
  return inverse;
}

/**
 * Cholesky factor of a symmetric positive definite matrix; reads its lower triangle and works in place.
 * @throws SINGULAR_STATISTICS when it is not positive definite.
 */
export async function cholesky(a: Matrix, products: Products): Promise<Cholesky> {
  assert(a.rows === a.columns, 'a symmetric matrix is square');
  const n = a.rows;
  const diagonal: Matrix[] = [];
  for (let at = 0; at < n; at += BLOCK) {
    const width = Math.min(BLOCK, n - at);
    const panel = slice(a, at, n - at, at, width);
    if (at > 0) {
      // Left-looking: one product per block column takes all earlier columns off at once.
      const done = slice(a, at, n - at, 0, at);
      const top = matrix(width, at, done.data.subarray(0, width * at));
      const product = await products.multiply(done, top, { transposeB: true });
      for (let i = 0; i < panel.data.length; i += 1) panel.data[i]! -= product.data[i]!;
    }
    const block = slice(panel, 0, width, 0, width);
    const inverse = factorBlock(block, 'their matrix is not positive definite');
    diagonal.push(inverse);
    paste(a, block, at, at);
    if (at + width < n) {
      const below = slice(panel, width, panel.rows - width, 0, width);
      paste(a, await products.multiply(below, inverse, { transposeB: true }), at + width, at);
    }
  }
  return { size: n, lower: a, diagonal };
}

/** L^-1 b. */
export async function solveLower({ size, lower, diagonal }: Cholesky, b: Matrix, products: Products): Promise<Matrix> {
  const x = matrix(size, b.columns, b.data.slice());
  for (let at = 0, i = 0; at < size; at += BLOCK, i += 1) {
    const width = Math.min(BLOCK, size - at);
    const part = slice(x, at, width, 0, b.columns);
    if (at > 0) {
      const known = matrix(at, b.columns, x.data.subarray(0, at * b.columns));
      const product = await products.multiply(slice(lower, at, width, 0, at), known);
      for (let t = 0; t < part.data.length; t += 1) part.data[t]! -= product.data[t]!;
    }
    paste(x, await products.multiply(diagonal[i]!, part), at, 0);
  }
  return x;
}

/** L^-T b. */
async function solveUpper({ size, lower, diagonal }: Cholesky, b: Matrix, products: Products): Promise<Matrix> {
  const x = matrix(size, b.columns, b.data.slice());
  for (let i = diagonal.length - 1; i >= 0; i -= 1) {
    const at = i * BLOCK;
    const width = Math.min(BLOCK, size - at);
    const part = slice(x, at, width, 0, b.columns);
    const after = at + width;
    if (after < size) {
      const known = slice(x, after, size - after, 0, b.columns);
      const product = await products.multiply(slice(lower, after, size - after, at, width), known, {
        transposeA: true,
      });
      for (let t = 0; t < part.data.length; t += 1) part.data[t]! -= product.data[t]!;
    }
    paste(x, await products.multiply(diagonal[i]!, part, { transposeA: true }), at, 0);
  }
  return x;
}

/** A^-1 b for A = L L^T. */
export const solveCholesky = async (factor: Cholesky, b: Matrix, products: Products): Promise<Matrix> =>
  solveUpper(factor, await solveLower(factor, b, products), products);

/** L^-1 as a full matrix (zero above the diagonal). */
export async function invertLower(factor: Cholesky, products: Products): Promise<Matrix> {
  const { size, lower, diagonal } = factor;
  const inverse = matrix(size, size);
  for (let at = 0, i = 0; at < size; at += BLOCK, i += 1) {
    const width = Math.min(BLOCK, size - at);
    paste(inverse, diagonal[i]!, at, at);
    if (at === 0) continue;
    // Only the first `at` columns of the rows above are not zero.
    const above = slice(inverse, 0, at, 0, at);
    const product = await products.multiply(slice(lower, at, width, 0, at), above);
    const left = await products.multiply(diagonal[i]!, product);
    for (let t = 0; t < left.data.length; t += 1) left.data[t] = -left.data[t]!;
    paste(inverse, left, at, 0);
  }
  return inverse;
}
