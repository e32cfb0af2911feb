import { assert } from '../contract/errors.ts';

/* Distribution functions and exact bounds of shares: counts of a station are small, and the textbook normal interval has no width where all are right. */

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
export const bisect = (f: (x: number) => number, target: number, lo: number, hi: number): number => {
  let low = lo;
  let high = hi;
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (f(middle) < target) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
};

/** @throws an assertion unless k of n is a count of a whole */
const checkCounts = (k: number, n: number): void => {
  assert(Number.isInteger(k) && Number.isInteger(n) && k >= 0 && k <= n, `0 <= k <= n whole, found ${k} of ${n}`);
};

/** One-sided Clopper-Pearson upper bound of a share, k of n; 1 for n = 0. */
export const upperBound = (k: number, n: number, confidence = 0.95): number => {
  checkCounts(k, n);
  return k === n ? 1 : bisect((p) => incompleteBeta(p, k + 1, n - k), confidence, 0, 1);
};

/** One-sided Clopper-Pearson bounds of a share: each holds by itself with the given confidence. n = 0: [0, 1]. */
export const clopperPearsonBounds = (k: number, n: number, confidence = 0.95): { lower: number; upper: number } => {
  const upper = upperBound(k, n, confidence);
  return { lower: k === 0 ? 0 : bisect((p) => incompleteBeta(p, k, n - k + 1), 1 - confidence, 0, 1), upper };
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

/** P(X <= k) for X ~ Binomial(n, p). */
export const binomialCdf = (k: number, n: number, p: number): number =>
  k < 0 ? 0 : k >= n ? 1 : 1 - incompleteBeta(p, k + 1, n - k);
