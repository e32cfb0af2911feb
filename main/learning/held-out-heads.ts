import { AppError } from '../contract/errors.ts';
import { byCodeUnit } from './dataset.ts';
import { cholesky, matrix, solveCholesky, type Matrix, type Products } from './dense.ts';
import { argmax } from './evaluation.ts';
import { raisedLogits } from './few-parts.ts';
import { partOf } from './folds.ts';
import { judgedRows, pick, type Choice, type CrossValidation, type LedgerRow, type Sample } from './selection.ts';
import { classWeights } from './solve.ts';
import type { Statistics } from './statistics.ts';

/*
 * Parts held out by a head for each fold, solved in as many dimensions as the features have: for more rows than a kernel of all pairs (selection.ts) can be made of, and where other stations' sums are in
 * the head as well. A class that is known by sums alone then takes its share of the parts, as it will on the line. No row of those sums can be held out, and none needs to be as long as no held-out part is in
 * them: the core takes own pictures out of what a station of this home gave (core/merged-sums.ts); of a file nobody can tell, and the evidence says so. What brought the sums to these features must not have seen
 * the held-out parts.
 */

/** What other stations gave, weighted: sum_c w_c S_c [d, d], and s_c of each class. */
export interface GivenSums {
  scatter: Matrix;
  sums: ReadonlyMap<string, Float64Array>;
}

/** What other stations gave, on the features of a model. */
export interface OtherSums {
  /** Parts per class. */
  counts: ReadonlyMap<string, number>;
  /** Parts with directions of their own: none of those that were mapped, into the span of this station's. */
  samples: number;
  /**
   * @param weights per class id
   * @param held ledger rows that what brought the sums to these features has not seen; default: none
   */
  weighted(weights: ReadonlyMap<string, number>, held?: ReadonlySet<number>): Promise<GivenSums>;
}

export const countsOf = (statistics: Statistics): Map<string, number> =>
  new Map(statistics.classIds.map((id) => [id, statistics.count(id)]));

/** Sums that are of these features anyhow. */
export function asTheyAre(statistics: Statistics, products: Products): OtherSums {
  const counts = countsOf(statistics);
  return {
    counts,
    samples: [...counts.values()].reduce((sum, count) => sum + count, 0),
    weighted: async (weights) => ({
      scatter: await statistics.weightedScatter(weights, products),
      sums: new Map(statistics.classIds.map((id) => [id, statistics.of(id)!.sum])),
    }),
  };
}

/** Parts per class with those of other stations, in name order. */
export const countsWith = (own: ReadonlyMap<string, number>, others: OtherSums | null): Map<string, number> =>
  new Map(
    [...new Set([...own.keys(), ...(others?.counts.keys() ?? [])])]
      .sort(byCodeUnit)
      .map((id) => [id, (own.get(id) ?? 0) + (others?.counts.get(id) ?? 0)]),
  );

/** Mean over classes of the share of judged rows that are right; null without any. */
function balancedAccuracyOf(validation: Omit<CrossValidation, 'balancedAccuracy'>, ledger: readonly LedgerRow[]) {
  const { rows, classIds, logits } = validation;
  const k = classIds.length;
  const judged = Map.groupBy(judgedRows(validation, ledger), (i) => ledger[rows[i]!]!.classId);
  const recalls = [...judged].map(
    ([id, own]) => own.filter((i) => classIds[argmax(logits.data, i * k, k)] === id).length / own.length,
  );
  return recalls.length === 0 ? null : recalls.reduce((sum, recall) => sum + recall, 0) / recalls.length;
}

/**
 * Logits of all classes for each row, by the head without its fold.
 * @param choice lambda for as many parts as the sample has, and g
 * @param picked embedded rows of the sample, in its order
 * @param others what is in every head beside them; null: nothing
 * @throws SINGULAR_STATISTICS, CANCELLED
 */
export async function heldOutByHeads(
  { lambda, balancing }: Choice,
  { rows, folds }: Sample,
  picked: Matrix,
  ledger: readonly LedgerRow[],
  others: OtherSums | null,
  { products, signal }: { products: Products; signal?: AbortSignal | undefined },
): Promise<CrossValidation> {
  const own = new Map<string, number>();
  for (const { classId } of ledger) own.set(classId, (own.get(classId) ?? 0) + 1);
  const counts = countsWith(own, others);
  const classIds = [...counts.keys()];
  const column = new Map(classIds.map((id, c) => [id, c]));
  const weights = classWeights(counts, balancing);
  const truth = Int32Array.from(rows, (row) => column.get(ledger[row]!.classId)!);
  const taken = classIds.map(() => 0);
  for (const c of truth) taken[c]! += 1;
  // A class of which only some rows take part keeps its whole weight.
  const weightOf = (c: number) => (weights.get(classIds[c]!)! * own.get(classIds[c]!)!) / taken[c]!;
  // lambda was chosen for as many parts as take part; here they weigh as much as the whole ledger.
  const ridge = (lambda * ledger.length) / rows.length;
  const [d, k] = [picked.columns, classIds.length];

  /** sum_i w_i z_i z_i^T and sum_i w_i z_i y_i^T of some rows. */
  const sumsOf = async (some: readonly number[]): Promise<Weighted> => {
    const scaled = matrix(some.length, d);
    const b = matrix(d, k);
    some.forEach((i, at) => {
      const weight = weightOf(truth[i]!);
      for (let j = 0; j < d; j += 1) {
        const value = picked.data[i * d + j]!;
        scaled.data[at * d + j] = Math.sqrt(weight) * value;
        b.data[j * k + truth[i]!]! += weight * value;
      }
    });
    return { a: await products.multiply(scaled, scaled, { transposeA: true }), b };
  };
  const held = [...Map.groupBy(rows.keys(), (i) => folds[i]!).values()];
  const sums: Weighted[] = [];
  for (const some of held) sums.push(await sumsOf(some));

  const logits = matrix(rows.length, k);
  for (const [fold, some] of held.entries()) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const a = matrix(d, d);
    const b = matrix(d, k);
    sums.forEach((of, other) => {
      if (other === fold) return;
      addTo(a, of.a);
      addTo(b, of.b);
    });
    const given = await others?.weighted(weights, new Set(some.map((i) => rows[i]!)));
    if (given) {
      addTo(a, given.scatter);
      for (const [id, sum] of given.sums) {
        const weight = weights.get(id)!;
        for (let j = 0; j < d; j += 1) b.data[j * k + column.get(id)!]! += weight * sum[j]!;
      }
    }
    for (let i = 0; i < d; i += 1) a.data[i * d + i]! += ridge;
    const head = await solveCholesky(await cholesky(a, products), b, products);
    const { data } = await products.multiply(pick(picked, some), head);
    some.forEach((i, at) => logits.data.set(data.subarray(at * k, (at + 1) * k), i * k));
  }
  const parts = rows.map((row) => partOf(ledger, row));
  const raised = raisedLogits({ classIds, truth, folds, parts, logits, counts });
  for (const [id, more] of raised) {
    for (let at = column.get(id)!; at < logits.data.length; at += k) logits.data[at]! += more;
  }
  const validation = { lambda, balancing, raised, rows, folds, classIds, logits };
  return { ...validation, balancedAccuracy: balancedAccuracyOf(validation, ledger) };
}

interface Weighted {
  a: Matrix;
  b: Matrix;
}

const addTo = (sum: Matrix, { data }: Matrix): void => {
  for (let i = 0; i < data.length; i += 1) sum.data[i]! += data[i]!;
};
