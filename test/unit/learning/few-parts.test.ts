import { describe, expect, it } from 'vitest';
import { matrix } from '../../../main/learning/dense.ts';
import { raisedLogits } from '../../../main/learning/few-parts.ts';

/** Two large classes of 200 held-out rows in five folds, and a third of `few` rows; its margin to the best other, by row. */
const world = (few: number, margin: (row: number) => number, folds = (row: number) => row % 5) => {
  const truth = [...Array.from({ length: 400 }, (_, i) => i % 2), ...Array.from({ length: few }, () => 2)];
  const logits = matrix(truth.length, 3);
  truth.forEach((c, i) => {
    logits.data[3 * i + (c === 2 ? 0 : c)] = 0.8;
    logits.data[3 * i + 2] = 0.8 + margin(i);
  });
  return {
    classIds: ['a', 'b', 'new'],
    truth,
    folds: truth.map((_, i) => folds(i)),
    parts: truth.map((_, i) => `row ${i}`),
    logits,
    counts: new Map([
      ['a', 200],
      ['b', 200],
      ['new', few],
    ]),
  };
};

describe('a class of few parts is raised', () => {
  it('as far as no more than three in a thousand of the others fall to it', () => {
    // The last row that may be lost is number 1 of 400; number 2 sets the raise.
    const input = world(
      1,
      (i) => -0.3 - i / 1000,
      (i) => (i < 400 ? i % 4 : 4),
    );
    const raise = raisedLogits(input).get('new')!;
    const lostBy = (more: number) =>
      input.truth.filter((c, i) => c !== 2 && input.logits.data[3 * i + 2]! + more > 0.8 + 1e-9).length;
    expect(raise).toBeCloseTo(0.301 * (1 - 1 / 20), 9);
    expect([lostBy(raise), lostBy(0.301), lostBy(0.302)]).toEqual([0, 1, 2]);
    expect([...raisedLogits(input).keys()]).toEqual(['new']);
  });

  it('counting parts: one bad tile of ten loses a good part', () => {
    const input = world(
      1,
      (i) => -0.3 - i / 1000,
      (i) => (i < 400 ? i % 4 : 4),
    );
    // 20 parts of each class, ten rows each: none of them may be lost.
    const parts = input.truth.map((c, i) => `${c} ${Math.floor(i / 20)}`);
    expect(raisedLogits({ ...input, parts }).get('new')).toBeCloseTo(0.3 * (1 - 1 / 20), 9);
  });

  it('less the more parts it has, and not at all from twenty on or beside classes that look like it', () => {
    const raise = (few: number) => raisedLogits(world(few, () => -0.4)).get('new') ?? 0;
    expect(raise(2)).toBeGreaterThan(raise(10));
    expect(raise(19)).toBeGreaterThan(0);
    expect(raise(20)).toBe(0);
    expect(raisedLogits(world(3, (i) => (i % 50 === 0 ? 0.1 : -0.4))).size).toBe(0);
  });

  it('not by models that know no part of it, nor with too few others', () => {
    // All its parts in fold 0, whose rows would allow nothing: they are not asked.
    const blind = world(
      2,
      (i) => (i % 5 === 0 ? 0.2 : -0.4),
      (i) => (i < 400 ? i % 5 : 0),
    );
    expect(raisedLogits(blind).get('new')).toBeCloseTo(0.4 * 0.9, 9);
    const { truth, folds, ...rest } = world(2, () => -0.4);
    expect(raisedLogits({ ...rest, truth: truth.slice(0, 99), folds: folds.slice(0, 99) }).size).toBe(0);
  });
});
