import { assert } from '../../contract/errors.ts';

/*
 * Statistics of the evidence: exact or score methods, because the counts of a station are small and recalls sit near 1,
 * where the textbook normal interval has no width.
 */

/** Natural log of the gamma function for x > 0 (Lanczos, g = 7, n = 9; relative error below 1e-14). */
const logGamma = (x: number): number => {
  const coefficients = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const shifted = x - 1;
  let sum = coefficients[0]!;
  for (let i = 1; i < coefficients.length; i++) sum += coefficients[i]! / (shifted + i);
  const t = shifted + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (shifted + 0.5) * Math.log(t) - t + Math.log(sum);
};

/** Regularised incomplete beta function I_x(a, b) by Lentz's continued fraction (Numerical Recipes, 6.4). */
export const incompleteBeta = (x: number, a: number, b: number): number => {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const tiny = 1e-300;
  let c = 1;
  let d = 1 - ((a + b) * x) / (a + 1);
  d = 1 / (Math.abs(d) < tiny ? tiny : d);
  let h = d;
  for (let m = 1; m <= 1000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 + even * d;
    c = 1 + even / c;
    d = 1 / (Math.abs(d) < tiny ? tiny : d);
    c = Math.abs(c) < tiny ? tiny : c;
    h *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 + odd * d;
    c = 1 + odd / c;
    d = 1 / (Math.abs(d) < tiny ? tiny : d);
    c = Math.abs(c) < tiny ? tiny : c;
    const delta = d * c;
    h *= delta;
    if (Math.abs(delta - 1) < 1e-15) break;
  }
  return (front * h) / a;
};

/** The x in [lo, hi] where the increasing function f crosses `target`. */
const bisect = (f: (x: number) => number, target: number, lo: number, hi: number): number => {
  let low = lo;
  let high = hi;
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (f(middle) < target) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
};

const checkCounts = (k: number, n: number): void => {
  assert(Number.isInteger(k) && Number.isInteger(n) && k >= 0 && k <= n, `0 <= k <= n whole, found ${k} of ${n}`);
};

/** One-sided Clopper-Pearson bounds of a share: each holds by itself with the given confidence. n = 0: [0, 1]. */
export const clopperPearsonBounds = (k: number, n: number, confidence = 0.95): { lower: number; upper: number } => {
  checkCounts(k, n);
  const alpha = 1 - confidence;
  return {
    lower: k === 0 ? 0 : bisect((p) => incompleteBeta(p, k, n - k + 1), alpha, 0, 1),
    upper: k === n ? 1 : bisect((p) => incompleteBeta(p, k + 1, n - k), 1 - alpha, 0, 1),
  };
};

/** Two-sided Clopper-Pearson interval of a share. n = 0: [0, 1]. */
export const clopperPearson = (k: number, n: number, confidence = 0.95): [lo: number, hi: number] => {
  const { lower, upper } = clopperPearsonBounds(k, n, (1 + confidence) / 2);
  return [lower, upper];
};

const LOG_ROOT_TWO_PI = 0.5 * Math.log(2 * Math.PI);

/** Standard normal distribution function, by the complementary error function's continued fraction (error < 1e-12). */
export const normalCdf = (z: number): number => {
  if (z === 0) return 0.5;
  const x = Math.abs(z);
  let tail: number;
  if (x < 3) {
    // Series of Marsaglia (2004), exact to rounding for moderate arguments.
    let sum = x;
    let term = x;
    for (let i = 3; i < 200; i += 2) {
      term *= (x * x) / i;
      sum += term;
      if (term < 1e-17 * sum) break;
    }
    tail = 0.5 - sum * Math.exp(-0.5 * x * x - LOG_ROOT_TWO_PI);
  } else {
    let fraction = x;
    for (let i = 60; i >= 1; i--) fraction = x + i / fraction;
    tail = Math.exp(-0.5 * x * x - LOG_ROOT_TWO_PI) / fraction;
  }
  return z > 0 ? 1 - tail : tail;
};

/** The z below which a standard normal number lies with probability p, by bisection of normalCdf. */
export const normalQuantile = (p: number): number => {
  assert(p > 0 && p < 1, `a quantile needs 0 < p < 1, found ${p}`);
  return bisect(normalCdf, p, -40, 40);
};

/** Wilson's score interval of a share (two-sided). */
export const wilson = (k: number, n: number, confidence = 0.95): [lo: number, hi: number] => {
  checkCounts(k, n);
  if (n === 0) return [0, 1];
  const z = normalQuantile((1 + confidence) / 2);
  const p = k / n;
  const centre = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
};

export interface ClassCount {
  /** Images of the class. */
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

/** P(X <= k) for X ~ Binomial(n, p). */
export const binomialCdf = (k: number, n: number, p: number): number =>
  k < 0 ? 0 : k >= n ? 1 : 1 - incompleteBeta(p, k + 1, n - k);

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
