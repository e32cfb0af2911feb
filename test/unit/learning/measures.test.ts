import { describe, expect, it } from 'vitest';
import {
  DEFAULT_TEMPERATURE,
  fitTemperature,
  fitThresholds,
  noveltyLimit,
  reachableFalseAlarms,
  probabilities,
  withinLimitOfOthers,
} from '../../../main/learning/calibration.ts';
import { AccuracyMatrix, balancedAccuracyOf, type Prediction } from '../../../main/learning/evaluation.ts';
import { upperBound } from '../../../main/learning/exact-statistics.ts';
import { splitTasks } from '../../../main/learning/protocol.ts';

const given = (truth: string, ...predicted: string[]): Prediction[] => predicted.map((p) => ({ truth, predicted: p }));

describe('evaluation', () => {
  it('follows a run of three tasks worked out by hand', () => {
    const run = new AccuracyMatrix();
    run.add([given('a', 'a', 'a')]);
    run.add([given('a', 'a', 'b'), given('b', 'b', 'b', 'b', 'b')]);
    run.add([given('a', 'c', 'b'), given('b', 'b', 'b', 'b', 'c'), given('c', 'c', 'c')]);
    expect(run.matrix).toEqual([
      [1, null, null],
      [0.5, 1, null],
      [0, 0.75, 1],
    ]);
    expect(run.bwt).toBeCloseTo((0 - 1 + (0.75 - 1)) / 2);
    expect(run.averageAccuracy).toBeCloseTo((1 + 5 / 6 + 5 / 8) / 3);
    expect(run.forgetting('a')).toBe(1);
    expect(run.forgetting('c')).toBe(0);
  });

  it('counts classes alike in the balanced accuracy', () => {
    expect(balancedAccuracyOf([...given('a', 'a', 'a', 'a', 'a'), ...given('b', 'a')])).toBe(0.5);
  });

  it('bounds a share as the tables do (Clopper-Pearson, one-sided 95 %)', () => {
    expect(upperBound(0, 59)).toBeCloseTo(1 - 0.05 ** (1 / 59), 6);
    expect(upperBound(2, 20)).toBeCloseTo(0.28262, 4);
    expect([upperBound(0, 0), upperBound(5, 5)]).toEqual([1, 1]);
  });

  it('splits classes in order, in parts of nearly one size', () => {
    expect(splitTasks(['a', 'b', 'c', 'd', 'e'], 2)).toEqual([
      ['a', 'b', 'c'],
      ['d', 'e'],
    ]);
    expect(splitTasks(['a', 'b', 'c'], 3)).toEqual([['a'], ['b'], ['c']]);
    expect(() => splitTasks(['a', 'b'], 3)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }));
  });
});

/** Two classes; the logit gap says which, `wrong` of `n` lie. */
function heldOutOf(n: number, wrong: number, gap = 0.2) {
  const truth = Array.from({ length: n }, (_, i) => (i % 2 ? 'ng' : 'ok'));
  const logits = new Float64Array(2 * n);
  truth.forEach((id, i) => {
    const towards = (id === 'ng') === i >= wrong ? 0 : 1;
    logits[2 * i + towards] = gap;
  });
  return { classIds: ['ng', 'ok'], logits, truth };
}

describe('calibration', () => {
  it('finds the temperature at which confidence is the share right', () => {
    const heldOut = heldOutOf(400, 40);
    const p = probabilities(heldOut.logits, 0, 2, fitTemperature(heldOut));
    expect(Math.max(...p)).toBeCloseTo(0.9, 2);
    expect(fitTemperature({ classIds: ['a'], logits: new Float64Array(0), truth: [] })).toBe(DEFAULT_TEMPERATURE);
  });

  it('raises the threshold until the bound of escapes keeps the limit', () => {
    const n = 400;
    const truth = Array.from({ length: n }, (_, i) => (i % 2 ? 'ng' : 'ok'));
    const logits = new Float64Array(2 * n);
    truth.forEach((id, i) => {
      // Every tenth defect looks good, with confidences from 0.5 up.
      const escape = id === 'ng' && i % 20 === 1;
      logits[2 * i + (id === 'ok' || escape ? 1 : 0)] = escape ? 0.002 * i * 0.5 : 2;
    });
    const okIds = new Set(['ok']);
    const heldOut = { classIds: ['ng', 'ok'], logits, truth };
    const { ok, ng } = fitThresholds(heldOut, 0.2, okIds, { maxEscape: 0.05, maxOverkill: 0.1 });
    expect(ng).toBe(0.5);
    const escapesAt = (least: number) =>
      truth.filter((id, i) => id === 'ng' && probabilities(logits, 2 * i, 2, 0.2)[1]! >= least).length;
    expect(escapesAt(ok)).toBeGreaterThan(0);
    expect(upperBound(escapesAt(ok), n / 2)).toBeLessThanOrEqual(0.05);
    // A step less would not keep it.
    expect(upperBound(escapesAt(ok - 0.001), n / 2)).toBeGreaterThan(0.05);
  });

  it('with few parts asks for more confidence than any escape had, within reason', () => {
    const few = heldOutOf(8, 2, 0.05);
    const { ok } = fitThresholds(few, 0.15, new Set(['ok']), { maxEscape: 0.05, maxOverkill: 0.1 });
    const wrong = probabilities(few.logits, 2, 2, 0.15)[1]!;
    expect(ok).toBeGreaterThan(wrong);
    expect(fitThresholds(heldOutOf(8, 2, 9), 0.15, new Set(['ok']), { maxEscape: 0.05, maxOverkill: 0.1 }).ok).toBe(
      0.95,
    );
    expect(fitThresholds(heldOutOf(8, 0), 0.15, new Set(), { maxEscape: 0, maxOverkill: 0 })).toEqual({
      ok: 0.5,
      ng: 0.5,
    });
  });

  it('calls one known part in a hundred novel', () => {
    const limit = noveltyLimit(Float64Array.from({ length: 1000 }, (_, i) => 999 - i));
    // The 991st of 1000: a further part is above it with a chance of at most one in a hundred.
    expect(limit).toBe(990);
    // So few can promise one in four, and the highest keeps that.
    expect(noveltyLimit(Float64Array.of(1, 3, 2))).toBe(3);
    expect(reachableFalseAlarms(3)).toBe(0.25);
    expect(reachableFalseAlarms(99)).toBe(0.01);
    expect(noveltyLimit(new Float64Array(0))).toBe(Number.MAX_VALUE);
  });

  it('does not count a part as known by a limit that its own score gave', () => {
    const scores = Float64Array.of(1, 9, 2, 8, 3);
    expect(scores.filter((score) => score <= noveltyLimit(scores))).toHaveLength(5);
    // 9 is above what the others go to; 8 is not, with 9 in another fold.
    expect(withinLimitOfOthers(scores, [0, 1, 0, 2, 2])).toBe(4);
    expect(withinLimitOfOthers(scores, [0, 1, 0, 1, 2])).toBe(3);
  });
});
