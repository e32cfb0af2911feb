import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { createGigeCamera, findCamera, type GigeConfig } from '../../main/capture/gige/camera.ts';
import { startAcquisition } from '../../main/capture/gige/acquisition.ts';
import { openDevice } from '../../main/capture/gige/device.ts';
import { cameraConfigSchema } from '../../main/contract/domain.ts';
import { turns } from '../helpers/simulated-gige.ts';

/* An independent GigE Vision device: Debian's aravis-tools. Port 3956 is the protocol's own, the address is fixed by the peer. */
const peer = 'arv-fake-gv-camera-0.8';
const missing = spawnSync(peer, ['--help']).error !== undefined;

let child: ChildProcess | null = null;
const startPeer = async (serial: string, ...args: string[]) => {
  child = spawn(peer, ['-i', '127.0.0.1', '-s', serial, ...args], { stdio: 'ignore' });
  let found = await findCamera({ serial });
  // Null until it has started; what was found once is not looked for again.
  await expect.poll(async () => (found ??= await findCamera({ serial }))).not.toBeNull();
  return found!;
};
const stopPeer = async () => {
  const ended = child;
  child = null;
  if (!ended || ended.exitCode !== null || ended.signalCode !== null) return;
  await new Promise((resolve) => {
    ended.once('exit', resolve);
    ended.kill('SIGKILL');
  });
};
afterEach(stopPeer);
const configOf = (serial: string, over: object = {}) =>
  cameraConfigSchema.parse({ kind: 'gige', serial, ...over }) as GigeConfig;

describe.skipIf(missing)("Aravis' fake camera (Debian aravis-tools)", () => {
  it('tells its features and takes new values', async () => {
    const found = await startPeer('T1');
    const device = await openDevice(found, { cameraId: 'T1', control: true });
    try {
      const { features } = device;
      expect(await features.text('PixelFormat')).toBe('Mono8');
      expect(await features.integer('PayloadSize')).toBe(512 * 512);
      await features.set('Width', 256);
      expect(await features.integer('PayloadSize')).toBe(256 * 512);
      await features.set('Width', 512);
      await expect(features.set('Width', 5000)).rejects.toThrow(/takes 1 to 2048/);
      // Our own control is in the way of a second one.
      await expect(openDevice(found, { cameraId: 'T1', control: true })).rejects.toMatchObject({ code: 'CAMERA_BUSY' });
    } finally {
      await device.close();
    }
  });

  it('gives every frame, or counts it: whole ones alone come through a lossy line', async () => {
    const found = await startPeer('T2', '-r', '10');
    const ids: number[] = [];
    let missed = 0;
    const acquisition = await startAcquisition(
      found,
      configOf('T2', { exposureUs: 2_000 }),
      { cameraId: 'T2', maxPixels: 1e8, cache: new Map(), signal: new AbortController().signal },
      {
        onFrame(frame) {
          expect(frame.image.data.length).toBe(512 * 512);
          ids.push(Number(frame.source.slice('frame '.length)));
        },
        onMissed: (count) => (missed += count),
        onLost: () => {},
        onTrouble: () => {},
      },
    );
    try {
      await expect.poll(() => ids.length + missed).toBeGreaterThan(60);
    } finally {
      await acquisition.stop();
    }
    // At 1 % loss a frame of 30 large packets is lost one time in four, one of 188 small ones six in seven: none lost of sixty is a chance of one in ten million at the most.
    expect(missed).toBeGreaterThan(0);
    const span = ids.at(-1)! - ids[0]! + 1;
    expect(span - ids.length).toBeLessThanOrEqual(missed);
    expect(acquisition.counts.blocks).toBe(ids.length);
    expect(acquisition.counts.lost).toBe(missed);
  });

  it('is found again after it went away', async () => {
    await startPeer('T3');
    const states: string[] = [];
    let frames = 0;
    await using camera = createGigeCamera(configOf('T3'), { cameraId: 'T3', maxPixels: 1e8 });
    const sink = { offer: () => ((frames += 1), true), whenFree: async () => {} };
    await camera.open(sink, {
      onState: (state) => states.push(state.kind),
      onRejected: () => {},
      onTrouble: () => {},
    });
    await expect.poll(() => frames).toBeGreaterThan(3);
    await stopPeer();
    await expect.poll(() => states.at(-1)).toBe('lost');
    const before = frames;
    await startPeer('T3');
    await expect.poll(() => frames).toBeGreaterThan(before);
    await expect.poll(() => states.at(-1)).toBe('delivering');
    expect(turns(states).slice(0, 3)).toEqual(['delivering', 'lost', 'delivering']);
  });
});
