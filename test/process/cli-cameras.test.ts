import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { patternBytes } from '../../main/capture/gige/simulator/test-pattern.ts';
import { startSimulator, type Simulator } from '../../main/capture/gige/simulator/simulator.ts';
import { decodeImage } from '../../main/vision/decode.ts';
import { cli } from '../helpers/cli.ts';
import { ownAddress } from '../helpers/simulated-gige.ts';
import { smallDisk } from '../helpers/small-disk.ts';

/* Commissioning: the command line and a simulated camera, over real sockets. */

const address = ownAddress();
let simulator: Simulator;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mekiki-cli-cameras-'));
  simulator = await startSimulator({ address, serial: 'C24001', width: 64, height: 48, pixelFormat: 'Mono8' });
});
afterAll(async () => {
  await simulator[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const run = async (code: number, ...args: string[]): Promise<Record<string, unknown>> => {
  const done = await cli([...args, '--json']);
  expect(done, args.join(' ')).toMatchObject({ code });
  return done.json() as Record<string, unknown>;
};

describe('cameras', () => {
  it('lists what answers at an address', async () => {
    const { cameras } = await run(0, 'cameras', '--address', address);
    expect(cameras).toContainEqual(
      expect.objectContaining({ id: 'C24001', kind: 'gige', serial: 'C24001', address, name: expect.any(String) }),
    );
  });
});

describe('camera features', () => {
  const featureOf = (answer: Record<string, unknown>, wanted: string) =>
    (answer['features'] as { name: string }[]).find(({ name }) => name === wanted);

  it('tells them, sets them, and says which value a camera does not take', async () => {
    const before = await run(0, 'camera', 'features', address);
    expect(featureOf(before, 'Width')).toMatchObject({ value: 64, min: expect.any(Number), max: expect.any(Number) });
    const after = await run(0, 'camera', 'features', address, '--set', 'ExposureTime=1234');
    expect(featureOf(after, 'ExposureTime')).toMatchObject({ value: 1234, access: expect.any(String) });
    for (const [wish, code, problem] of [
      ['ExposureTime=-1', 'CAMERA_FEATURE', /ExposureTime/],
      ['Wdith=64', 'CAMERA_FEATURE', /Wdith/],
    ] as const) {
      const { error } = await run(1, 'camera', 'features', address, '--set', wish);
      expect(error, wish).toMatchObject({ code, message: expect.stringMatching(problem) });
    }
    expect(await run(2, 'camera', 'features', address, '--set', 'ExposureTime')).toMatchObject({
      error: { code: 'INVALID_INPUT' },
    });
  });
});

describe('capture', () => {
  it('takes as many whole frames as were asked for, a PNG each', async () => {
    const out = join(folder, 'frames');
    const taken = await run(0, 'capture', address, '--count', '5', '--out', out);
    expect(taken).toMatchObject({ frames: 5, lost: expect.any(Number), resent: expect.any(Number) });
    const files = readdirSync(out).sort();
    expect(files).toEqual([1, 2, 3, 4, 5].map((n) => `frame-00000${n}.png`));
    const sent = Array.from({ length: 200 }, (_, id) => patternBytes(id, 64 * 48));
    const ids: number[] = [];
    for (const name of files) {
      const { image } = await decodeImage(join(out, name), { name, maxPixels: 1e6 });
      expect(image, name).toMatchObject({ width: 64, height: 48 });
      ids.push(sent.findIndex((pattern) => pattern.equals(image.data)));
    }
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(ids[0]).toBeGreaterThanOrEqual(0);
    expect(new Set(ids).size).toBe(5);
    await expect.poll(() => simulator.status().controller).toBeNull();
  });

  it('a folder that cannot be made, and a disk that is full, are named as such and not as a fault of the camera', async () => {
    const file = join(folder, 'a-file');
    writeFileSync(file, '');
    expect(await run(1, 'capture', address, '--count', '1', '--out', join(file, 'frames'))).toMatchObject({
      error: { code: 'INVALID_INPUT', message: expect.stringMatching(/--out/) },
    });
    // The last picture of all is missed as well.
    mkdirSync(join(folder, 'taken', 'frame-000001.png'), { recursive: true });
    expect(await run(1, 'capture', address, '--count', '1', '--out', join(folder, 'taken'))).toMatchObject({
      error: { code: 'INVALID_INPUT', message: expect.stringMatching(/EISDIR/) },
    });
    const small = join(folder, 'small');
    mkdirSync(small);
    const remove = smallDisk(small, '16k');
    if (remove === null) return;
    try {
      const { error } = await run(1, 'capture', address, '--count', '200', '--out', join(small, 'frames'));
      expect(error).toMatchObject({ code: 'DISK_FULL' });
      for (const name of readdirSync(join(small, 'frames')))
        await decodeImage(join(small, 'frames', name), { name, maxPixels: 1e6 });
    } finally {
      remove();
    }
    await expect.poll(() => simulator.status().controller).toBeNull();
  });

  it('no camera there is said before a folder is made', async () => {
    const out = join(folder, 'nothing');
    expect(await run(1, 'capture', ownAddress(), '--count', '1', '--out', out)).toMatchObject({
      error: { code: 'NOT_FOUND' },
    });
    expect(readdirSync(folder)).not.toContain('nothing');
  });
});
