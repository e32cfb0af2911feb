import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { measureTradeOff, type TradeOffPoint } from '../../../main/compression/trade-off.ts';
import { plotTradeOff, ticksOf } from '../../../main/compression/trade-off-plot.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { smallBackboneFile, writeDataset } from './small-data.ts';

let folder: string;
let backbone: Backbone;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-trade-off-'));
  backbone = await smallBackboneFile(folder);
  await writeDataset(join(folder, 'set'), { train: 16, test: 6 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const run = (more: Partial<Parameters<typeof measureTradeOff>[0]> = {}) =>
  measureTradeOff({
    sets: [{ name: 'set', dir: join(folder, 'set') }],
    backbone,
    strategies: ['post-prune'],
    ratios: [0.3, 0.5],
    precision: 'fp32',
    timeBudgetS: 5,
    maxDropPp: 1,
    work: join(folder, 'work'),
    resume: true,
    seed: 0,
    threads: 1,
    ...more,
  });

describe('trade-off', () => {
  it('keeps every job, and runs again only what is missing, damaged or asked for otherwise', async () => {
    const first = await run();
    expect(first.jobs).toMatchObject({ done: 2, taken: 0 });
    expect(first.points.map(({ id }) => id)).toEqual(['post-prune-30-96-fp32', 'post-prune-50-96-fp32']);
    expect(first.points[1]!.macsShare).toBeLessThan(first.points[0]!.macsShare);
    for (const { grouped } of first.points) expect(grouped!.images).toBe(3 * (16 + 6));
    const work = join(folder, 'work');
    expect((await readdir(work)).sort()).toEqual(['set-post-prune-30.json', 'set-post-prune-50.json']);
    expect(await run()).toMatchObject({ points: first.points, jobs: { done: 2, taken: 2 } });
    await writeFile(join(work, 'set-post-prune-30.json'), '{"key": "cut sho');
    const mended = await run();
    expect(mended.jobs).toMatchObject({ done: 2, taken: 1 });
    expect(mended.points[1]).toEqual(first.points[1]);
    // Other settings are another job; what it is faster by depends on the threads.
    expect((await run({ threads: 2, ratios: [0.5] })).jobs).toMatchObject({ done: 1, taken: 0 });
    expect((await run({ threads: 2, seed: 1, ratios: [0.5] })).jobs).toMatchObject({ done: 1, taken: 0 });
    JSON.parse(await readFile(join(work, 'set-post-prune-30.json'), 'utf8'));
  }, 120_000);

  it('names the folder that cannot be written, and why', async () => {
    const work = join(folder, 'file', 'work');
    await writeFile(join(folder, 'file'), 'not a folder');
    await expect(run({ work })).rejects.toMatchObject({
      code: 'HOME_NOT_WRITABLE',
      message: expect.stringMatching(/file\/work cannot be written: ENOTDIR/),
    });
  });

  it('draws every point once in each panel, escapes names and needs nothing from elsewhere', () => {
    const usual = {
      strategy: 'post-prune',
      precision: 'fp32',
      id: 'x',
      ratio: 0.5,
      inputSize: 224,
      macs: 1,
      macsShare: 0.5,
      bytes: 1,
      speedup: 2,
      validationDropPp: 0,
      testBalancedAccuracy: 0.9,
      testDropPp: 1,
      grouped: null,
      offered: true,
    } as const;
    const point = (set: string, more: Partial<TradeOffPoint>): TradeOffPoint => ({ ...usual, set, ...more });
    const points = [
      point('a <b>', { macsShare: 0.7 }),
      point('a <b>', { speedup: 3, testDropPp: 2 }),
      point('c', { precision: 'int8', strategy: 'distill' }),
    ];
    const svg = plotTradeOff(points, 'A & B');
    expect(svg.match(/<circle [^>]*r="4" fill="#fff"/g)).toHaveLength(4);
    expect(svg.match(/<rect [^>]*fill="#009E73"/g)).toHaveLength(2);
    expect(svg).toContain('a &lt;b&gt;');
    expect(svg).not.toMatch(/NaN|href|url\(|<b>/);
  });

  it('marks axes in round steps', () => {
    expect(ticksOf(0, 10)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticksOf(-0.3, 0.9).map((t) => +t.toFixed(3))).toEqual([-0.2, 0, 0.2, 0.4, 0.6, 0.8]);
  });
});
