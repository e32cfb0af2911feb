import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../main/capture/simulated/random.ts';
import { createPartMonitor, REFERENCE_PARTS, type WatchedPart } from '../../../main/learning/monitor/part-monitor.ts';
import { createTail, stepOf, tailOf, tailRunLength } from '../../../main/learning/monitor/tail-chart.ts';

describe('the chart of an upper tail', () => {
  it('has the run length that its Markov chain says, by simulation', () => {
    const random = createRandom(3);
    const height = 55;
    const RUNS = 200;
    let parts = 0;
    for (let run = 0; run < RUNS; run += 1) {
      for (let level = 0; level < height; parts += 1) level = Math.max(0, level + stepOf(random.next()));
    }
    expect(Math.abs(parts / RUNS / tailRunLength(height) - 1)).toBeLessThan(0.25);
  });

  it('takes a little for a usual part, gives more the rarer it is, never so much that one is an alarm', () => {
    expect([stepOf(1), stepOf(0.5)]).toEqual([-1, -1]);
    const steps = [0.1, 0.01, 1e-3, 1e-4, 1e-9, 0].map(stepOf);
    expect(steps).toEqual(steps.toSorted((a, b) => a - b));
    const chart = createTail(
      Array.from({ length: 500 }, (_, i) => i / 500),
      1000,
    )!;
    const once = chart.next(0, 1e6);
    expect(once).toBeLessThan(chart.height);
    expect(chart.next(chart.next(once, 1e6), 1e6)).toBeGreaterThanOrEqual(chart.height);
  });

  it('tells tail probabilities that are rather too large than too small', () => {
    const random = createRandom(5);
    const draw = () => -Math.log(1 - random.next());
    let [inside, beyond] = [0, 0];
    const TRIES = 100;
    for (let i = 0; i < TRIES; i += 1) {
      const tail = tailOf(Array.from({ length: 500 }, draw))!;
      // Of an exponential: exp(-x).
      if (tail(3) >= Math.exp(-3)) inside += 1;
      if (tail(9) >= Math.exp(-9)) beyond += 1;
    }
    expect(inside).toBeGreaterThan(0.8 * TRIES);
    expect(beyond).toBeGreaterThan(0.7 * TRIES);
    expect(tailOf([1, 2, 3])).toBeNull();
  });
});

it('a new class in six of a hundred parts is found within 200, most of it beyond the rarest reference part', () => {
  let found = 0;
  const RUNS = 20;
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const random = createRandom(seed);
    const part = (late = 0): WatchedPart => ({
      verdict: 'ok',
      unsureReason: null,
      novelty: random.chance(late) ? 4 + 1.2 * random.normal() : random.normal(),
      margin: random.next(),
      signature: [random.normal(), random.normal()],
    });
    const monitor = createPartMonitor(Array.from({ length: REFERENCE_PARTS }, () => part()));
    for (let i = 0; i < 200; i += 1) expect(monitor.add(part()).filter((m) => m === 'unusual-share')).toEqual([]);
    const measures = Array.from({ length: 200 }, () => monitor.add(part(0.06))).flat();
    if (measures.includes('unusual-share')) found += 1;
  }
  expect(found).toBeGreaterThanOrEqual(0.75 * RUNS);
});
