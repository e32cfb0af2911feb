import { describe, expect, it } from 'vitest';
import {
  exemplarsPerClass,
  herdingOrder,
  meanOf,
  nearestMeanScores,
  normaliseRows,
} from '../../../main/learning/learners/network/herding.ts';
import { winsByChance } from '../../../main/learning/adaptation.ts';

describe('herding (iCaRL, algorithm 4)', () => {
  // Mean (2, 1): nearest is row 2; then 2 with 3 has mean (2.5, 1), 2 with 0 (1, 0.5), 2 with 1 (2.5, 0.5) and so on.
  const rows = Float32Array.from([0, 0, 3, 0, 2, 1, 3, 1, 2, 3]);
  it('takes the row that brings the mean nearest to the mean of all', () => {
    expect([...meanOf(rows, 2)]).toEqual([2, 1].map((v) => expect.closeTo(v, 6)));
    // 2: distance 0. Then 2+3: 0.25, 2+1: 0.5, 2+0: 1.25, 2+4: 1. Then 2+3 with 0: (5/3, 2/3), 1: (8/3, 2/3), 4: (7/3, 5/3).
    expect(herdingOrder(rows, 2, 3)).toEqual([2, 3, 0]);
  });
  it('gives a prefix for a smaller budget, and never more than there are', () => {
    expect(herdingOrder(rows, 2, 2)).toEqual([2, 3]);
    expect(herdingOrder(rows, 2, 9).toSorted()).toEqual([0, 1, 2, 3, 4]);
    expect(herdingOrder(rows, 2, 0)).toEqual([]);
  });
  it('shares the budget among the classes', () => {
    expect([1, 2, 3, 7].map((classes) => exemplarsPerClass(20, classes))).toEqual([20, 10, 6, 2]);
  });
});

describe('nearest mean of exemplars', () => {
  it('judges by the distance between unit vectors, whatever the length of a mean', () => {
    const rows = normaliseRows(Float32Array.from([10, 1, 0.1, 0.3, 0, 0]), 2);
    expect(Math.hypot(rows[0]!, rows[1]!)).toBeCloseTo(1, 6);
    const scores = nearestMeanScores(rows, 2, [Float64Array.of(0.2, 0), Float64Array.of(0, 0.9)]);
    expect(scores[0]!).toBeGreaterThan(scores[1]!);
    expect(scores[2]!).toBeLessThan(scores[3]!);
    // A row of zeros is as far from every class.
    expect(scores[4]).toBe(scores[5]);
  });
});

describe('winsByChance', () => {
  it('is the tail of a fair coin', () => {
    expect(winsByChance(0, 0)).toBe(1);
    expect(winsByChance(5, 0)).toBeCloseTo(1 / 32, 12);
    // Two to the minus 1100 is no number.
    expect(winsByChance(500, 600)).toBeGreaterThan(0.99);
    expect(winsByChance(4, 1)).toBeCloseTo(6 / 32, 12);
    expect(winsByChance(0, 5)).toBeCloseTo(1, 12);
  });
});
