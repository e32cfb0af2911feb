import { describe, expect, it } from 'vitest';
import { DRIFT_GROUP, driftLimits, groupValues, type DriftPart } from '../../../main/core/drift-chart.ts';

const part = (novelty: number, more: Partial<DriftPart> = {}): DriftPart => ({
  verdict: 'ok',
  unsureReason: null,
  novelty,
  margin: 0.9,
  ...more,
});
/** A group with a mean of its own. */
const group = (novelty: number): DriftPart[] =>
  Array.from({ length: DRIFT_GROUP }, (_, i) => part(novelty + (i % 2 ? 0.1 : -0.1) * (i === 24 ? 0 : 1)));

describe('a chart of the line', () => {
  it('has limits three deviations of its group means from their centre', () => {
    // Ordinary parts lie about 0, as their novelty is scaled.
    const means = [-2, -1, 0, 1, 2];
    const limits = driftLimits(means.flatMap(group))!;
    expect(limits.novelty.centre).toBeCloseTo(0, 9);
    // Standard deviation of -2..2 is the root of 2.5.
    expect(limits.novelty.high).toBeCloseTo(3 * Math.sqrt(2.5), 9);
    expect(limits.novelty.low).toBeCloseTo(-3 * Math.sqrt(2.5), 9);
    expect(limits.margin).toEqual({
      centre: expect.closeTo(0.9, 9),
      low: expect.closeTo(0.9, 9),
      high: expect.closeTo(0.9, 9),
    });
    expect(limits.unsureShare).toEqual({ centre: 0, low: 0, high: 0 });
  });

  it('says nothing of too few groups, and leaves an unfinished one out', () => {
    expect(driftLimits([1, 2, 3].flatMap(group))).toBeNull();
    expect(driftLimits([...[1, 2, 3].flatMap(group), ...group(4).slice(1)])).toBeNull();
    expect(driftLimits([])).toBeNull();
  });

  it('counts errors as unsure, but not their numbers', () => {
    const failed = part(0, { verdict: 'unsure', unsureReason: 'error', margin: 0 });
    expect(groupValues([part(2), part(4), failed, failed])).toEqual({ novelty: 3, margin: 0.9, unsureShare: 0.5 });
    expect(groupValues([failed])).toBeNull();
  });
});
