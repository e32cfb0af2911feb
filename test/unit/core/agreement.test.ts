import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  analyseAgreement,
  cohenKappa,
  countedShare,
  fleissKappa,
  type Call,
  type StudyRating,
} from '../../../main/core/agreement.ts';

const pairsOf = (table: readonly (readonly number[])[]) =>
  table.flatMap((row, i) => row.flatMap((n, j) => Array.from({ length: n }, () => [`${i}`, `${j}`] as const)));

describe('kappa of two raters', () => {
  // AIAG, Measurement Systems Analysis, 4th ed., attribute study: 50 parts, three appraisers, three rounds; the tables of p. 136 f.
  it.each([
    [
      'A and B',
      [
        [44, 6],
        [3, 97],
      ],
      0.86,
    ],
    [
      'B and C',
      [
        [42, 5],
        [9, 94],
      ],
      0.79,
    ],
    [
      'A and C',
      [
        [43, 7],
        [8, 92],
      ],
      0.78,
    ],
    [
      'A and the reference',
      [
        [45, 5],
        [3, 97],
      ],
      0.88,
    ],
    [
      'B and the reference',
      [
        [45, 2],
        [3, 100],
      ],
      0.92,
    ],
    [
      'C and the reference',
      [
        [42, 9],
        [6, 93],
      ],
      0.77,
    ],
  ])('is that of the published study: %s', (_, table, kappa) => {
    expect(cohenKappa(pairsOf(table)).kappa).toBeCloseTo(kappa, 2);
  });

  it('has the standard error that Fleiss, Levin & Paik print for their table of 100 diagnoses', () => {
    // Statistical Methods for Rates and Proportions, 3rd ed., table 18.1: kappa 0.676, standard error 0.087 (eq. 18.15).
    const { kappa, interval, agreed, n } = cohenKappa(
      pairsOf([
        [75, 1, 4],
        [5, 4, 1],
        [0, 0, 10],
      ]),
    );
    expect([agreed, n]).toEqual([89, 100]);
    expect(kappa).toBeCloseTo(0.676, 3);
    expect((interval![1] - interval![0]) / 2 / 1.96).toBeCloseTo(0.088, 2);
  });

  it('is not told where one category explains everything, and is 1 where two always agree', () => {
    expect(cohenKappa([]).kappa).toBeNull();
    expect(
      cohenKappa([
        ['ok', 'ok'],
        ['ok', 'ok'],
      ]),
    ).toMatchObject({ kappa: null, agreed: 2 });
    expect(
      cohenKappa([
        ['ok', 'ok'],
        ['ng', 'ng'],
      ]).kappa,
    ).toBe(1);
    expect(
      cohenKappa([
        ['ok', 'ng'],
        ['ng', 'ok'],
      ]).kappa,
    ).toBe(-1);
  });

  it('has no interval where nothing varies', () => {
    expect(
      cohenKappa(
        pairsOf([
          [24, 0],
          [0, 12],
        ]),
      ),
    ).toMatchObject({ kappa: 1, interval: null });
  });

  it('does not depend on which of the two is named first', () => {
    const call = fc.constantFrom('ok', 'ng', 'unsure');
    fc.assert(
      fc.property(fc.array(fc.tuple(call, call), { minLength: 1, maxLength: 60 }), (pairs) => {
        const there = cohenKappa(pairs);
        const back = cohenKappa(pairs.map(([a, b]) => [b, a] as const));
        if (there.kappa === null) expect(back.kappa).toBeNull();
        else {
          expect(back.kappa).toBeCloseTo(there.kappa, 10);
          expect(there.kappa).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});

describe('kappa of many raters', () => {
  it('is that of the worked example of fourteen raters, ten subjects and five categories', () => {
    const table = [
      [0, 0, 0, 0, 14],
      [0, 2, 6, 4, 2],
      [0, 0, 3, 5, 6],
      [0, 3, 9, 2, 0],
      [2, 2, 8, 1, 1],
      [7, 7, 0, 0, 0],
      [3, 2, 6, 3, 0],
      [2, 5, 3, 2, 2],
      [6, 5, 2, 1, 0],
      [0, 2, 2, 3, 7],
    ];
    expect(fleissKappa(table)).toBeCloseTo(0.21, 3);
  });

  it('is not told for one rater or one category', () => {
    expect(fleissKappa([])).toBeNull();
    expect(fleissKappa([[1, 0]])).toBeNull();
    expect(
      fleissKappa([
        [3, 0],
        [3, 0],
      ]),
    ).toBeNull();
  });
});

describe('exact bounds', () => {
  // The effectiveness of the three appraisers in the same AIAG study: 42, 45 and 40 of 50, printed in whole per cent.
  it.each([
    [42, 50, 71, 93],
    [45, 50, 78, 97],
    [40, 50, 66, 90],
  ])('of %i in %i are those of the published study', (count, of, low, high) => {
    const share = countedShare(count, of);
    expect([Math.round(100 * share.low), Math.round(100 * share.high)]).toEqual([low, high]);
  });
});

describe('a study', () => {
  const parts = [
    { partId: 1, good: true },
    { partId: 2, good: true },
    { partId: 3, good: false },
    { partId: 4, good: false },
  ];
  const given = (rater: string, rounds: readonly (readonly Call[])[]): StudyRating[] =>
    rounds.flatMap((calls, trial) => calls.map((call, i) => ({ rater, partId: i + 1, trial, call })));

  it('counts repeats, rights, escapes and overkill by hand', () => {
    const result = analyseAgreement(parts, [
      ...given('a', [
        ['ok', 'ok', 'ng', 'ng'],
        ['ok', 'ng', 'ng', 'ok'],
      ]),
      ...given('b', [
        ['ok', 'ok', 'ng', 'ng'],
        ['ok', 'ok', 'ng', 'ng'],
      ]),
    ]);
    const [a, b] = result.raters;
    expect(a).toMatchObject({
      trials: 2,
      repeated: { count: 2, of: 4 },
      right: { count: 2, of: 4 },
      escape: { count: 1, of: 4 },
      escapedParts: { count: 1, of: 2 },
      overkill: { count: 1, of: 4 },
      overkilledParts: { count: 1, of: 2 },
    });
    expect(a?.kappa.kappa).toBeCloseTo(0.5, 9);
    expect(b).toMatchObject({ right: { count: 4, of: 4 }, escape: { count: 0, of: 4 }, kappa: { kappa: 1 } });
    expect(result.allSame).toMatchObject({ count: 2, of: 4 });
    expect(result.allRight).toMatchObject({ count: 2, of: 4 });
    expect(result.pairs).toMatchObject([{ a: 'a', b: 'b', kappa: { n: 8, agreed: 6 } }]);
    // Of 4 calls each: two parts unanimous, two with 3 to 1; p = 1/2 both.
    expect(result.fleiss).toBeCloseTo(0.5, 9);
  });

  it('leaves out a round that was not finished, and whoever finished none, and says nothing of nobody', () => {
    const a = given('a', [
      ['ok', 'ok', 'ng', 'ng'],
      ['ok', 'ok', 'ng', 'ng'],
    ]);
    const whole = analyseAgreement(parts, [...a, ...given('b', [['ok', 'ok', 'ng', 'ok']])]);
    const begun = analyseAgreement(parts, [
      ...a,
      ...given('b', [
        ['ok', 'ok', 'ng', 'ok'],
        ['ng', 'ng', 'ok'],
      ]),
    ]);
    expect(begun).toEqual(whole);
    expect(begun.raters[1]).toMatchObject({ trials: 1, repeated: null, right: { count: 3 }, escape: { of: 2 } });
    expect(begun.pairs).toMatchObject([{ kappa: { n: 4, agreed: 3 } }]);
    const result = analyseAgreement(parts, given('a', [['ok', 'ok', 'ng']]));
    expect(result).toMatchObject({ raters: [], pairs: [], fleiss: null, allSame: { of: 0 } });
    const one = analyseAgreement(parts, given('model', [['ok', 'unsure', 'ng', 'ng']]));
    expect(one.raters[0]).toMatchObject({ trials: 1, repeated: null, right: { count: 3 }, overkill: { count: 0 } });
  });

  it('does not depend on the order of the calls', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom<Call>('ok', 'ng'), { minLength: 16, maxLength: 16 }),
        fc.nat(),
        (calls, turn) => {
          const all = [
            ...given('a', [calls.slice(0, 4), calls.slice(4, 8)]),
            ...given('b', [calls.slice(8, 12), calls.slice(12)]),
          ];
          const turned = all.map((_, i) => all[(i + turn) % all.length]!);
          const byName = (result: ReturnType<typeof analyseAgreement>) =>
            result.raters.toSorted((x, y) => x.rater.localeCompare(y.rater));
          expect(byName(analyseAgreement(parts, turned))).toEqual(byName(analyseAgreement(parts, all)));
        },
      ),
    );
  });
});
