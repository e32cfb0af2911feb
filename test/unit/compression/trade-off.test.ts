import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import os, { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { measureTradeOff, type TradeOffPoint } from '../../../main/compression/trade-off.ts';
import { plotTradeOff, ticksOf } from '../../../main/compression/trade-off-plot.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { isAppError } from '../../../main/contract/errors.ts';
import { addBenchCompressCommand } from '../../../main/host/cli/bench-compress-command.ts';
import type { Action } from '../../../main/host/cli/context.ts';
import { encodeModel, setInputSize } from '../../../main/onnx/index.ts';
import { olderBackbone } from './networks.ts';
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

/** Whether all jobs are taken from those kept; one that is not is cancelled at its first step. */
async function allTaken(more: Parameters<typeof run>[0] = {}): Promise<boolean> {
  const controller = new AbortController();
  try {
    await run({ ...more, signal: controller.signal, onProgress: () => controller.abort() });
    return true;
  } catch (error) {
    if (isAppError(error, 'CANCELLED')) return false;
    throw error;
  }
}

/** `bench compress` in this process. @returns the document and the text that it prints */
async function benchCompress(args: readonly string[]): Promise<{ document: unknown; text: string }> {
  const printed = { document: null as unknown, text: '' };
  const out = {
    json: false,
    progress: () => {},
    result: <T>(value: T, text: (value: T) => string) =>
      void Object.assign(printed, { document: value, text: text(value) }),
  };
  const action: Action =
    (command) =>
    (...given) =>
      command({ out, home: folder, threads: 1, signal: new AbortController().signal }, ...(given as never));
  const program = new Command();
  program.command('bench');
  addBenchCompressCommand(program, action);
  await program.parseAsync(['bench', 'compress', ...args], { from: 'user' });
  return printed;
}

describe('trade-off', () => {
  it('keeps every job, and runs again only what is missing, damaged or asked for otherwise', async () => {
    const first = await run();
    expect(first).toMatchObject({ jobs: { done: 2, taken: 0 }, incomplete: [] });
    expect(first.points.map(({ id }) => id)).toEqual(['post-prune-30-96-fp32', 'post-prune-50-96-fp32']);
    expect(first.points[1]!.macsShare).toBeLessThan(first.points[0]!.macsShare);
    for (const { grouped } of first.points) expect(grouped!.images).toBe(3 * (16 + 6));
    const work = join(folder, 'work');
    const files = (await readdir(work)).sort();
    expect(files).toEqual([30, 50].map((p) => expect.stringMatching(`^set-post-prune-${p}-[0-9a-f]{8}\\.json$`)));
    expect(await run()).toMatchObject({ points: first.points, jobs: { done: 2, taken: 2 } });
    // Other settings are another job, in another file; what it is faster by depends on the processor.
    expect(await allTaken({ seed: 1, ratios: [0.5] })).toBe(false);
    expect(await allTaken({ threads: 2, ratios: [0.5] })).toBe(false);
    const cpus = vi.spyOn(os, 'cpus').mockReturnValue([{ ...os.cpus()[0]!, model: 'another processor' }]);
    syncBuiltinESMExports();
    expect(await allTaken({ ratios: [0.5] })).toBe(false);
    cpus.mockRestore();
    syncBuiltinESMExports();
    expect(await allTaken()).toBe(true);
    await writeFile(join(work, files[0]!), '{"key": "cut sho');
    expect(await allTaken({ ratios: [0.5] })).toBe(true);
    expect(await allTaken()).toBe(false);
  }, 120_000);

  it('tells why a point is missing, also of a job that is taken; names --svg where it cannot be written', async () => {
    const backbone = join(folder, 'older.onnx');
    await writeFile(backbone, encodeModel(setInputSize(olderBackbone(), { height: 96, width: 96 })));
    await mkdir(join(folder, 'curves.svg'));
    const asked = '--strategies post-prune --ratios 0.254 --precision int8 --time-budget-s 5 --resume'.split(' ');
    const bench = (...more: string[]) =>
      benchCompress([join(folder, 'set'), ...asked, '--backbone', backbone, '--work', join(folder, 'older'), ...more]);
    const skipped = [{ id: 'post-prune-25-96-int8', problem: expect.stringContaining('INT8 needs opset 13 or newer') }];
    for (const taken of [0, 1]) {
      const { document, text } = await bench();
      expect(document).toMatchObject({
        points: [],
        incomplete: [{ set: 'set', strategy: 'post-prune', ratio: 0.254, outOfTime: false, skipped }],
        jobs: { done: 1, taken },
      });
      expect(text).toMatch(/^set post-prune 25\.4 %: post-prune-25-96-int8: .*INT8 needs opset 13/m);
    }
    await expect(bench('--svg', join(folder, 'curves.svg'))).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      details: { what: '--svg' },
    });
  }, 120_000);

  it('refuses two folders of one name: they would be one curve', async () => {
    const sets = ['set', 'elsewhere/set'].map((dir) => ({ name: 'set', dir: join(folder, dir) }));
    await expect(run({ sets })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('elsewhere'),
    });
  });

  it('is cancelled while it reads a set, too', async () => {
    const { signal } = new AbortController();
    let looks = 0;
    Object.defineProperty(signal, 'aborted', { get: () => (looks += 1) > 1 });
    await mkdir(join(folder, 'lacking', 'test'), { recursive: true });
    await mkdir(join(folder, 'lacking', 'train', 'a'), { recursive: true });
    await writeFile(join(folder, 'lacking', 'train', 'a', '1.png'), '');
    await expect(run({ sets: [{ name: 'lacking', dir: join(folder, 'lacking') }], signal })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
  });

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
