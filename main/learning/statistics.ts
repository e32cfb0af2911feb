import { AppError, assert } from '../contract/errors.ts';
import { matrix, type Matrix, type Products } from './dense.ts';

/*
 * What is kept of each class: n_c, s_c = sum z, S_c = sum z z^T (ACIL, Zhuang et al., NeurIPS 2022; RanPAC, McDonnell et al.,
 * NeurIPS 2023). Sums over images: they know no order, no task and no station, and an image can be taken out again.
 * Up to d/2 images the rows themselves are smaller than S_c and are kept instead; above, S_c is a packed lower triangle.
 *
 * z lies on a grid (embedding.ts) on which all these sums are exact. So whatever was added, taken away or merged, in whatever order and kept
 * in whatever form: the same images give the same bits, and nothing drifts.
 */

export interface ClassStatistics {
  count: number;
  sum: Float64Array;
  /** Row by row, while count <= d/2. */
  rows: Float64Array[] | null;
  /** Lower triangle of S_c, row by row, else. */
  packed: Float64Array | null;
}

/** Products of so many images are summed without rounding (embedding.ts). */
const EXACT_IMAGES = 2 ** 17;
/** Rows of one product: 2,048 of 2,113 doubles are 35 MB. */
const ROWS_AT_ONCE = 2048;

/** Numbers in the lower triangle of a [size, size] matrix, diagonal included. */
export const packedLength = (size: number): number => (size * (size + 1)) / 2;

function rankOne(packed: Float64Array, z: Float64Array, sign: 1 | -1): void {
  for (let i = 0, p = 0; i < z.length; i += 1) {
    const factor = sign * z[i]!;
    if (factor === 0) p += i + 1;
    else for (let j = 0; j <= i; j += 1, p += 1) packed[p]! += factor * z[j]!;
  }
}

/** into += weight * S, both triangles. */
function addPacked(into: Matrix, packed: Float64Array, weight: number): void {
  const { rows: size, data } = into;
  for (let i = 0, p = 0; i < size; i += 1) {
    for (let j = 0; j <= i; j += 1, p += 1) {
      const value = weight * packed[p]!;
      data[i * size + j]! += value;
      if (j < i) data[j * size + i]! += value;
    }
  }
}

function packedOf(rows: readonly Float64Array[], size: number): Float64Array {
  const packed = new Float64Array(packedLength(size));
  for (const row of rows) rankOne(packed, row, 1);
  return packed;
}

