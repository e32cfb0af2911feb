import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { measureEnergy, openEnergyMeter, type EnergyMeter } from '../../../main/compression/evidence/energy.ts';
import {
  measureInterleaved,
  speedupInterval,
  type Contender,
  type Latency,
} from '../../../main/compression/evidence/latency.ts';
import { timePair } from '../../../main/compression/plan/contender.ts';
import { quantile } from '../../../main/compression/evidence/statistics.ts';

/** A repeatable source of chance (linear congruential). */
const chanceOf = (seed: number) => {
  let state = seed;
  return () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
};
const latencyOf = (samples: number[]): Latency => ({
  p50: quantile(samples, 0.5),
  p99: quantile(samples, 0.99),
  coldP50: Number.NaN,
  samples,
});

describe('taking turns', () => {
  it('counts the runs of a turn once it has settled, and tells the first apart', async () => {
    let clock = 0;
    const now = vi.spyOn(performance, 'now').mockImplementation(() => clock);
    try {
      let last = '';
      const order: string[] = [];
      const contender = (name: string, ms: number) => ({
        name,
        run: async () => {
          // Whoever ran last has the caches.
          clock += last === name ? ms : ms + 5;
          last = name;
          order.push(name);
        },
      });
      const contenders = [contender('large', 20), contender('small', 1)];
      const times = await measureInterleaved(contenders, { rounds: 8, warmUp: 1 });
      expect(times.get('small')).toMatchObject({ p50: 1, p99: 1, coldP50: 6 });
      expect(times.get('large')).toMatchObject({ p50: 20, samples: Array.from({ length: 8 }, () => 20) });
      // Of the slowest two fit in the time, which the turn to warm up tells: then four turns each. The large one has settled after its first run, the small one after eight.
      expect(order.filter((name) => name === 'small')).toHaveLength(14 + 4 * 10);
      const [large, small] = [Array(3).fill('large'), Array(10).fill('small')];
      expect(order.slice(21, 34)).toEqual([...large, ...small]);
      // Who begins changes, so at a change of rounds one has two turns in a row.
      expect(order.slice(34, 47)).toEqual([...small, ...large]);
    } finally {
      now.mockRestore();
    }
  });
});

describe('a model beside its original', () => {
  const pair = ['original', 'changed'].map((name) => ({ name, run: () => Promise.resolve() })) as [
    Contender,
    Contender,
  ];
  /** Each measurement finds another time of the changed one. */
  const timed = async (changedMs: readonly number[], expectedSpeedup: number | null) => {
    const left = [...changedMs];
    const measure = () =>
      Promise.resolve(
        new Map([
          ['original', latencyOf([12])],
          ['changed', latencyOf([left.shift()!])],
        ]),
      );
    return { ...(await timePair(measure, pair, expectedSpeedup)), timesMeasured: changedMs.length - left.length };
  };

  it('is timed once more where it is far slower than its layers tell', async () => {
    expect(await timed([3, 1], 5)).toEqual({ beforeMs: 12, afterMs: 3, timesMeasured: 1 });
    expect(await timed([6, 3], 4)).toEqual({ beforeMs: 12, afterMs: 3, timesMeasured: 2 });
    // Slower than ever: as it was first.
    expect(await timed([6, 7], 4)).toEqual({ beforeMs: 12, afterMs: 6, timesMeasured: 2 });
    expect(await timed([6, 3], null)).toEqual({ beforeMs: 12, afterMs: 6, timesMeasured: 1 });
  });
});

