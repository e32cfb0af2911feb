import { describe, expect, it } from 'vitest';
import { criteriaSchema } from '../../../main/contract/domain.ts';
import { escapeGate, overkillGate, recallGate } from '../../../main/compression/evidence/gates.ts';
import {
  balancedDropBounds,
  holm,
  mcnemarExact,
  pairedDropBounds,
  wilson,
} from '../../../main/compression/evidence/statistics.ts';
import { clopperPearson, clopperPearsonBounds, normalQuantile } from '../../../main/learning/exact-statistics.ts';

/*
 * Worked figures as they are printed elsewhere, to the printed digits.
 */

/** Newcombe 1998, Statistics in Medicine 17:857, table I: intervals of four shares. */
const NEWCOMBE = [
  { k: 81, n: 263, exact: [0.2527, 0.3676], score: [0.2553, 0.3662] },
  { k: 15, n: 148, exact: [0.0578, 0.1617], score: [0.0624, 0.1605] },
  { k: 0, n: 20, exact: [0, 0.1684], score: [0, 0.1611] },
  { k: 1, n: 29, exact: [0.0009, 0.1776], score: [0.0061, 0.1718] },
] as const;

/**
 * Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33:2850: yes before and no after, no before and yes after, number of pairs; exact conditional
 * McNemar p, and Tango's interval of P(yes before) - P(yes after).
 */
const FAGERLAND = [
  { what: 'airway hyper-responsiveness', lost: 1, won: 7, n: 21, p: 0.0703, tango: [-0.517, -0.026] },
  { what: 'complete response', lost: 6, won: 16, n: 161, p: 0.0525, tango: [-0.124, -0.005] },
] as const;

/** A two-sided 95 % interval has two one-sided bounds of 97.5 %. */
const TWO_SIDED = 0.975;

describe('published figures', () => {
  it.each(NEWCOMBE)('Clopper-Pearson and Wilson of $k in $n', ({ k, n, exact, score }) => {
    const own = { exact: clopperPearson(k, n), score: wilson(k, n) };
    for (const side of [0, 1] as const) {
      expect(own.exact[side]).toBeCloseTo(exact[side], 4);
      expect(own.score[side]).toBeCloseTo(score[side], 4);
    }
  });

  it.each(FAGERLAND)('exact McNemar and the score interval of the paired difference: $what', (pairs) => {
    expect(mcnemarExact(pairs).twoSided).toBeCloseTo(pairs.p, 4);
    const { lower, upper } = pairedDropBounds(pairs, TWO_SIDED);
    expect([lower, upper].map((bound) => Number(bound.toFixed(3)))).toEqual(pairs.tango);
    // One class: the combined bounds are its own.
    const combined = balancedDropBounds([pairs], TWO_SIDED);
    expect(combined.lower).toBeCloseTo(lower, 12);
    expect(combined.upper).toBeCloseTo(upper, 12);
  });

  it('Holm 1979 as tabulated for p = 0.01, 0.04, 0.03, 0.005', () => {
    const adjusted = holm([0.01, 0.04, 0.03, 0.005]);
    [0.03, 0.06, 0.06, 0.02].forEach((p, i) => expect(adjusted[i]).toBeCloseTo(p, 12));
  });

  it('the rule of three: 59 parts without a fault show 5 %, 299 show 1 %', () => {
    for (const [parts, limit] of [
      [59, 0.05],
      [299, 0.01],
    ] as const) {
      expect(clopperPearsonBounds(0, parts).upper).toBeLessThanOrEqual(limit);
      expect(clopperPearsonBounds(0, parts - 1).upper).toBeGreaterThan(limit);
    }
  });
});

describe('gates on published figures', () => {
  const limited = (maxEscape: number) => criteriaSchema.parse({ maxEscape, maxOverkill: maxEscape });

  it('an escape gate turns where the exact bound of its parts does', () => {
    // The sample sizes of 95 % confidence in 95 % (Wilks 1942): 59 without a fault, 93 with one, 124 with two.
    for (const [escaped, ng] of [
      [0, 59],
      [1, 93],
      [2, 124],
    ] as const) {
      expect(escapeGate({ ng, escaped }, limited(0.05)).outcome).toBe('pass');
      const short = escapeGate({ ng: ng - 1, escaped }, limited(0.05));
      expect(short).toMatchObject({ outcome: 'not-enough-evidence', missing: 1 });
    }
    // 15 in 148 is above 5 % with confidence (its exact interval begins at 5.78 %), and below 17 %.
    expect(overkillGate({ ok: 148, overkilled: 15 }, limited(0.05)).outcome).toBe('fail');
    expect(overkillGate({ ok: 148, overkilled: 15 }, limited(0.17)).outcome).toBe('pass');
  });

  it('a class that is alone significantly worse is not among three, by Holm', () => {
    // Six lost, none won: one-sided exact p = 2^-6 = 0.0156, and 0.0469 among three.
    const lost = { classId: 'a', pairs: { n: 60, lost: 6, won: 0 } };
    expect(mcnemarExact(lost.pairs).worse).toBeCloseTo(2 ** -6, 12);
    const quiet = (classId: string) => ({ classId, pairs: { n: 60, lost: 0, won: 0 } });
    expect(recallGate([lost, quiet('b'), quiet('c')]).outcome).toBe('fail');
    expect(recallGate([lost, quiet('b'), quiet('c'), quiet('d')]).outcome).toBe('not-enough-evidence');
  });

  it('no discordant pair passes a margin of 5 points from 52 parts on', () => {
    // Tango's bound is then z^2 / (n + z^2): n >= z^2 (1 / 0.05 - 1) = 51.4.
    const z = normalQuantile(0.95);
    expect(Math.ceil(z * z * 19)).toBe(52);
    const even = (n: number) => [{ classId: 'a', pairs: { n, lost: 0, won: 0 } }];
    expect(recallGate(even(52)).outcome).toBe('pass');
    expect(recallGate(even(51))).toMatchObject({ outcome: 'not-enough-evidence', missing: 1 });
  });
});