/** Rows as one matrix [n, size]. */
export function stack(rows: readonly Float64Array[], size: number): Matrix {
  const z = matrix(rows.length, size);
  rows.forEach((row, i) => z.data.set(row, i * size));
  return z;
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
   * Adds many images of a class: the same bits as one by one, some twenty times faster where the class is packed.
   * @param z one row per image
   */
  async addMany(classId: string, z: Matrix, products: Products): Promise<void> {
    const { size } = this;
    if (this.count(classId) + z.rows <= size / 2) {
      for (let i = 0; i < z.rows; i += 1) this.add(classId, z.data.slice(i * size, (i + 1) * size));
      return;
    }
    const sum = new Float64Array(size);
    for (let i = 0; i < z.rows; i += 1) for (let j = 0; j < size; j += 1) sum[j]! += z.data[i * size + j]!;
    const { data } = await products.multiply(z, z, { transposeA: true });
    const packed = new Float64Array(packedLength(size));
    for (let i = 0, p = 0; i < size; i += 1) for (let j = 0; j <= i; j += 1, p += 1) packed[p] = data[i * size + j]!;
    this.#include(classId, { count: z.rows, sum, rows: null, packed });
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
    } else {
      rankOne(entry.packed!, z, -1);
    }
    for (let i = 0; i < z.length; i += 1) entry.sum[i]! -= z[i]!;
    entry.count -= 1;
    if (entry.count === 0) this.#classes.delete(classId);
  }

  /** Un-learns a class as a whole. */
  forget(classId: string): void {
    if (!this.#classes.delete(classId)) throw new AppError('NOT_FOUND', { kind: 'class', id: classId });
  }

  /**
   * Gives a class another name, or joins it to one that is there already: the statistics are then those of a class that held all
   * images of both from the start.
   */
  rename(classId: string, to: string): void {
    if (classId === to) return;
    const entry = this.#classes.get(classId);
    if (!entry) throw new AppError('NOT_FOUND', { kind: 'class', id: classId });
    this.#classes.delete(classId);
    if (this.#classes.has(to)) this.#include(to, entry);
    else this.#classes.set(to, entry);
  }

  /** S_c as packed lower triangle, whatever it is kept as; a copy. */
  packedOf(classId: string): Float64Array {
    const entry = this.#classes.get(classId);
    if (!entry) throw new AppError('NOT_FOUND', { kind: 'class', id: classId });
    return entry.packed?.slice() ?? packedOf(entry.rows!, this.size);
  }

  /** Takes in the sums of a class as they were stored; kept, not copied. */
  restore(classId: string, { count, sum, packed }: { count: number; sum: Float64Array; packed: Float64Array }): void {
    assert(packed.length === packedLength(this.size) && sum.length === this.size, 'sums are of these statistics');
    this.#include(classId, { count, sum, rows: null, packed });
  }

  /** Adds those of another station with the same backbone; they stay as they are. */
  merge(other: Statistics): void {
    assert(other.size === this.size, 'statistics of one backbone and embedding can be added');
    for (const classId of other.classIds) this.#include(classId, other.of(classId)!);
  }

  #include(classId: string, theirs: ClassStatistics): void {
    if (theirs.rows) {
      for (const row of theirs.rows) this.add(classId, row);
      return;
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

  #pack(entry: ClassStatistics): void {
    entry.packed = packedOf(entry.rows!, this.size);
    entry.rows = null;
  }

  /**
   * sum_c w_c S_c, full and symmetric [d, d].
   * @param weights per class id; a class that is not named counts 0.
   */
  async weightedScatter(weights: ReadonlyMap<string, number>, products: Products): Promise<Matrix> {
    const total = matrix(this.size, this.size);
    // Weighted after summing: the sums themselves are exact, so their form (rows or packed) leaves no trace in the total.
    for (const { weight, classes } of this.#ofOneWeight(weights)) {
      const [first, ...others] = classes;
      if (first!.packed && others.length === 0) addPacked(total, first!.packed, weight);
      else {
        const scatter = await this.#scatterOf(classes, products);
        for (let i = 0; i < scatter.data.length; i += 1) total.data[i]! += weight * scatter.data[i]!;
      }
    }
    return total;
  }

  /** Classes that count alike, in name order, as many together as can be summed exactly: a hundred classes of one size are then one product. */
  #ofOneWeight(weights: ReadonlyMap<string, number>): { weight: number; count: number; classes: ClassStatistics[] }[] {
    const groups: { weight: number; count: number; classes: ClassStatistics[] }[] = [];
    const open = new Map<number, (typeof groups)[number]>();
    for (const classId of this.classIds) {
      const weight = weights.get(classId) ?? 0;
      if (weight === 0) continue;
      const entry = this.#classes.get(classId)!;
      let group = open.get(weight);
      if (!group || group.count + entry.count > EXACT_IMAGES) {
        group = { weight, count: 0, classes: [] };
        groups.push(group);
        open.set(weight, group);
      }
      group.count += entry.count;
      group.classes.push(entry);
    }
    return groups;
  }

  /** Sum of S_c over classes, full and symmetric. */
  async #scatterOf(classes: readonly ClassStatistics[], products: Products): Promise<Matrix> {
    const { size } = this;
    const rows = classes.flatMap((entry) => entry.rows ?? []);
    let sum: Matrix | null = null;
    for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
      const z = stack(rows.slice(from, from + ROWS_AT_ONCE), size);
      const scatter = await products.multiply(z, z, { transposeA: true });
      if (sum) for (let i = 0; i < scatter.data.length; i += 1) sum.data[i]! += scatter.data[i]!;
      else sum = scatter;
    }
    sum ??= matrix(size, size);
    for (const { packed } of classes) if (packed) addPacked(sum, packed, 1);
    return sum;
  }
}
