import { expect, test } from 'vitest';
import { createLatencyStats, quantile } from '../../../main/inspection/latency.ts';

test('nearest-rank quantiles', () => {
  const values = Float64Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(quantile(values, 0.5)).toBe(50);
  expect(quantile(values, 0.99)).toBe(99);
  expect(quantile(new Float64Array(0), 0.5)).toBe(0);
  expect(quantile(Float64Array.of(7), 0.99)).toBe(7);
});

test('the trend has one point per ten seconds that had parts, for ten minutes', () => {
  let now = 5_000;
  const stats = createLatencyStats(() => now);
  for (let i = 1; i <= 10; i += 1) stats.add(i);
  expect(stats.trend()).toEqual([]);
  expect(stats.p50()).toBe(5);
  now = 10_000;
  expect(stats.trend()).toEqual([[5, 10]]);
  now = 35_000;
  stats.add(3);
  now = 41_000;
  expect(stats.trend()).toEqual([
    [5, 10],
    [3, 3],
  ]);
  now = 602_000;
  expect(stats.trend()).toEqual([[3, 3]]);
  now = 700_000;
  expect(stats.trend()).toEqual([]);
  // The last thousand parts count for p50 and p99, not all of a year.
  for (let i = 0; i < 5000; i += 1) stats.add(2);
  expect([stats.p50(), stats.p99()]).toEqual([2, 2]);
});
