import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { renderPart } from '../../../main/capture/simulated/render.ts';
import { createPartMonitor, REFERENCE_PARTS, type WatchedPart } from '../../../main/learning/monitor/part-monitor.ts';
import { findDrift } from '../../../main/learning/monitor/drift.ts';
import { encodePng } from '../../../main/vision/decode.ts';
import { ensureShippedBackbone } from '../../../native-models/shipped.ts';
import { openSimulatedLine } from '../../helpers/simulated-line.ts';
import { picture, writePicture } from './pictures.ts';
import { writeTinyBackbone } from './tiny-backbone.ts';

it(
  'the simulated line: nothing while nothing changes, a lamp that fades and a new class within 200 parts',
  { timeout: 60_000 },
  async () => {
    await using line = await openSimulatedLine({
      surface: 'fabric',
      seed: 2,
      perClass: 16,
      size: 128,
      defectShare: 0.15,
    });
    const judged = async (from: number, count: number, change: (i: number) => object = () => ({})) => {
      const parts: WatchedPart[] = [];
      for (let i = 0; i < count; i += 1) parts.push(await line.inspect(from + i, change(i)));
      return parts;
    };
    const reference = await judged(0, REFERENCE_PARTS);
    expect(reference.every(({ signature }) => signature?.length === 8)).toBe(true);
    const stationary = await judged(REFERENCE_PARTS, 60);
    const found = (parts: readonly WatchedPart[]) => {
      const monitor = createPartMonitor(reference);
      for (const part of stationary) expect(monitor.add(part)).toEqual([]);
      return parts.findIndex((part) => monitor.add(part).length > 0);
    };
    // 40 % less light in 1,000 parts: 8 % after 200.
    const faded = found(await judged(1000, 200, (i) => ({ light: 1 - 0.0004 * i })));
    expect(faded).toBeGreaterThan(0);
    expect(faded).toBeLessThan(200);
    // Six parts in a hundred show it.
    expect(found(await judged(2000, 200, () => ({ late: true })))).toBeGreaterThan(0);
  },
);

it('folders of pictures: a darker lamp is found, the same line is not', { timeout: 30_000 }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'mekiki-drift-'));
  try {
    const size = 64;
    const write = async (folder: string, from: number, count: number, light: number) => {
      await mkdir(join(dir, folder), { recursive: true });
      for (let i = 0; i < count; i += 1) {
        const { image } = renderPart({
          surface: 'cast',
          seed: 1,
          index: from + i,
          defect: null,
          width: size,
          height: size,
          light,
        });
        await writeFile(join(dir, folder, `${String(i).padStart(4, '0')}.png`), await encodePng(image));
      }
    };
    await write('reference', 0, 160, 1);
    await write('same', 500, 60, 1);
    await write('dark', 600, 60, 0.7);
    const run = async (watched: string) =>
      findDrift({
        dir: join(dir, watched),
        reference: join(dir, 'reference'),
        backbone: await ensureShippedBackbone(),
        threads: 2,
      });
    expect((await run('same')).alarms).toEqual([]);
    const { alarms, runLength, threads } = await run('dark');
    expect(threads).toBe(2);
    expect(runLength).toBe(10_000);
    expect(alarms.length).toBeGreaterThan(0);
    await expect(
      findDrift({ dir, reference: join(dir, 'same', 'none'), backbone: await ensureShippedBackbone(), threads: 2 }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await mkdir(join(dir, 'nothing'));
    await expect(run('nothing')).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  } finally {
    await rm(dir, { recursive: true });
  }
});

it('leaves out what cannot be read, by name, and alarms at the places of the pictures in the folder', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'mekiki-drift-'));
  try {
    const backbone = await writeTinyBackbone(join(dir, 'tiny.onnx'));
    const at = (folder: string, i: number) => join(dir, folder, `${String(i).padStart(3, '0')}.png`);
    for (let i = 0; i < 60; i += 1) await writePicture(at('reference', i), picture('dots', i));
    for (let i = 0; i < 30; i += 1) await writePicture(at('watched', i), picture('stripes', i));
    const run = () => findDrift({ dir: join(dir, 'watched'), reference: join(dir, 'reference'), backbone, threads: 1 });
    const whole = await run();
    expect(whole.alarms.length).toBeGreaterThan(0);
    expect(whole.skipped).toEqual([]);
    const broken = [join(dir, 'reference', '999.png'), join(dir, 'watched', '0.png')];
    for (const file of broken) await writeFile(file, 'no picture');
    const { alarms, skipped } = await run();
    expect(skipped.map(({ name }) => name)).toEqual(broken);
    expect(alarms).toEqual(whole.alarms.map(({ index, measure }) => ({ index: index + 1, measure })));

    for (let i = 39; i < 60; i += 1) await writeFile(at('reference', i), 'no picture');
    await expect(run()).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      details: { problem: expect.stringContaining('39') },
    });
  } finally {
    await rm(dir, { recursive: true });
  }
});
