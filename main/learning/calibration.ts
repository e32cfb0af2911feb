import type { Criteria } from '../contract/domain.ts';
import { argmax } from './evaluation.ts';
import { upperBound } from './exact-statistics.ts';

/* From held-out logits to probabilities, and from probabilities to verdicts: all of it on predictions that did not see the part. */

export interface HeldOut {
  classIds: readonly string[];
  /** Row-major [rows, classes]. */
  logits: Float64Array;
  /** Class of each row; rows that cannot be judged (only image of a class) are left out by the caller. */
  truth: readonly string[];
  /** Part that each row is a tile of; default: each row is a part. */
  parts?: readonly string[];
}

/** Used while no part can be held out: logits of a ridge head on one-hot targets differ by less than one. */
export const DEFAULT_TEMPERATURE = 0.15;

/** softmax(logits / temperature) of one row. */
export function probabilities(logits: ArrayLike<number>, at: number, count: number, temperature: number): Float64Array {
  const out = new Float64Array(count);
  const top = logits[at + argmax(logits, at, count)]!;
  let sum = 0;
  for (let c = 0; c < count; c += 1) {
    out[c] = Math.exp((logits[at + c]! - top) / temperature);
    sum += out[c]!;
  }
  for (let c = 0; c < count; c += 1) out[c]! /= sum;
  return out;
}

/** Temperature of least negative log-likelihood, every class counted alike (Guo et al., 2017), by golden section in its logarithm. */
export function fitTemperature({ classIds, logits, truth }: HeldOut): number {
  if (truth.length === 0 || classIds.length < 2) return DEFAULT_TEMPERATURE;
  const k = classIds.length;
  const counts = new Map<string, number>();
  for (const id of truth) counts.set(id, (counts.get(id) ?? 0) + 1);
  const column = new Map(classIds.map((id, c) => [id, c]));
  const loss = (logTemperature: number): number => {
    const temperature = Math.exp(logTemperature);
    let sum = 0;
    truth.forEach((id, i) => {
      const p = probabilities(logits, i * k, k, temperature)[column.get(id)!]!;
      sum -= Math.log(Math.max(p, 1e-12)) / counts.get(id)!;
    });
    return sum;
  };
  const ratio = (Math.sqrt(5) - 1) / 2;
  let low = Math.log(0.02);
  let high = Math.log(1);
  let a = high - ratio * (high - low);
  let b = low + ratio * (high - low);
  let [fa, fb] = [loss(a), loss(b)];
  while (high - low > 0.01) {
    if (fa < fb) {
      [high, b, fb] = [b, a, fa];
      a = high - ratio * (high - low);
      fa = loss(a);
    } else {
      [low, a, fa] = [a, b, fb];
      b = low + ratio * (high - low);
      fb = loss(b);
    }
  }
  return Math.exp((low + high) / 2);
}

/** Bins of the expected calibration error (Guo et al., 2017). */
const BINS = 15;

/** Expected calibration error: mean distance of confidence and share right over equal bins of confidence, weighted by parts; null without any. */
export function calibrationError({ classIds, logits, truth }: HeldOut, temperature: number): number | null {
  if (truth.length === 0) return null;
  const k = classIds.length;
  const confidence = new Float64Array(BINS);
  const right = new Float64Array(BINS);
  truth.forEach((id, i) => {
    const p = probabilities(logits, i * k, k, temperature);
    const best = argmax(p, 0, k);
    const bin = Math.min(BINS - 1, Math.floor(p[best]! * BINS));
    confidence[bin]! += p[best]!;
    if (classIds[best] === id) right[bin]! += 1;
  });
  return confidence.reduce((sum, c, b) => sum + Math.abs(c - right[b]!), 0) / truth.length;
}

/** Confidence below which nothing is certain. */
const LEAST = 0.5;
/** Above it a demand that the parts are too few to show only makes more of them unsure. */
const MOST_UNSHOWN = 0.95;
/** Thresholds that are tried, from the strictest: a grid that does not depend on the parts. */
const STEP = 0.001;
const MOST = 0.999;

/** What held-out parts say of a limit on wrong verdicts. */
export interface Shown {
  /** The 95 % bound keeps the limit; it does not at any confidence; there are too few parts to tell. */
  outcome: 'kept' | 'broken' | 'not-enough-evidence';
  limit: number;
  /** Wrong verdicts at the threshold, of so many parts. */
  wrong: number;
  parts: number;
  /** Exact 95 % upper bound (Clopper-Pearson). */
  bound: number;
}

/**
 * The least confidence at which the exact 95 % bound of wrong verdicts keeps the limit: the fewest parts are then unsure. Thresholds are tested in a
 * fixed order from the strictest down to the first that fails, so the bound holds although the threshold was chosen on the same parts (fixed
 * sequence testing: Angelopoulos et al., "Learn then Test", 2021). With too few parts to show the limit, the least at which none is wrong.
 * @param wrong confidences of the wrong verdicts among `parts` parts
 */