describe('interval of a speed-up', () => {
  it('holds the true ratio about as often as it says, also where slow spells last for many rounds', () => {
    let held = 0;
    const RUNS = 60;
    for (let run = 0; run < RUNS; run++) {
      const chance = chanceOf(run + 1);
      const before: number[] = [];
      const after: number[] = [];
      let slow = 0;
      for (let round = 0; round < 300; round++) {
        if (chance() < 0.03) slow = 8;
        const spell = slow-- > 0 ? 0.6 : 0;
        before.push(10 * (1 + 0.2 * chance() + spell * (0.8 + 0.4 * chance())));
        after.push(2.5 * (1 + 0.2 * chance() + spell * (0.8 + 0.4 * chance())));
      }
      const interval = speedupInterval(latencyOf(before), latencyOf(after))!;
      expect(interval[0]).toBeLessThanOrEqual(interval[1]);
      if (interval[0] <= 4 && 4 <= interval[1]) held += 1;
    }
    // 95 % of 60 are 57; that 51 or fewer hold it has a chance of one in a hundred.
    expect(held).toBeGreaterThanOrEqual(52);
  });

  it('is as narrow as the runs allow, the same each time, and nothing for too few', () => {
    const chance = chanceOf(7);
    const samples = (ms: number) => Array.from({ length: 300 }, () => ms * (1 + 0.1 * chance()));
    const [before, after] = [latencyOf(samples(10)), latencyOf(samples(5))];
    const [low, high] = speedupInterval(before, after)!;
    expect(low).toBeGreaterThan(1.95);
    expect(high).toBeLessThan(2.05);
    expect(speedupInterval(before, after)).toEqual([low, high]);
    expect(speedupInterval(latencyOf([3, 3, 3]), latencyOf([2, 2, 2]))).toBeNull();
    const steady = latencyOf(Array.from({ length: 300 }, () => 3));
    expect(speedupInterval(steady, steady)).toEqual([1, 1]);
  });
});

describe('energy', () => {
  let root: string;
  const write = (domain: string, files: Record<string, string | number>) => {
    mkdirSync(join(root, domain), { recursive: true });
    for (const [name, value] of Object.entries(files)) writeFileSync(join(root, domain, name), `${value}\n`);
  };
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'mekiki-rapl-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('adds up the packages, undoes wraps, and leaves out what is in them or holds them', async () => {
    write('intel-rapl', { enabled: 1 });
    write('intel-rapl:0', { name: 'package-0', energy_uj: 1000, max_energy_range_uj: 5000 });
    write('intel-rapl:0:0', { name: 'core', energy_uj: 7, max_energy_range_uj: 5000 });
    write('intel-rapl:1', { name: 'package-1', energy_uj: 4900, max_energy_range_uj: 5000 });
    write('intel-rapl:2', { name: 'psys', energy_uj: 1, max_energy_range_uj: 5000 });
    const meter = openEnergyMeter(root) as EnergyMeter;
    expect(meter.name).toBe('package-0, package-1');
    expect(meter.lap()).toBe(0);
    write('intel-rapl:0', { energy_uj: 1300 });
    write('intel-rapl:0:0', { energy_uj: 4000 });
    write('intel-rapl:1', { energy_uj: 100 });
    write('intel-rapl:2', { energy_uj: 900 });
    expect(meter.lap()).toBe(300 + 200);
    expect(meter.lap()).toBe(0);

    // Each inference of one takes 300 microjoules, of the other 100.
    let total = 1300;
    const contender = (name: string, microjoules: number) => ({
      name,
      run: async () => write('intel-rapl:0', { energy_uj: (total = (total + microjoules) % 5000) }),
    });
    const energies = await measureEnergy([contender('large', 300), contender('small', 100)], meter, { turnMs: 0 });
    expect(energies.get('large')).toBeCloseTo(0.3, 9);
    expect(energies.get('small')).toBeCloseTo(0.1, 9);
    const cancelled = measureEnergy([contender('large', 300)], meter, { signal: AbortSignal.abort() });
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('says why there is none', () => {
    expect(openEnergyMeter(join(root, 'nowhere'))).toEqual({ missing: expect.stringContaining('nowhere') });
    expect(openEnergyMeter(root)).toEqual({ missing: expect.stringContaining('no package') });
    write('intel-rapl:0', { name: 'package-0', energy_uj: 'x', max_energy_range_uj: 5000 });
    expect(openEnergyMeter(root)).toEqual({ missing: expect.stringContaining('no counter') });
  });
});
