import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Measures } from '../../../main/contract/domain.ts';
import {
  AREA,
  linearScale,
  logScale,
  namesBelow,
  plotScales,
  sortCandidates,
  standings,
} from '../../../renderer/features/learn/pareto.ts';
import { bench, candidateOf } from '../../e2e/fixtures/candidates.ts';

const measures = (latencyMsP50: number, balancedAccuracy: number): Measures => ({
  accuracy: balancedAccuracy,
  balancedAccuracy,
  interval: [balancedAccuracy - 0.01, balancedAccuracy + 0.01],
  latencyMsP50,
  latencyMsP99: latencyMsP50 * 2,
  macs: 1,
  params: 1,
  bytes: 1,
});

describe('standings', () => {
  it('puts those on the front that no offered one beats', () => {
    const candidates = [
      candidateOf('fast', measures(1, 0.9)),
      candidateOf('good', measures(3, 0.99)),
      candidateOf('beaten', measures(2, 0.89)),
      candidateOf('equal', measures(1, 0.9)),
      candidateOf('refused', measures(0.5, 1), { offered: false }),
      candidateOf('chosen', measures(2, 0.97), { recommended: true }),
    ];
    expect(Object.fromEntries(standings(candidates))).toEqual({
      fast: 'front',
      good: 'front',
      beaten: 'beaten',
      equal: 'front',
      refused: 'not-offered',
      chosen: 'recommended',
    });
    expect(sortCandidates(candidates).map(({ id }) => id)).toEqual([
      'chosen',
      'good',
      'fast',
      'equal',
      'beaten',
      'refused',
    ]);
  });

  it('never calls one beaten that is both the fastest and the best', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 100 })), { minLength: 1 }),
        (pairs) => {
          const candidates = pairs.map(([ms, percent], i) => candidateOf(String(i), measures(ms, percent / 100)));
          const front = [...standings(candidates).values()].filter((standing) => standing === 'front');
          expect(front.length).toBeGreaterThan(0);
          const best = Math.max(...pairs.map(([, percent]) => percent));
          const fastestOfBest = Math.min(...pairs.filter(([, percent]) => percent === best).map(([ms]) => ms));
          const i = pairs.findIndex(([ms, percent]) => ms === fastestOfBest && percent === best);
          expect(standings(candidates).get(String(i))).toBe('front');
        },
      ),
    );
  });
});

describe('scales', () => {
  it('keeps every point and interval inside the drawing', () => {
    const all = bench().flatMap(({ evidence }) => [evidence.candidate, evidence.reference]);
    const { x, y } = plotScales(all, 8);
    for (const { latencyMsP50, interval } of all) {
      expect(x.at(latencyMsP50)).toBeGreaterThan(AREA.left);
      expect(x.at(latencyMsP50)).toBeLessThan(AREA.right);
      for (const end of interval) {
        expect(y.at(100 * end)).toBeGreaterThanOrEqual(AREA.top);
        expect(y.at(100 * end)).toBeLessThanOrEqual(AREA.bottom);
      }
    }
    expect(x.at(8)).toBeLessThan(AREA.right);
  });

  it('does not squeeze the points for a limit that is far away', () => {
    const all = [measures(1, 0.9), measures(2, 0.95)];
    expect(plotScales(all, 10_000).x.at(2)).toBeGreaterThan(60);
  });

  it('copes with a single candidate', () => {
    const { x, y } = plotScales([measures(2.5, 0.97)], null);
    expect(Number.isFinite(x.at(2.5))).toBe(true);
    expect(Number.isFinite(y.at(97))).toBe(true);
    expect(y.ticks.length).toBeGreaterThan(1);
  });

  it('has ticks that are round and do not crowd', () => {
    expect(linearScale(96.4, 99.6, 88, 4).ticks).toEqual([96.5, 97, 97.5, 98, 98.5, 99, 99.5]);
    const { ticks, at } = logScale(1, 100, 8, 97);
    ticks.slice(1).forEach((tick, i) => expect(at(tick) - at(ticks[i]!)).toBeGreaterThanOrEqual(6));
  });
});

describe('namesBelow', () => {
  it('brings every second name of a crowded row below its point, and leaves the others', () => {
    const row = ['a', 'b', 'c', 'd'].map((id, i) => ({ id, x: 20 + 8 * i, y: 30 }));
    expect([...namesBelow(row)]).toEqual(['b', 'd']);
    expect([...namesBelow(row.map((point, i) => ({ ...point, x: 20 * i })))]).toEqual([]);
    expect([...namesBelow(row.map((point, i) => ({ ...point, y: 10 * i })))]).toEqual([]);
  });
});
