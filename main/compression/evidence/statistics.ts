import { assert } from '../../contract/errors.ts';
import { binomialCdf, bisect, normalQuantile } from '../../learning/exact-statistics.ts';

/*
 * Statistics of the evidence: exact or score methods, because the counts of a station are small and recalls sit near 1,
 * where the textbook normal interval has no width.
 */

/** Wilson's score interval of a share (two-sided). @param k need not be whole: of a part some tiles may be right */
export const wilson = (k: number, n: number, confidence = 0.95): [lo: number, hi: number] => {
  assert(n >= 0 && k >= 0 && k <= n, `0 <= k <= n, found ${k} of ${n}`);
  if (n === 0) return [0, 1];
  const z = normalQuantile((1 + confidence) / 2);
  const p = k / n;
  const centre = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
};

export interface ClassCount {
  /** Parts of the class. */
  n: number;
  /** Of these judged right. */
  right: number;
}

/** Mean recall over the classes that have images. */
export const balancedAccuracy = (classes: readonly ClassCount[]): number => {
  const seen = classes.filter(({ n }) => n > 0);
  return seen.length === 0 ? 0 : seen.reduce((sum, { n, right }) => sum + right / n, 0) / seen.length;
};

/**
 * Interval of the balanced accuracy from Wilson's limits of each recall, combined by MOVER (Zou & Donner 2008): it keeps a
 * width when every recall is 1, and small classes widen it as they should.
 */
export const balancedAccuracyInterval = (
  classes: readonly ClassCount[],
  confidence = 0.95,
): [lo: number, hi: number] => {
  const seen = classes.filter(({ n }) => n > 0);
  if (seen.length === 0) return [0, 1];
  const mean = balancedAccuracy(seen);
  let below = 0;
  let above = 0;
  for (const { n, right } of seen) {
    const [lo, hi] = wilson(right, n, confidence);
    below += (right / n - lo) ** 2;
    above += (hi - right / n) ** 2;
  }
  return [Math.max(0, mean - Math.sqrt(below) / seen.length), Math.min(1, mean + Math.sqrt(above) / seen.length)];
};

/**
 * Discordant pairs of two models on the same images.
 * `lost`: first right, second wrong. `won`: first wrong, second right.
 */
export interface Discordant {
  n: number;
  lost: number;
  won: number;
}

/** Exact McNemar test. `twoSided`: the two differ; `worse`: the second loses more than it wins. */
export const mcnemarExact = ({ lost, won }: Discordant): { twoSided: number; worse: number } => {
  const m = lost + won;
  if (m === 0) return { twoSided: 1, worse: 1 };
  return {
    twoSided: Math.min(1, 2 * binomialCdf(Math.min(lost, won), m, 0.5)),
    worse: binomialCdf(won, m, 0.5),
  };
};

/**
 * One-sided score bounds (Tango 1998, Statistics in Medicine 17:891) of the paired drop of a share,
 * delta = P(first right) - P(second right), estimated by (lost - won) / n. n = 0: [-1, 1].
 */
export const pairedDropBounds = ({ n, lost, won }: Discordant, confidence = 0.95): { lower: number; upper: number } => {
  assert(lost >= 0 && won >= 0 && lost + won <= n, 'discordant pairs are among the n pairs');
  if (n === 0) return { lower: -1, upper: 1 };
  const z = normalQuantile(confidence);
  const score = (delta: number): number => {
    // Restricted maximum-likelihood estimate of P(first wrong, second right) under the given delta.
    const a = 2 * n;
    const b = -lost - won + (2 * n - lost + won) * delta;
    const c = -won * delta * (1 - delta);
    const q = (Math.sqrt(Math.max(0, b * b - 4 * a * c)) - b) / (2 * a);
    const variance = n * (2 * q + delta * (1 - delta));
    const distance = lost - won - n * delta;
    return variance <= 0 ? (distance === 0 ? 0 : Math.sign(distance) * Infinity) : distance / Math.sqrt(variance);
  };
  const estimate = (lost - won) / n;
  return {
    lower: bisect((delta) => -score(delta), -z, -1, estimate),
    upper: bisect((delta) => -score(delta), z, estimate, 1),
  };
};

/**
 * Upper and lower one-sided bounds of the drop of balanced accuracy from the paired counts of each class: Tango's limits of
 * each class combined by MOVER.
 */
export const balancedDropBounds = (
  classes: readonly Discordant[],
  confidence = 0.95,
): { drop: number; lower: number; upper: number } => {
  const seen = classes.filter(({ n }) => n > 0);
  if (seen.length === 0) return { drop: 0, lower: -1, upper: 1 };
  let drop = 0;
  let below = 0;
  let above = 0;
  for (const pairs of seen) {
    const estimate = (pairs.lost - pairs.won) / pairs.n;
    const { lower, upper } = pairedDropBounds(pairs, confidence);
    drop += estimate / seen.length;
    below += (estimate - lower) ** 2;
    above += (upper - estimate) ** 2;
  }
  return {
    drop,
    lower: Math.max(-1, drop - Math.sqrt(below) / seen.length),
    upper: Math.min(1, drop + Math.sqrt(above) / seen.length),
  };
};

/** Holm's step-down adjusted p values, in the order given. */
export const holm = (pValues: readonly number[]): number[] => {
  const order = pValues.map((_, i) => i).sort((a, b) => pValues[a]! - pValues[b]!);
  const adjusted = pValues.map(() => 1);
  let running = 0;
  order.forEach((index, rank) => {
    running = Math.max(running, Math.min(1, (pValues.length - rank) * pValues[index]!));
    adjusted[index] = running;
  });
  return adjusted;
};

/** Quantile of samples, linear between order statistics (type 7). NaN for no samples. */
export const quantile = (samples: readonly number[], p: number): number => {
  if (samples.length === 0) return Number.NaN;
  const sorted = [...samples].sort((a, b) => a - b);
  const position = p * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(sorted.length - 1, below + 1);
  return sorted[below]! + (position - below) * (sorted[above]! - sorted[below]!);
};

/**
 * Distribution-free upper bound of a quantile: the smallest order statistic that lies above the p-quantile with the given
 * confidence; null while there are too few samples for one (299 for p = 0.99 at 95 %).
 */
export const quantileUpperBound = (samples: readonly number[], p: number, confidence = 0.95): number | null => {
  const sorted = [...samples].sort((a, b) => a - b);
  const n = sorted.length;
  for (let r = Math.max(1, Math.floor(p * n)); r <= n; r++) {
    if (binomialCdf(r - 1, n, p) >= confidence) return sorted[r - 1]!;
  }
  return null;
};

/** Fewest samples for which `quantileUpperBound` exists. */
export const samplesForQuantileBound = (p: number, confidence = 0.95): number =>
  Math.ceil(Math.log(1 - confidence) / Math.log(p));