function thresholdFor(wrong: readonly number[], parts: number, limit: number): Shown & { threshold: number } {
  const countAt = (threshold: number) => wrong.filter((confidence) => confidence >= threshold).length;
  const at = (threshold: number, outcome: Shown['outcome']) => {
    const count = countAt(threshold);
    return { threshold, outcome, limit, wrong: count, parts, bound: upperBound(count, parts) };
  };
  if (upperBound(0, parts) > limit) {
    const above = Math.max(LEAST, ...wrong.map((confidence) => confidence + 1e-6));
    return at(Math.min(MOST_UNSHOWN, above), 'not-enough-evidence');
  }
  // The bound grows with the count: the most that is allowed.
  let [allowed, tooMany] = [0, parts + 1];
  while (tooMany - allowed > 1) {
    const middle = (allowed + tooMany) >> 1;
    if (upperBound(middle, parts) <= limit) allowed = middle;
    else tooMany = middle;
  }
  let step = Math.round(MOST / STEP);
  if (countAt(step * STEP) > allowed) return at(step * STEP, 'broken');
  // Whole steps, so that a threshold is the same number however it was reached.
  while (step > Math.round(LEAST / STEP) && countAt((step - 1) * STEP) <= allowed) step -= 1;
  return at(step * STEP, 'kept');
}

export interface Thresholds {
  ok: number;
  ng: number;
}

/** What the tiles of one part come to by the worst-of rule. */
interface HeldOutPart {
  isOk: boolean;
  /** Greatest confidence of a tile judged ng; null: none is. */
  ng: number | null;
  /** Least confidence of the tiles judged ok. */
  ok: number;
}

/**
 * Least confidence for a verdict ok and for a verdict ng, from the station's bounds on escape and overkill, and whether the parts show that
 * they are kept. Parts are counted, not tiles: one bad tile of thirty makes a good part ng. Escapes depend on the first alone, overkill on the second alone: the least of each leaves the fewest parts unsure.
 * @param okIds classes of good parts
 */
export function chooseThresholds(
  { classIds, logits, truth, parts: partOf }: HeldOut,
  temperature: number,
  okIds: ReadonlySet<string>,
  criteria: Pick<Criteria, 'maxEscape' | 'maxOverkill'>,
): Thresholds & { escape: Shown; overkill: Shown; unsureShare: number | null } {
  const k = classIds.length;
  const byName = new Map<string | number, HeldOutPart>();
  truth.forEach((id, i) => {
    const p = probabilities(logits, i * k, k, temperature);
    const best = argmax(p, 0, k);
    const confidence = p[best]!;
    const name = partOf?.[i] ?? i;
    const part = byName.get(name) ?? { isOk: okIds.has(id), ng: null, ok: 1 };
    if (okIds.has(classIds[best]!)) part.ok = Math.min(part.ok, confidence);
    else part.ng = Math.max(part.ng ?? 0, confidence);
    byName.set(name, part);
  });
  const parts = [...byName.values()];
  const [good, bad] = [parts.filter(({ isOk }) => isOk), parts.filter(({ isOk }) => !isOk)];
  const { threshold: ok, ...escape } = thresholdFor(
    bad.flatMap((part) => (part.ng === null ? [part.ok] : [])),
    bad.length,
    criteria.maxEscape,
  );
  const { threshold: ng, ...overkill } = thresholdFor(
    good.flatMap((part) => part.ng ?? []),
    good.length,
    criteria.maxOverkill,
  );
  const unsure = parts.filter((part) => (part.ng === null ? part.ok < ok : part.ng < ng)).length;
  return { ok, ng, escape, overkill, unsureShare: parts.length === 0 ? null : unsure / parts.length };
}

/** The thresholds alone. */
export function fitThresholds(...input: Parameters<typeof chooseThresholds>): Thresholds {
  const { ok, ng } = chooseThresholds(...input);
  return { ok, ng };
}

/** Share of known parts that may be called novel. */
export const FALSE_ALARMS = 0.01;

/**
 * The share that so many held-out parts can promise: the next part is above the highest of n with a chance of 1 / (n + 1), and no limit drawn
 * from them has less.
 */
export const reachableFalseAlarms = (parts: number): number => Math.max(FALSE_ALARMS, 1 / (parts + 1));

/**
 * Limit above which a part is novel, from held-out scores of known parts: the ceil((n + 1)(1 - a))-th value, which a further known part exceeds with
 * a chance of at most a (split conformal prediction: Vovk et al., 2005). With fewer than 99 parts the highest, and a is what they can promise.
 */
export function noveltyLimit(scores: Float64Array): number {
  const n = scores.length;
  if (n === 0) return Number.MAX_VALUE;
  const rank = Math.ceil((n + 1) * (1 - FALSE_ALARMS));
  return scores.toSorted()[Math.min(n, rank) - 1]!;
}

/**
 * Held-out scores within the limit that the scores of the other folds give: one that they helped to give is where it is so that they are within it.
 * @param folds of the scores, in their order
 */
export function withinLimitOfOthers(scores: Float64Array, folds: readonly number[]): number {
  const limits = new Map(
    [...new Set(folds)].map((fold) => [fold, noveltyLimit(scores.filter((_, i) => folds[i] !== fold))]),
  );
  return scores.filter((score, i) => score <= limits.get(folds[i]!)!).length;
}
