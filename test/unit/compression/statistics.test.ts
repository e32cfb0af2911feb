import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  balancedAccuracyInterval,
  balancedDropBounds,
  holm,
  mcnemarExact,
  pairedDropBounds,
  quantile,
  quantileUpperBound,
  samplesForQuantileBound,
  wilson,
} from '../../../main/compression/evidence/statistics.ts';
import {
  binomialCdf,
  clopperPearson,
  clopperPearsonBounds,
  incompleteBeta,
  normalCdf,
  normalQuantile,
} from '../../../main/learning/exact-statistics.ts';

const choose = (n: number, k: number): number => {
  let value = 1;
  for (let i = 1; i <= k; i++) value = (value * (n - k + i)) / i;
  return value;
};
const binomialSum = (k: number, n: number, p: number): number => {
  let sum = 0;
  for (let i = 0; i <= k; i++) sum += choose(n, i) * p ** i * (1 - p) ** (n - i);
  return sum;
};

describe('distribution functions', () => {
  it('incompleteBeta and binomialCdf agree with the plain sum', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.nat(40),
        fc.double({ min: 0.01, max: 0.99, noNaN: true }),
        (n, kk, p) => {
          const k = kk % n;
          expect(binomialCdf(k, n, p)).toBeCloseTo(binomialSum(k, n, p), 10);
        },
      ),
    );
    expect(incompleteBeta(0.3, 1, 1)).toBeCloseTo(0.3, 12);
  });

  it('normal quantiles are the printed ones', () => {
    expect(normalQuantile(0.975)).toBeCloseTo(1.959963984540054, 9);
    expect(normalQuantile(0.95)).toBeCloseTo(1.6448536269514722, 9);
    expect(normalCdf(-5)).toBeCloseTo(2.866515718791939e-7, 15);
    expect(normalCdf(3)).toBeCloseTo(normalCdf(2.9999999), 7);
  });
});

describe('Clopper-Pearson', () => {
  it('gives the textbook interval of 8 in 10', () => {
    const [lo, hi] = clopperPearson(8, 10);
    expect(lo).toBeCloseTo(0.4439, 4);
    expect(hi).toBeCloseTo(0.97479, 4);
  });

  it('upper bound of 0 in n is 1 - alpha^(1/n) (the rule of three)', () => {
    expect(clopperPearsonBounds(0, 59).upper).toBeCloseTo(1 - 0.05 ** (1 / 59), 10);
    expect(clopperPearsonBounds(0, 0)).toEqual({ lower: 0, upper: 1 });
  });

  it('covers at least as often as it says', () => {
    for (const p of [0.01, 0.05, 0.3]) {
      const n = 40;
      let covered = 0;
      for (let k = 0; k <= n; k++) {
        if (clopperPearsonBounds(k, n).upper >= p) covered += choose(n, k) * p ** k * (1 - p) ** (n - k);
      }
      expect(covered).toBeGreaterThanOrEqual(0.95);
    }
  });
});

describe('balanced accuracy', () => {
  it('keeps a width when every recall is 1, wider for a small class', () => {
    const wide = balancedAccuracyInterval([
      { n: 10, right: 10 },
      { n: 500, right: 500 },
    ]);
    const narrow = balancedAccuracyInterval([
      { n: 500, right: 500 },
      { n: 500, right: 500 },
    ]);
    expect(wide[1]).toBe(1);
    expect(wide[0]).toBeLessThan(narrow[0]);
    expect(narrow[0]).toBeLessThan(1);
  });

  it("of one class is that class's Wilson interval", () => {
    const [lo, hi] = balancedAccuracyInterval([
      { n: 30, right: 24 },
      { n: 0, right: 0 },
    ]);
    const [a, b] = wilson(24, 30);
    expect(lo).toBeCloseTo(a, 12);
    expect(hi).toBeCloseTo(b, 12);
  });
});

describe('McNemar', () => {
  it('is the exact binomial tail', () => {
    expect(mcnemarExact({ n: 100, lost: 10, won: 2 }).twoSided).toBeCloseTo(0.03857421875, 12);
    expect(mcnemarExact({ n: 100, lost: 10, won: 2 }).worse).toBeCloseTo(0.019287109375, 12);
    expect(mcnemarExact({ n: 100, lost: 2, won: 10 }).worse).toBeGreaterThan(0.99);
    expect(mcnemarExact({ n: 100, lost: 0, won: 0 })).toEqual({ twoSided: 1, worse: 1 });
  });
});

describe('paired drop', () => {
  it('without discordant pairs is z^2 / (n + z^2)', () => {
    const z = normalQuantile(0.95);
    expect(pairedDropBounds({ n: 50, lost: 0, won: 0 }).upper).toBeCloseTo((z * z) / (50 + z * z), 8);
  });

  it('swapping the models mirrors the bounds', () => {
    const one = pairedDropBounds({ n: 60, lost: 9, won: 3 });
    const other = pairedDropBounds({ n: 60, lost: 3, won: 9 });
    expect(one.lower).toBeCloseTo(-other.upper, 9);
    expect(one.upper).toBeCloseTo(-other.lower, 9);
  });

  it('sits where the score statistic under a numerically maximised likelihood is z', () => {
    const pairs = { n: 48, lost: 7, won: 2 };
    const { upper: delta } = pairedDropBounds(pairs);
    // P(lost) = q + delta, P(won) = q, the rest is concordant: maximise over q on a fine grid, no formula shared.
    let best = -Infinity;
    let q = 0;
    for (let i = 1; i < 400_000; i++) {
      const candidate = (i / 400_000) * ((1 - delta) / 2);
      const value =
        pairs.lost * Math.log(candidate + delta) +
        pairs.won * Math.log(candidate) +
        (pairs.n - pairs.lost - pairs.won) * Math.log(1 - 2 * candidate - delta);
      if (value > best) {
        best = value;
        q = candidate;
      }
    }
    const statistic = (pairs.lost - pairs.won - pairs.n * delta) / Math.sqrt(pairs.n * (2 * q + delta - delta * delta));
    expect(statistic).toBeCloseTo(-normalQuantile(0.95), 3);
  });

  it('of one class equals the combined bound, and more classes narrow it', () => {
    const pairs = { n: 60, lost: 3, won: 1 };
    expect(balancedDropBounds([pairs]).upper).toBeCloseTo(pairedDropBounds(pairs).upper, 12);
    expect(balancedDropBounds([pairs, pairs, pairs]).upper).toBeLessThan(balancedDropBounds([pairs]).upper);
  });
});

describe('the rest', () => {
  it('Holm adjusts in steps and never falls', () => {
    expect(holm([0.01, 0.04, 0.03])).toEqual([0.03, 0.06, 0.06]);
  });

  it('quantiles and their bound', () => {
    const samples = Array.from({ length: 299 }, (_, i) => i + 1);
    expect(quantile(samples, 0.5)).toBe(150);
    expect(samplesForQuantileBound(0.99)).toBe(299);
    expect(quantileUpperBound(samples, 0.99)).toBe(299);
    expect(quantileUpperBound(samples.slice(1), 0.99)).toBeNull();
  });
});
