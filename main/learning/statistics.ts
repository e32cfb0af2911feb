import { AppError, assert } from '../contract/errors.ts';
import { matrix, type Matrix, type Products } from './dense.ts';

/*
 * What is kept of each class: n_c, s_c = sum z, S_c = sum z z^T (ACIL, Zhuang et al., NeurIPS 2022; RanPAC, McDonnell et al.,
 * NeurIPS 2023). Sums over images: they know no order, no task and no station, and an image can be taken out again.
 * Up to d/2 images the rows themselves are smaller than S_c and are kept instead; above, S_c is a packed lower triangle.
 */

export interface ClassStatistics {
  count: number;
  sum: Float64Array;
  /** Row by row, while count <= d/2. */
  rows: Float64Array[] | null;
  /** Lower triangle of S_c, row by row, else. */
  packed: Float64Array | null;
}

const packedLength = (size: number): number => (size * (size + 1)) / 2;

function rankOne(packed: Float64Array, z: Float64Array, sign: 1 | -1): void {
  for (let i = 0, p = 0; i < z.length; i += 1) {
    const factor = sign * z[i]!;
    if (factor === 0) p += i + 1;
    else for (let j = 0; j <= i; j += 1, p += 1) packed[p]! += factor * z[j]!;
  }
}

/** Statistics of one backbone and embedding; class ids are names, in no order. */
export class Statistics {
  readonly size: number;
  readonly #classes = new Map<string, ClassStatistics>();

  /** @param size length of z, with the constant of the bias. */
  constructor(size: number) {
    this.size = size;
  }

  /** Class ids in name order: the order of every array that is made from these statistics. */
  get classIds(): string[] {
    return [...this.#classes.keys()].sort((a, b) => (a < b ? -1 : 1));
  }

  of(classId: string): ClassStatistics | undefined {
    return this.#classes.get(classId);
  }

  count(classId: string): number {
    return this.#classes.get(classId)?.count ?? 0;
  }

  /** @param z kept (not copied) while the class holds rows. */
  add(classId: string, z: Float64Array): void {
    assert(z.length === this.size, 'z is of the embedding of these statistics');
    let entry = this.#classes.get(classId);
    if (!entry) {
      entry = { count: 0, sum: new Float64Array(this.size), rows: [], packed: null };
      this.#classes.set(classId, entry);
    }
    entry.count += 1;
    for (let i = 0; i < z.length; i += 1) entry.sum[i]! += z[i]!;
    if (entry.rows) {
      entry.rows.push(z);
      if (entry.count > this.size / 2) this.#pack(entry);
    } else {
      rankOne(entry.packed!, z, 1);
    }
  }

  /**
   * Takes an image out again; the class goes with its last image.
   * @throws NOT_FOUND when the class has no such row.
   */
  remove(classId: string, z: Float64Array): void {
    const entry = this.#classes.get(classId);
    const missing = () => new AppError('NOT_FOUND', { kind: 'labelled image of class', id: classId });
    if (!entry) throw missing();
    if (entry.rows) {
      const at = entry.rows.findIndex((row) => row.every((value, i) => value === z[i]));
      if (at < 0) throw missing();
      entry.rows.splice(at, 1);
      // Summed anew: what is left is then exactly what it would be had the row never been there.
      entry.sum.fill(0);
      for (const row of entry.rows) for (let i = 0; i < row.length; i += 1) entry.sum[i]! += row[i]!;
    } else {
      for (let i = 0; i < z.length; i += 1) entry.sum[i]! -= z[i]!;
      rankOne(entry.packed!, z, -1);
    }
    entry.count -= 1;
    if (entry.count === 0) this.#classes.delete(classId);
  }

  /** Un-learns a class as a whole. */
  forget(classId: string): void {
    if (!this.#classes.delete(classId)) throw new AppError('NOT_FOUND', { kind: 'class', id: classId });
  }

  /** Adds those of another station with the same backbone; they stay as they are. */
  merge(other: Statistics): void {
    assert(other.size === this.size, 'statistics of one backbone and embedding can be added');
    for (const classId of other.classIds) {
      const theirs = other.of(classId)!;
      if (theirs.rows) {
        for (const row of theirs.rows) this.add(classId, row);
        continue;
      }
      let entry = this.#classes.get(classId);
      if (!entry) {
        entry = { count: 0, sum: new Float64Array(this.size), rows: [], packed: null };
        this.#classes.set(classId, entry);
      }
      if (entry.rows) this.#pack(entry);
      entry.count += theirs.count;
      for (let i = 0; i < this.size; i += 1) entry.sum[i]! += theirs.sum[i]!;
      for (let i = 0; i < theirs.packed!.length; i += 1) entry.packed![i]! += theirs.packed![i]!;
    }
  }

  #pack(entry: ClassStatistics): void {
    const packed = new Float64Array(packedLength(this.size));
    for (const row of entry.rows!) rankOne(packed, row, 1);
    entry.packed = packed;
    entry.rows = null;
  }

  /**
   * sum_c w_c S_c, full and symmetric [d, d].
   * @param weights per class id; a class that is not named counts 0.
   */
  async weightedScatter(weights: ReadonlyMap<string, number>, products: Products): Promise<Matrix> {
    const { size } = this;
    const stacked: { row: Float64Array; root: number }[] = [];
    const packed: { data: Float64Array; weight: number }[] = [];
    for (const classId of this.classIds) {
      const weight = weights.get(classId) ?? 0;
      const entry = this.#classes.get(classId)!;
      if (weight === 0) continue;
      if (entry.rows) for (const row of entry.rows) stacked.push({ row, root: Math.sqrt(weight) });
      else packed.push({ data: entry.packed!, weight });
    }
    let total = matrix(size, size);
    // In pieces: the stack of a large ledger must not double its memory.
    const PIECE = 4096;
    for (let from = 0; from < stacked.length; from += PIECE) {
      const part = stacked.slice(from, from + PIECE);
      const z = matrix(part.length, size);
      part.forEach(({ row, root }, i) => {
        const at = i * size;
        for (let j = 0; j < size; j += 1) z.data[at + j] = row[j]! * root;
      });
      const product = await products.multiply(z, z, { transposeA: true });
      if (from === 0) total = product;
      else for (let i = 0; i < product.data.length; i += 1) total.data[i]! += product.data[i]!;
    }
    for (const { data, weight } of packed) {
      for (let i = 0, p = 0; i < size; i += 1) {
        for (let j = 0; j <= i; j += 1, p += 1) {
          const value = weight * data[p]!;
          total.data[i * size + j]! += value;
          if (j < i) total.data[j * size + i]! += value;
        }
      }
    }
    return total;
  }
}
