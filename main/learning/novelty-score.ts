import { scoreProjected, noveltyOf, project, type NoveltyModel } from './novelty.ts';
import { noveltyLimit } from './calibration.ts';
import { matrix, type Matrix, type Products } from './dense.ts';
import { argmax } from './evaluation.ts';
import type { CrossValidation } from './selection.ts';
import { classWeights } from './solve.ts';

/*
 * Novelty from three signs that fail on different parts: the relative distance to the nearest class (novelty.ts), the energy
 * outside the known directions, and the doubt of the head, |logits|^2 - 2 max logit: its squared distance to the nearest answer it was
 * taught. Each is measured in its own spread over known parts that were held out, so none needs a weight per data set; and the limit
 * is one per predicted class: what is usual among scratches would be far out among good parts.
 */

export interface Signs {
  relative: Float64Array;
  outside: Float64Array;
  doubt: Float64Array;
}
type Sign = keyof Signs;
const SIGNS: readonly Sign[] = ['relative', 'outside', 'doubt'];
/** Chosen once for all data, by AUROC with a class held out. */
const SHARE: Readonly<Record<Sign, number>> = { relative: 1, outside: 0.3, doubt: 1 };
/** Held-out parts of a class from which on it has a limit of its own. */
const OWN_LIMIT = 20;

export interface NoveltyScale {
  classIds: readonly string[];
  middle: Record<Sign, number>;
  spread: Record<Sign, number>;
  /** Of the sum of the signs, per predicted class, in their order. */
  limits: Float64Array;
}

const relativeOnly = (model: NoveltyModel) => ({ ...model, residualPrecision: 0 });

const doubtOf = (logits: Matrix): Float64Array =>
  Float64Array.from({ length: logits.rows }, (_, i) => {
    const row = logits.data.subarray(i * logits.columns, (i + 1) * logits.columns);
    return row.reduce((sum, v) => sum + v * v, 0) - 2 * Math.max(...row);
  });

export async function signsOf(model: NoveltyModel, z: Matrix, logits: Matrix, products: Products): Promise<Signs> {
  const projected = await project(model, z, products);
  return {
    relative: await scoreProjected(relativeOnly(model), projected, products),
    outside: projected.outside,
    doubt: doubtOf(logits),
  };
}

/**
 * Signs of ledger rows by models that did not see their fold; directions are those of the whole ledger.
 * @param classOf class of each row of z
 */
export async function heldOutSigns(
  model: NoveltyModel,
  z: Matrix,
  classOf: readonly string[],
  validation: Pick<CrossValidation, 'rows' | 'folds' | 'balancing' | 'logits' | 'classIds'>,
  products: Products,
): Promise<{ signs: Signs; predicted: number[]; truth: string[] }> {
  const { rows, folds, balancing, logits, classIds } = validation;
  const picked = matrix(rows.length, z.columns);
  rows.forEach((row, i) => picked.data.set(z.data.subarray(row * z.columns, (row + 1) * z.columns), i * z.columns));
  const { y, outside } = await project(model, picked, products);
  const { rank } = model;
  const doubts = doubtOf(logits);
  const signs: Record<Sign, number[]> = { relative: [], outside: [], doubt: [] };
  const predicted: number[] = [];
  const truth: string[] = [];
  for (const fold of new Set(folds)) {
    const kept = new Map<string, number[]>();
    rows.forEach((row, i) => {
      if (folds[i] !== fold) kept.set(classOf[row]!, [...(kept.get(classOf[row]!) ?? []), i]);
    });
    const judged = rows.flatMap((row, i) => (folds[i] === fold && kept.has(classOf[row]!) ? [i] : []));
    if (judged.length === 0) continue;
    const weights = classWeights(new Map([...kept].map(([id, list]) => [id, list.length])), balancing);
    const means = matrix(kept.size, rank);
    const deviations: Float64Array[] = [];
    let total = 0;
    [...kept].forEach(([id, list], c) => {
      for (const i of list)
        for (let j = 0; j < rank; j += 1) means.data[c * rank + j]! += y.data[i * rank + j]! / list.length;
      const weight = weights.get(id)!;
      total += weight * list.length;
      for (const i of list)
        deviations.push(
          Float64Array.from(
            { length: rank },
            (_, j) => (y.data[i * rank + j]! - means.data[c * rank + j]!) * Math.sqrt(weight),
          ),
        );
    });
    const centred = matrix(deviations.length, rank);
    deviations.forEach((row, i) => centred.data.set(row, i * rank));
    const within = await products.multiply(centred, centred, { transposeA: true });
    for (let i = 0; i < within.data.length; i += 1) within.data[i]! /= total;
    const part = await noveltyOf(model, within, means, products);
    const held = matrix(judged.length, rank);
    judged.forEach((i, k) => held.data.set(y.data.subarray(i * rank, (i + 1) * rank), k * rank));
    const own = Float64Array.from(judged, (i) => outside[i]!);
    signs.relative.push(...(await scoreProjected(relativeOnly(part), { y: held, outside: own }, products)));
    for (const i of judged) {
      signs.outside.push(outside[i]!);
      signs.doubt.push(doubts[i]!);
      predicted.push(argmax(logits.data, i * classIds.length, classIds.length));
      truth.push(classOf[rows[i]!]!);
    }
  }
  return {
    signs: {
      relative: Float64Array.from(signs.relative),
      outside: Float64Array.from(signs.outside),
      doubt: Float64Array.from(signs.doubt),
    },
    predicted,
    truth,
  };
}

const quantile = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

function summed(signs: Signs, { middle, spread }: Pick<NoveltyScale, 'middle' | 'spread'>): Float64Array {
  return signs.relative.map((_, i) =>
    SIGNS.reduce((sum, sign) => sum + (SHARE[sign] * (signs[sign][i]! - middle[sign])) / spread[sign], 0),
  );
}

/** Spreads and limits from held-out known parts. Without any, nothing is ever novel. */
export function fitNoveltyScale(
  { signs, predicted }: { signs: Signs; predicted: readonly number[] },
  classIds: readonly string[],
): NoveltyScale {
  const middle = { relative: 0, outside: 0, doubt: 0 };
  const spread = { relative: 1, outside: 1, doubt: 1 };
  for (const sign of SIGNS) {
    const sorted = signs[sign].toSorted();
    middle[sign] = quantile(sorted, 0.5);
    spread[sign] = Math.max(1e-9, quantile(sorted, 0.84) - quantile(sorted, 0.16));
  }
  const scores = summed(signs, { middle, spread });
  const all = noveltyLimit(scores);
  const limits = Float64Array.from(classIds, (_, c) => {
    const own = scores.filter((_score, i) => predicted[i] === c);
    return own.length >= OWN_LIMIT ? noveltyLimit(own) : all;
  });
  return { classIds, middle, spread, limits };
}

/**
 * Novelty of parts: the signs' sum, and the same less the limit of the class that each is taken for (above 0: novel).
 */
export function noveltyScores(
  signs: Signs,
  logits: Matrix,
  scale: NoveltyScale,
): { score: Float64Array; beyond: Float64Array } {
  const score = summed(signs, scale);
  const beyond = score.map((s, i) => s - scale.limits[argmax(logits.data, i * logits.columns, logits.columns)]!);
  return { score, beyond };
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
