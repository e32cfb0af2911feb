import { noveltyLimit, reachableFalseAlarms } from './calibration.ts';
import { matrix, type Matrix, type Products } from './dense.ts';
import { distancesOf, fitNovelty, type NoveltySpace } from './novelty.ts';
import { project } from './subspace.ts';
import { pick, type CrossValidation } from './selection.ts';
import type { WeightedSums } from './solve.ts';

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
const SIGNS: readonly Sign[] = ['relative', 'cosine', 'outside', 'doubt'];
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

/** Sums that a novelty model is made of, and what rows can be taken out of them. */
export interface NoveltyInput extends WeightedSums {
  /** Parts with directions of their own, by which the rank is chosen; default: all. */
  samples?: number;
}

const samplesOf = ({ classes, samples }: NoveltyInput): number =>
  samples ?? [...classes.values()].reduce((sum, { count }) => sum + count, 0);

/** @throws SINGULAR_STATISTICS */
export const fitSpace = (input: NoveltyInput, products: Products): Promise<NoveltySpace> =>
  fitNovelty(
    {
      scatter: input.scatter,
      classes: [...input.classes.values()].map(({ count, sum, weight }) => ({
        mean: sum.map((value) => value / count),
        weight: weight * count,
      })),
    },
    samplesOf(input),
    products,
  );

/**
 * The same model as if some rows had never been seen: directions, class means and covariances.
 * @param space of all rows; null: the directions are looked for anew
 * @param z rows [n, d] of which those of `out` are taken away, @param classOf class of each
 * @returns null when no row would be left
 */
export async function fitSpaceWithout(
  input: NoveltyInput,
  space: NoveltySpace | null,
  z: Matrix,
  out: readonly number[],
  classOf: (row: number) => string,
  products: Products,
): Promise<{ space: NoveltySpace; known: ReadonlySet<string> } | null> {
  const d = z.columns;
  const left = new Map(
    [...input.classes].map(([id, { count, sum, weight }]) => [id, { count, sum: sum.slice(), weight }]),
  );
  const without = matrix(out.length, d);
  out.forEach((row, r) => {
    const entry = left.get(classOf(row))!;
    const root = Math.sqrt(entry.weight);
    entry.count -= 1;
    for (let j = 0; j < d; j += 1) {
      const value = z.data[row * d + j]!;
      entry.sum[j]! -= value;
      without.data[r * d + j] = root * value;
    }
  });
  const kept = [...left].filter(([, { count }]) => count > 0);
  if (kept.length === 0) return null;
  const fitted = await fitNovelty(
    {
      scatter: input.scatter,
      classes: kept.map(([, { count, sum, weight }]) => ({
        mean: sum.map((value) => value / count),
        weight: weight * count,
      })),
      without,
    },
    samplesOf(input),
    products,
    space?.directions,
  );
  return { space: fitted, known: new Set(kept.map(([id]) => id)) };
}

/** Sums from which the rows of a fold are yet to be taken, and the model of much the same sums; null: no such model may be known. */
export interface FoldSums {
  input: NoveltyInput;
  space: NoveltySpace | null;
}

/**
 * Signs of ledger rows by models that did not see their fold: all that the model is made of is fitted anew without it. Rows whose class is
 * not in another fold are left out; `judged` says which rows of the validation the signs are of.
 * @param sumsFor held-out rows of the ledger: sums in which nothing but the rows themselves is of them
 * @param picked embedded rows of the validation, in its order
 * @param classOf class of each ledger row
 */
export async function heldOutSigns(
  sumsFor: (held: ReadonlySet<number>) => Promise<FoldSums>,
  picked: Matrix,
  classOf: readonly string[],
  validation: Pick<CrossValidation, 'rows' | 'folds' | 'logits'>,
  products: Products,
): Promise<{ signs: Signs; judged: number[] }> {
  const { rows, folds, logits } = validation;
  const all: Signs[] = [];
  const judged: number[] = [];
  for (const fold of new Set(folds)) {
    const held = rows.flatMap((_, i) => (folds[i] === fold ? [i] : []));
    const { input, space } = await sumsFor(new Set(held.map((i) => rows[i]!)));
    const part = await fitSpaceWithout(input, space, picked, held, (i) => classOf[rows[i]!]!, products);
    const seen = held.filter((i) => part?.known.has(classOf[rows[i]!]!));
    if (!part || seen.length === 0) continue;
    all.push(await signsOf(part.space, pick(picked, seen), pick(logits, seen), products));
    judged.push(...seen);
  }
  return { signs: joinSigns(all), judged };
}

/** Several tables of signs, one after the other. */
export function joinSigns(parts: readonly Signs[]): Signs {
  const joined = (sign: Sign) => {
    const out = new Float64Array(parts.reduce((sum, part) => sum + part[sign].length, 0));
    let at = 0;
    for (const part of parts) {
      out.set(part[sign], at);
      at += part[sign].length;
    }
    return out;
  };
  return { relative: joined('relative'), cosine: joined('cosine'), outside: joined('outside'), doubt: joined('doubt') };
}

const quantile = (sorted: Float64Array, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

/**
 * Scale and limit from held-out known parts, and the rate that the limit promises. Without any, nothing is ever novel.
 * @param parts part that each row is a tile of, since a part is as novel as its most novel tile; default: each row is a part
 */
export function fitNoveltyScale(
  signs: Signs,
  parts?: readonly string[],
): { scale: NoveltyScale; limit: number; rate: number | null } {
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
  const worst = new Map<string | number, number>();
  signs.relative.forEach((_, i) => {
    const name = parts?.[i] ?? i;
    worst.set(name, Math.max(worst.get(name) ?? -Infinity, combine(signs, scale, i)));
  });
  const scores = Float64Array.from(worst.values());
  return { scale, limit: noveltyLimit(scores), rate: scores.length === 0 ? null : reachableFalseAlarms(scores.length) };
}

/** Score of one row. */
export const combine = (signs: Signs, { constant, factors }: NoveltyScale, i: number): number =>
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
