import { expect, it } from 'vitest';
import { createRandom } from '../../../main/capture/simulated/random.ts';
import { createMonitor, normalDeviate, normalScore, STATED_RUN_LENGTH } from '../../../main/learning/monitor/charts.ts';
import { areaUnderCurve } from '../../../main/learning/novelty-score.ts';

it('normal deviates are those of the tables', () => {
  expect(normalDeviate(0.975)).toBeCloseTo(1.959964, 5);
  expect(normalDeviate(0.5)).toBeCloseTo(0, 9);
  expect(normalDeviate(0.001)).toBeCloseTo(-3.090232, 5);
  expect(normalScore(Float64Array.of(1, 2, 3), 2)).toBeCloseTo(0, 9);
});

it('areaUnderCurve counts pairs, ties half', () => {
  expect(areaUnderCurve([1, 2], [2, 3])).toBe(0.875);
  expect(areaUnderCurve([3], [1])).toBe(0);
});

// Scores as novelty has them: skewed, with a long tail.
const streams = (seed: number) => {
  const random = createRandom(seed);
  return (shift = 0) => ({
    novelty: Math.exp(random.normal() + shift),
    margin: Math.min(1, 0.8 + 0.2 * random.normal() - shift),
    feature: random.normal() + shift,
  });
};

it('stationary parts: at most one false alarm in the stated run length', () => {
  let alarms = 0;
  const RUNS = 10;
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const draw = streams(seed);
    const monitor = createMonitor(Array.from({ length: 200 }, () => draw()));
    for (let i = 0; i < STATED_RUN_LENGTH; i += 1) alarms += monitor.add(draw()).length;
  }
  expect(alarms).toBeLessThanOrEqual(RUNS);
});

it('a change by a deviation is found within 200 parts, and not before it is there', () => {
  const draw = streams(5);
  const monitor = createMonitor(Array.from({ length: 200 }, () => draw()));
  const alarms = Array.from({ length: 700 }, (_, i) => monitor.add(draw(i < 500 ? 0 : 1))).flat();
  const measures = new Set(alarms.map(({ measure }) => measure));
  expect([...measures].sort()).toEqual(['feature', 'margin', 'novelty']);
  expect(alarms[0]!.index).toBeGreaterThanOrEqual(500);
});
