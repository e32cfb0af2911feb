import { describe, expect, it } from 'vitest';
import { comparedOf, keepsLimits, lossBetween, type Compared } from '../../../main/compression/plan/evaluate.ts';
import { matrix } from '../../../main/learning/dense.ts';

const CLASSES = ['ok', 'scratch'];
/** Forty parts, every second one of each class; those of `wrong` are taken for the other one. */
const judging = (wrong: readonly number[]): Compared => {
  const rows = Array.from({ length: 40 }, (_, row) => row);
  const given = rows.map((row) => (row + (wrong.includes(row) ? 1 : 0)) % 2);
  const data = Float64Array.from(given.flatMap((g) => [g === 0 ? 1 : 0, g === 1 ? 1 : 0]));
  const ledger = rows.map((row) => ({ classId: CLASSES[row % 2]! }));
  return comparedOf({ rows, classIds: CLASSES, logits: matrix(rows.length, 2, data) }, ledger);
};

describe('loss against the reference', () => {
  const reference = judging([0, 1]);

  it('is that of balanced accuracy and of the balanced Brier score', () => {
    const lost = lossBetween(reference, judging([0, 1, 2, 4]));
    expect(lost.accuracyPp).toBeCloseTo(5, 10);
    expect(lost.certaintyPp).toBeCloseTo(10, 10);
    expect(lost.accuracyUpperPp).toBeGreaterThan(5);
    expect(lossBetween(reference, judging([0])).accuracyPp).toBeCloseTo(-2.5, 10);
  });

  it('of a model that has seen some images is the greater of that on the others and on all', () => {
    const unseen = new Set(Array.from({ length: 10 }, (_, row) => row));
    // Learnt by heart: nothing wrong on what it has seen.
    const flattered = judging([0, 1, 2, 4]);
    expect(lossBetween(reference, flattered, unseen).accuracyPp).toBeCloseTo(20, 10);
    // By chance all right on the few others, and wrong even on what it has seen.
    const lucky = judging([20, 22, 24, 26, 28, 30]);
    expect(lossBetween(reference, lucky, unseen).accuracyPp).toBeCloseTo(10, 10);
    expect(keepsLimits({ lost: lossBetween(reference, lucky, unseen), newDefects: null }, 1)).toBe(false);
    expect(lossBetween(reference, judging([]), unseen).accuracyPp).toBeCloseTo(-5, 10);
  });
});
