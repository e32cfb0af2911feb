import { noveltyLimit } from './calibration.ts';
import { matrix, type Matrix, type Products } from './dense.ts';
import { distancesOf, noveltyOf, project, type NoveltySpace } from './novelty.ts';
import type { CrossValidation } from './selection.ts';
import { classWeights } from './solve.ts';

/*
 * Novelty from four signs that fail on different parts: distance and angle to the nearest class (novelty.ts), the energy outside the known
 * directions, and the doubt of the head, |logits|^2 - 2 max logit: its squared distance to the nearest answer it was taught. Each
 * is measured in its own spread over known parts that were held out, so none needs a weight per data set. One limit for all
 * classes: limits per predicted class were tried and gave up AUROC with a class held out (training folds, magnetic_tile .81 to .71: the
 * limit of a class with few parts is mostly chance).
 */

export interface Signs {
  relative: Float64Array;
  cosine: Float64Array;
  outside: Float64Array;
  doubt: Float64Array;
}
export type Sign = keyof Signs;
export const SIGNS: readonly Sign[] = ['relative', 'cosine', 'outside', 'doubt'];
/** Chosen once for all data, on training images alone: a class held out, a fold held out. */
const SHARE: Readonly<Record<Sign, number>> = { relative: 1, cosine: 1, outside: 0.3, doubt: 1 };

/** score = constant + sum of factor x sign. */
export interface NoveltyScale {
  constant: number;
  factors: Record<Sign, number>;
}

export interface NoveltyModel extends NoveltySpace {
  scale: NoveltyScale;
}

const doubtOf = (logits: Matrix): Float64Array =>
  Float64Array.from({ length: logits.rows }, (_, i) => {
    const row = logits.data.subarray(i * logits.columns, (i + 1) * logits.columns);
    return row.reduce((sum, v) => sum + v * v, 0) - 2 * Math.max(...row);
  });

/** @param z embedded parts, @param logits of the same */
export async function signsOf(space: NoveltySpace, z: Matrix, logits: Matrix, products: Products): Promise<Signs> {
  const { y, outside } = await project(space, z, products);
  return { ...(await distancesOf(space, y, products)), outside, doubt: doubtOf(logits) };
}

/**
 * Signs of ledger rows by models that did not see their fold; directions are those of the whole ledger.
 * @param picked embedded rows of the validation, in its order
 * @param classOf class of each ledger row
 */
export async function heldOutSigns(
  space: NoveltySpace,
  picked: Matrix,
  classOf: readonly string[],
  validation: Pick<CrossValidation, 'rows' | 'folds' | 'balancing' | 'logits' | 'classIds'>,
  products: Products,
): Promise<Signs> {
  const { rows, folds, balancing, logits } = validation;
  const signs: Record<Sign, number[]> = { relative: [], cosine: [], outside: [], doubt: [] };
  if (rows.length > 0) {
    const { y, outside } = await project(space, picked, products);
    const { rank } = space;
    const doubts = doubtOf(logits);
    for (const fold of new Set(folds)) {
      const kept = new Map<string, number[]>();
      rows.forEach((row, i) => {
        if (folds[i] === fold) return;
        const list = kept.get(classOf[row]!);
        if (list) list.push(i);
        else kept.set(classOf[row]!, [i]);
      });
      const judged = rows.flatMap((row, i) => (folds[i] === fold && kept.has(classOf[row]!) ? [i] : []));
      if (judged.length === 0) continue;
      const part = await withoutFold(space, y, kept, balancing, products);
      const held = matrix(judged.length, rank);
      judged.forEach((i, k) => held.data.set(y.data.subarray(i * rank, (i + 1) * rank), k * rank));
      const { relative, cosine } = await distancesOf(part, held, products);
      signs.relative.push(...relative);
      signs.cosine.push(...cosine);
      for (const i of judged) {
        signs.outside.push(outside[i]!);
        signs.doubt.push(doubts[i]!);
      }
    }
  }
  return {
    relative: Float64Array.from(signs.relative),
    cosine: Float64Array.from(signs.cosine),
    outside: Float64Array.from(signs.outside),
    doubt: Float64Array.from(signs.doubt),
  };
}

/** Means and covariance within classes of the rows that are kept, in the directions of all. */
async function withoutFold(
  space: NoveltySpace,
  y: Matrix,
  kept: ReadonlyMap<string, readonly number[]>,
  balancing: number,
  products: Products,
): Promise<NoveltySpace> {
  const { rank } = space;
  const weights = classWeights(new Map([...kept].map(([id, list]) => [id, list.length])), balancing);
  const means = matrix(kept.size, rank);
  const centred = matrix(
    [...kept.values()].reduce((sum, { length }) => sum + length, 0),
    rank,
  );
  let at = 0;
  let total = 0;
  [...kept].forEach(([id, list], c) => {
    for (const i of list)
      for (let j = 0; j < rank; j += 1) means.data[c * rank + j]! += y.data[i * rank + j]! / list.length;
    const root = Math.sqrt(weights.get(id)!);
    total += weights.get(id)! * list.length;
    for (const i of list) {
      for (let j = 0; j < rank; j += 1)
        centred.data[at * rank + j] = (y.data[i * rank + j]! - means.data[c * rank + j]!) * root;
      at += 1;
    }
  });
  const within = await products.multiply(centred, centred, { transposeA: true });
  for (let i = 0; i < within.data.length; i += 1) within.data[i]! /= total;
  return noveltyOf(space, within, means, products);
}

const quantile = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

/** Scale and limit from held-out known parts. Without any, nothing is ever novel. */
export function fitNoveltyScale(signs: Signs): { scale: NoveltyScale; limit: number } {
  const factors = { relative: 0, cosine: 0, outside: 0, doubt: 0 };
  let constant = 0;
  for (const sign of SIGNS) {
    const sorted = signs[sign].toSorted();
    const spread = quantile(sorted, 0.84) - quantile(sorted, 0.16);
    // A sign that is the same for all known parts (an ideal head, nothing outside) tells nothing and is left out.
    if (!(spread > 1e-9)) continue;
    factors[sign] = SHARE[sign] / spread;
    constant -= factors[sign] * quantile(sorted, 0.5);
  }
  const scale = { constant, factors };
  return { scale, limit: noveltyLimit(signs.relative.map((_, i) => combine(signs, scale, i))) };
}

const combine = (signs: Signs, { constant, factors }: NoveltyScale, i: number): number =>
  SIGNS.reduce((sum, sign) => sum + factors[sign] * signs[sign][i]!, constant);

/** Novelty of parts, to be compared with the knowledge's limit. */
export async function scoreNovelty(
  model: NoveltyModel,
  z: Matrix,
  logits: Matrix,
  products: Products,
): Promise<Float64Array> {
  const signs = await signsOf(model, z, logits, products);
  return signs.relative.map((_, i) => combine(signs, model.scale, i));
}

/** Share of pairs (normal, other) in which the other has the higher score; ties count half. NaN without a pair. */
export function areaUnderCurve(normal: ArrayLike<number>, other: ArrayLike<number>): number {
  const sorted = Float64Array.from(normal).sort();
  const countBelow = (x: number, orEqual: boolean): number => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]! < x || (orEqual && sorted[middle] === x)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  let sum = 0;
  for (let i = 0; i < other.length; i += 1) sum += (countBelow(other[i]!, false) + countBelow(other[i]!, true)) / 2;
  return sum / (sorted.length * other.length);
}
