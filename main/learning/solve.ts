import { AppError } from '../contract/errors.ts';
import { cholesky, matrix, solveCholesky, type Matrix, type Products } from './dense.ts';
import type { Statistics } from './statistics.ts';

export interface Head {
  /** Class ids in the order of the columns. */
  classIds: string[];
  /** W, row-major [d, classes], with the bias in the last row: logits = z W. */
  weights: Matrix;
}

/**
 * w_c ~ n_c^-g, scaled so that the weights of all images sum to their number: lambda then means the same whatever g is.
 * @param balancing g: 0 counts every image alike, 1 every class alike.
 */
export function classWeights(counts: ReadonlyMap<string, number>, balancing: number): Map<string, number> {
  let images = 0;
  let total = 0;
  for (const count of counts.values()) {
    images += count;
    total += count * count ** -balancing;
  }
  return new Map([...counts].map(([classId, count]) => [classId, (count ** -balancing * images) / total]));
}

/** Sums over parts, with the weight of each class. */
export interface WeightedSums {
  /** sum_c w_c S_c [d, d]. */
  scatter: Matrix;
  /** Per class: images, their sum [d] and the weight of each. */
  classes: ReadonlyMap<string, { count: number; sum: Float64Array; weight: number }>;
}

/**
 * W = (sum_c w_c S_c + lambda I)^-1 [w_c s_c].
 * @param raised added to the bias of classes of few parts (few-parts.ts)
 * @throws TOO_FEW_CLASSES without any class, SINGULAR_STATISTICS
 */
export async function solveHead(
  statistics: Statistics,
  { balancing, ...choice }: { lambda: number; balancing: number; raised?: ReadonlyMap<string, number> },
  products: Products,
): Promise<Head> {
  const { classIds } = statistics;
  if (classIds.length === 0) throw new AppError('TOO_FEW_CLASSES', { found: 0, needed: 1 });
  const weights = classWeights(new Map(classIds.map((id) => [id, statistics.count(id)])), balancing);
  const scatter = await statistics.weightedScatter(weights, products);
  const classes = new Map(classIds.map((id) => [id, { ...statistics.of(id)!, weight: weights.get(id)! }]));
  return solveWeighted({ scatter, classes }, choice, products);
}

/**
 * The same from weighted sums, classes in their order.
 * @param sums the scatter is overwritten
 * @throws SINGULAR_STATISTICS
 */
export async function solveWeighted(
  { scatter: a, classes }: WeightedSums,
  { lambda, raised }: { lambda: number; raised?: ReadonlyMap<string, number> },
  products: Products,
): Promise<Head> {
  const size = a.rows;
  const classIds = [...classes.keys()];
  for (let i = 0; i < size; i += 1) a.data[i * size + i]! += lambda;
  const b = matrix(size, classIds.length);
  classIds.forEach((classId, c) => {
    const { sum, weight } = classes.get(classId)!;
    for (let i = 0; i < size; i += 1) b.data[i * classIds.length + c] = weight * sum[i]!;
  });
  const factor = await cholesky(a, products);
  const solved = await solveCholesky(factor, b, products);
  // The constant comes last in z.
  const bias = (size - 1) * classIds.length;
  classIds.forEach((classId, c) => {
    solved.data[bias + c]! += raised?.get(classId) ?? 0;
  });
  return { classIds, weights: solved };
}
