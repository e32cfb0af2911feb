import { expect, it } from 'vitest';
import { createRandom } from '../../../main/capture/simulated/random.ts';
import {
  countRunLength,
  countRunLengthOfUsual,
  createMonitor,
  cusumHeight,
  ewmaLimit,
  normalDeviate,
  normalScore,
  STATED_RUN_LENGTH,
  type PartMeasures,
} from '../../../main/learning/monitor/charts.ts';
import { createPartMonitor, REFERENCE_PARTS, type WatchedPart } from '../../../main/learning/monitor/part-monitor.ts';
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

it('limits keep the run length that they are asked for: by simulation', () => {
  const random = createRandom(11);
  const meanRun = (runs: number, step: () => () => boolean) => {
    let parts = 0;
    for (let run = 0; run < runs; run += 1) {
      const alarms = step();
      do parts += 1;
      while (!alarms());
    }
    return parts / runs;
  };
  // Of shares: exact, so nothing but the simulation's own error (400 runs: 5 %).
  const shares = meanRun(400, () => {
    let level = 0;
    return () => (level = Math.max(0, level + (random.chance(0.05) ? 8 : -1))) >= 30;
  });
  expect(Math.abs(shares / countRunLength(0.05, 8, 30) - 1)).toBeLessThan(0.2);
  expect(countRunLength(1, 1, 7)).toBeCloseTo(7, 9);
  const usual = meanRun(400, () => {
    let level = 0;
    return () => (level = Math.max(0, level + (random.chance(0.7) ? 1 : -3))) >= 12;
  });
  expect(Math.abs(usual / countRunLengthOfUsual(0.7, 3, 12) - 1)).toBeLessThan(0.2);
  for (const share of [0.3, 0.6])
    expect(countRunLengthOfUsual(share, 1, 9) / countRunLength(share, 1, 9)).toBeCloseTo(1, 9);
  // Of normals: at least what is stated, and no more than three times (a chart that never alarms keeps any run length).
  const asked = 1000;
  const height = cusumHeight(asked, 0.25);
  const cusum = meanRun(300, () => {
    let level = 0;
    return () => (level = Math.max(0, level + random.normal() - 0.25)) > height;
  });
  expect(cusum).toBeGreaterThan(0.85 * asked);
  expect(cusum).toBeLessThan(1.3 * asked);
  for (const dimensions of [1, 4]) {
    const limit = (ewmaLimit(asked, dimensions) * 0.05) / 1.95;
    const run = meanRun(150, () => {
      const level = new Float64Array(dimensions);
      return () => {
        let sum = 0;
        for (let d = 0; d < dimensions; d += 1) sum += (level[d]! += 0.05 * (random.normal() - level[d]!)) ** 2;
        return sum > limit;
      };
    });
    expect(run).toBeGreaterThan(0.85 * asked);
    expect(run).toBeLessThan(3 * asked);
  }
});

// Scores as novelty has them: skewed, with a long tail.
const streams = (seed: number) => {
  const random = createRandom(seed);
  return (shift = 0, share = 0.1): PartMeasures => ({
    values: {
      novelty: Math.exp(random.normal() + shift),
      margin: Math.min(1, 0.8 + 0.2 * random.normal() - shift),
    },
    vector: [random.normal() + shift, Math.exp(random.normal()), 3 * random.normal()],
    events: { ng: random.chance(share) },
  });
};

it('stationary parts: at most one false alarm in the stated run length, over all charts', () => {
  let alarms = 0;
  const RUNS = 10;
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const draw = streams(seed);
    const monitor = createMonitor(Array.from({ length: 200 }, () => draw()));
    for (let i = 0; i < STATED_RUN_LENGTH; i += 1) alarms += monitor.add(draw()).length;
  }
  expect(alarms).toBeLessThanOrEqual(RUNS);
});

it('a change by a deviation or of a share is found within 200 parts, and not before it is there', () => {
  for (const [shift, share, found] of [
    [1, 0.1, ['feature-mean', 'margin', 'novelty']],
    [0, 0.35, ['ng']],
  ] as const) {
    const draw = streams(5);
    const monitor = createMonitor(Array.from({ length: 500 }, () => draw()));
    const alarms = Array.from({ length: 700 }, (_, i) => monitor.add(i < 500 ? draw() : draw(shift, share))).flat();
    expect([...new Set(alarms.map(({ measure }) => measure))].sort()).toEqual(found);
    expect(alarms[0]!.index).toBeGreaterThanOrEqual(500);
  }
});

it('that more parts than most are unsure is found as well', () => {
  for (const usual of [0.55, 0.7, 0.9]) {
    const random = createRandom(3);
    const draw = (share: number): PartMeasures => ({ values: {}, events: { unsure: random.chance(share) } });
    const monitor = createMonitor(Array.from({ length: 500 }, () => draw(usual)));
    const found = Array.from({ length: 1300 }, (_, i) => monitor.add(draw(i < 1000 ? usual : 1)).length).indexOf(1);
    expect(found).toBeGreaterThanOrEqual(1000);
  }
  const all = (): PartMeasures => ({ values: {}, events: { unsure: true } });
  const monitor = createMonitor(Array.from({ length: 500 }, all));
  expect(Array.from({ length: 500 }, () => monitor.add(all())).flat()).toEqual([]);
});

it('charts go on where they stood, from their levels as JSON', () => {
  const draw = streams(9);
  const reference = Array.from({ length: 300 }, () => draw());
  const parts = Array.from({ length: 300 }, (_, i) => draw(i < 100 ? 0 : 0.6));
  const whole = createMonitor(reference);
  const told = parts.flatMap((part, i) => whole.add(part).map(({ measure }) => `${i} ${measure}`));
  const first = createMonitor(reference);
  const cut: string[] = parts
    .slice(0, 130)
    .flatMap((part, i) => first.add(part).map(({ measure }) => `${i} ${measure}`));
  const second = createMonitor(reference, JSON.parse(JSON.stringify(first.levels)) as typeof first.levels);
  parts.slice(130).forEach((part, i) => cut.push(...second.add(part).map(({ measure }) => `${i + 130} ${measure}`)));
  expect(told.length).toBeGreaterThan(0);
  expect(cut).toEqual(told);
});

it('parts that were not inferred count in the verdict mix alone; broken numbers and missing signatures do no harm', () => {
  const random = createRandom(2);
  const part = (change: Partial<WatchedPart> = {}): WatchedPart => ({
    verdict: 'ok',
    unsureReason: null,
    novelty: random.normal(),
    margin: random.next(),
    signature: [random.normal(), random.normal()],
    ...change,
  });
  const monitor = createPartMonitor(Array.from({ length: REFERENCE_PARTS }, () => part()));
  const late = part({ verdict: 'unsure', unsureReason: 'late', novelty: 1e9, margin: 0 });
  const found = new Set(Array.from({ length: 100 }, () => monitor.add(late)).flat());
  expect([...found]).toEqual(['unsure-share']);
  const { signature: _none, ...bare } = part();
  for (let i = 0; i < 50; i += 1) monitor.add({ ...bare, novelty: Number.NaN });
  expect(Object.values(monitor.levels).flat().every(Number.isFinite)).toBe(true);
});
