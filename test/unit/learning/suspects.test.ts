import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matrix, openProducts } from '../../../main/learning/dense.ts';
import { crossValidate, pick, sampleOf, type LedgerRow } from '../../../main/learning/selection.ts';
import { contradictions, findSuspects, heldOutProbabilities, type HeldOut } from '../../../main/learning/suspects.ts';

const shaOf = (name: string) => createHash('sha256').update(name).digest('hex');
const row = (name: string, classId: string, look?: string): LedgerRow => ({
  sha: shaOf(name),
  classId,
  ...(look === undefined ? {} : { look }),
});
const held = (rows: number[][]): HeldOut => ({
  classIds: ['a', 'b'],
  probabilities: matrix(rows.length, 2, Float64Array.from(rows.flat())),
});

describe('findSuspects', () => {
  it('doubts what the held-out model takes for another class as surely as its own parts', () => {
    const ledger = ['1', '2', '3', '4', '5'].map((name, i) => row(name, i < 3 ? 'a' : 'b'));
    // Mean sureness: a (.9 + .8 + .05) / 3, b (.45 + 1) / 2. The fourth is doubtful, but not surely an a.
    const found = findSuspects(
      ledger,
      held([
        [0.9, 0.1],
        [0.8, 0.2],
        [0.05, 0.95],
        [0.55, 0.45],
        [0, 1],
      ]),
    );
    expect(found).toMatchObject([{ index: 2, classId: 'a', suggestedClassId: 'b', given: 0.05, suggested: 0.95 }]);
  });

  it('copies of one shot under two labels are named first: the one that the model is against, or both', () => {
    const look = 'a5a5a5a5a5a5a5a5';
    const ledger = [row('1', 'a', look), row('2', 'b', look), row('3', 'a'), row('4', 'b')];
    const against = findSuspects(
      ledger,
      held([
        [0.9, 0.1],
        [0.9, 0.1],
        [0.9, 0.1],
        [0.1, 0.9],
      ]),
    );
    expect(against).toMatchObject([{ index: 1, suggestedClassId: 'a', contradicting: [0] }]);
    const unjudged = findSuspects(
      ledger,
      held([
        [NaN, NaN],
        [NaN, NaN],
        [0.9, 0.1],
        [0.1, 0.9],
      ]),
    );
    expect(unjudged.map(({ index }) => index).toSorted()).toEqual([0, 1]);
    expect(unjudged[0]).toMatchObject({ given: null, suggested: null });
  });

  it('says nothing where the model is at odds with too many labels', () => {
    const ledger = Array.from({ length: 10 }, (_, i) => row(`${i}`, i < 5 ? 'a' : 'b'));
    const sure = (wrong: number[]) =>
      held(ledger.map((_, i) => (i < 5 !== wrong.includes(i) ? [0.9, 0.1] : [0.1, 0.9])));
    expect(
      findSuspects(ledger, sure([0, 7]))
        .map(({ index }) => index)
        .toSorted(),
    ).toEqual([0, 7]);
    expect(findSuspects(ledger, sure([0, 1, 7]))).toEqual([]);
  });

  it('regions of one picture are no copies of each other, nor are pictures without a hash', () => {
    const look = 'a5a5a5a5a5a5a5a5';
    expect(
      contradictions([
        { ...row('1', 'a', look), key: '0,0,8,8' },
        { ...row('1', 'b', look), key: '8,0,8,8' },
        row('2', 'a'),
        row('3', 'b'),
      ]),
    ).toEqual([]);
  });

  it('does not depend on the order of the ledger', () =>
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 3 }), fc.double({ min: 0, max: 1, noNaN: true })), {
          maxLength: 12,
        }),
        fc.infiniteStream(fc.nat()),
        (rows, random) => {
          const entries = rows.map(([isA, look, p], i) => ({
            ledger: row(`${i}`, isA ? 'a' : 'b', `${look}`.repeat(16)),
            p,
          }));
          const told = (order: typeof entries) =>
            findSuspects(
              order.map(({ ledger }) => ledger),
              held(order.map(({ p }) => [p, 1 - p])),
            ).map(({ index, suggestedClassId }) => [order[index]!.ledger.sha, suggestedClassId]);
          const shuffled = entries
            .map((entry) => ({ entry, at: random.next().value as number }))
            .sort((a, b) => a.at - b.at)
            .map(({ entry }) => entry);
          expect(told(shuffled)).toEqual(told(entries));
        },
      ),
    ));
});

describe('heldOutProbabilities', () => {
  it('finds wrong labels in clear data, among rows of the sample and outside it', async () => {
    await using products = openProducts({ threads: 1 });
    const SIZE = 1500;
    const WRONG = [3, 700, 1401, 1499];
    const truth = (i: number) => i % 3;
    const z = matrix(SIZE, 5);
    for (let i = 0; i < SIZE; i += 1) {
      for (let j = 0; j < 4; j += 1) {
        const noise = Number.parseInt(shaOf(`${i} ${j}`).slice(0, 8), 16) / 2 ** 32 - 0.5;
        z.data[i * 5 + j] = (truth(i) === j ? 1 : 0) + 0.3 * noise;
      }
      z.data[i * 5 + 4] = 1;
    }
    const ledger = Array.from({ length: SIZE }, (_, i) =>
      row(`${i}`, `c${(truth(i) + (WRONG.includes(i) ? 1 : 0)) % 3}`),
    );
    const sample = sampleOf(ledger);
    const validation = await crossValidate(z, ledger, products);
    const others = ledger.flatMap((_, i) => (sample.rows.includes(i) ? [] : [i]));
    expect(others.length).toBeGreaterThan(0);
    const result = await heldOutProbabilities(
      {
        ledger,
        validation,
        temperature: 0.1,
        picked: pick(z, sample.rows),
        others,
        readRows: async (rows) => pick(z, rows),
      },
      { products },
    );
    const found = findSuspects(ledger, result);
    expect(found.map(({ index }) => index).toSorted((a, b) => a - b)).toEqual(WRONG);
    for (const { index, suggestedClassId } of found) expect(suggestedClassId).toBe(`c${truth(index)}`);
  });
});
