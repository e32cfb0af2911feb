import type { Criteria } from '../contract/domain.ts';
import { argmax, upperBound } from './evaluation.ts';

/* From held-out logits to probabilities, and from probabilities to verdicts: all of it on predictions that did not see the part. */

export interface HeldOut {
  classIds: readonly string[];
  /** Row-major [rows, classes]. */
  logits: Float64Array;
  /** Class of each row; rows that cannot be judged (only image of a class) are left out by the caller. */
  truth: readonly string[];
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

/** Confidence below which nothing is certain, and above which a demand only makes more parts unsure. */
const LEAST = 0.5;
const MOST = 0.95;

/**
 * The least confidence in LEAST..MOST at which the 95 % bound of wrong verdicts keeps the limit. With too few parts to show
 * that, the least at which none is wrong.
 * @param wrong confidences of the wrong verdicts among `all` parts
 */
function thresholdFor(wrong: number[], all: number, limit: number): number {
  if (all === 0) return LEAST;
  const sorted = wrong.filter((confidence) => confidence >= LEAST).sort((a, b) => b - a);
  // With k wrong ones left above the threshold; the most that still keeps the limit.
  let allowed = 0;
  if (upperBound(0, all) <= limit)
    while (allowed < sorted.length && upperBound(allowed + 1, all) <= limit) allowed += 1;
  const first = sorted[allowed];
  return first === undefined ? LEAST : Math.min(MOST, first + 1e-6);
}

/**
 * Least confidence for a verdict ok and for a verdict ng, from the station's bounds on escape and overkill.
 * @param okIds classes of good parts
 */
export function fitThresholds(
  { classIds, logits, truth }: HeldOut,
  temperature: number,
  okIds: ReadonlySet<string>,
  criteria: Pick<Criteria, 'maxEscape' | 'maxOverkill'>,
): { ok: number; ng: number } {
  const k = classIds.length;
  const escapes: number[] = [];
  const overkills: number[] = [];
  let good = 0;
  truth.forEach((id, i) => {
    const p = probabilities(logits, i * k, k, temperature);
    const best = argmax(p, 0, k);
    const judgedOk = okIds.has(classIds[best]!);
    const isOk = okIds.has(id);
    if (isOk) good += 1;
    if (isOk && !judgedOk) overkills.push(p[best]!);
    if (!isOk && judgedOk) escapes.push(p[best]!);
  });
  return {
    ok: thresholdFor(escapes, truth.length - good, criteria.maxEscape),
    ng: thresholdFor(overkills, good, criteria.maxOverkill),
  };
}

/** Share of known parts that may be called novel. */
export const FALSE_ALARMS = 0.01;

/** Limit above which a part is novel, from held-out scores of known parts. */
export function noveltyLimit(scores: Float64Array): number {
  if (scores.length === 0) return Number.MAX_VALUE;
  const sorted = scores.toSorted();
  const top = sorted.at(-1)!;
  if (sorted.length * FALSE_ALARMS >= 1) return sorted[Math.ceil(sorted.length * (1 - FALSE_ALARMS)) - 1]!;
  // Too few to see one in a hundred: the highest, and a quarter of its distance from the middle on top.
  return top + 0.25 * (top - sorted[sorted.length >> 1]!);
}
