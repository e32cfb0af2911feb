import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { openDevice } from '../../main/capture/gige/device.ts';
import { startSimulator } from '../../main/capture/gige/simulator/simulator.ts';
import { cameraConfigSchema, type CameraConfig } from '../../main/contract/domain.ts';
import { silentLog } from '../../main/contract/log.ts';
import type { events, MethodOutput, methods } from '../../main/contract/methods.ts';
import { createClient } from '../../main/contract/rpc/client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createForkSpawnPort } from '../../main/host/spawn.ts';
import { createSupervisor, type Supervisor } from '../../main/host/supervisor.ts';
import { decodeImage, encodePng } from '../../main/vision/decode.ts';
import { childSettings } from '../helpers/child-settings.ts';
import { foundCamera, gigeConfig, ownAddress, settingsOf } from '../helpers/simulated-gige.ts';
import { createLineHome, lineStation, listenedLine } from './line-home.ts';

/* A camera that is looked at while its station is set up: window, core, line process, capture thread, camera. */

const PASSWORD = 'a long enough password';
const POLL = { timeout: 30_000, interval: 50 };
const simulated = cameraConfigSchema.parse({ kind: 'simulated', width: 1920, height: 1080, partsPerMinute: 600 });

describe('cameras.preview', () => {
  let folder: string;
  let home: string;
  let supervisor: Supervisor;
  let stationId: string;
  const connect = () => {
    const [window, ours] = createMemoryPair();
    supervisor.attachWindow(window);
    return createClient<typeof methods, typeof events>(ours, { peer: 'core' });
  };
  let client: ReturnType<typeof connect>;
  const look = (camera: CameraConfig, after = 0, by = client) =>
    by.call('cameras.preview', { stationId, camera, after });
  /** Asked again until the answer is as wanted. */
  const lookUntil = async (
    camera: CameraConfig,
    holds: (answer: MethodOutput<'cameras.preview'>) => boolean,
  ): Promise<MethodOutput<'cameras.preview'>> => {
    let answer: MethodOutput<'cameras.preview'> | undefined;
    await expect
      .poll(async () => {
        answer = await look(camera);
        return holds(answer);
      }, POLL)
      .toBe(true);
    return answer!;
  };
  const pictureOf = async (camera: CameraConfig) =>
    (await lookUntil(camera, ({ picture }) => picture !== null)).picture!;
  const decoded = async ({ jpeg }: { jpeg: string }) =>
    (await decodeImage(Buffer.from(jpeg, 'base64'), { name: 'picture', maxPixels: 1e8 })).image;
  /** Sets features of a camera that nobody has, and reads some. */
  const features = async (
    address: string,
    work: (set: (name: string, value: string | number) => Promise<void>) => Promise<void> = async () => {},
  ) => {
    const device = await openDevice(await foundCamera(address), { cameraId: address, control: true });
    try {
      await work((name, value) => device.features.set(name, value));
      return await settingsOf(device);
    } finally {
      await device.close();
    }
  };
  const lineStatus = () => client.call('line.status', { stationId });

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mekiki-preview-'));
    home = join(folder, 'home');
    supervisor = createSupervisor({ spawn: createForkSpawnPort(), settings: childSettings(home), log: silentLog });
    await supervisor.start();
    client = connect();
    await client.call('session.firstStart', { name: 'Mori', password: PASSWORD, language: 'en' });
    stationId = (await client.call('stations.list', {}))[0]!.id;
  });
  afterEach(async () => {
    client.close();
    await supervisor.close();
    rmSync(folder, { recursive: true });
  });

  it('shows an engineer newer and newer pictures, scaled down, takes no part, and lets no second window change what is shown', async () => {
    const stranger = connect();
    await expect(look(simulated, 0, stranger)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    const first = await pictureOf(simulated);
    expect(first).toMatchObject({ width: 1920, height: 1080 });
    expect(await decoded(first)).toMatchObject({ width: 960, height: 540, channels: 1 });
    expect((await look(simulated, first.number + 1000)).picture).toBeNull();
    await lookUntil(simulated, ({ picture }) => picture !== null && picture.number > first.number);

    await stranger.call('session.signIn', { name: 'Mori', password: PASSWORD });
    await expect(look(simulated, 0, stranger)).rejects.toMatchObject({ code: 'CAMERA_SHOWN' });
    await stranger.call('cameras.endPreview', { stationId });
    await look(simulated);
    await client.call('cameras.endPreview', { stationId });
    await look(simulated, 0, stranger);
    stranger.close();

    expect(await lineStatus()).toMatchObject({ state: 'stopped', camera: 'off', parts: 0 });
    expect(await client.call('parts.recent', { stationId })).toEqual([]);
    const { entries } = await client.call('audit.list', {});
    const told = entries.filter(({ action }) => action === 'cameras.preview');
    expect(told).toMatchObject([
      { user: 'Mori', subject: stationId },
      { user: 'Mori', subject: stationId },
    ]);
  });

  it('leaves a line that runs alone, and gives the camera to a line that starts', async () => {
    const first = await pictureOf(simulated);
    await client.call('line.start', { stationId });
    await expect.poll(async () => (await lineStatus()).parts, POLL).toBeGreaterThan(0);
    const { startedAt } = await lineStatus();
    const other = cameraConfigSchema.parse({ kind: 'simulated', surface: 'cast' });
    expect(await look(other)).toEqual({ state: 'line-runs', problem: null, picture: null });
    await client.call('cameras.endPreview', { stationId });
    const { parts } = await lineStatus();
    await expect.poll(async () => (await lineStatus()).parts, POLL).toBeGreaterThan(parts);
    expect(await lineStatus()).toMatchObject({ state: 'running', startedAt, droppedFrames: 0 });
    // What was shown was taken from nobody: the line begins with the part that it would have begun with.
    const [part] = (await client.call('parts.recent', { stationId })).toReversed();
    expect(part).toMatchObject({ id: 1 });
    await client.call('line.stop', { stationId });
    expect((await pictureOf(simulated)).number).toBeGreaterThan(first.number);
  });

  it('sets a GigE camera as the form says, and gives it back as it was', { timeout: 120_000 }, async () => {
    const address = ownAddress();
    const serial = `P${Date.now() % 1e9}`;
    await using simulator = await startSimulator({ address, serial, width: 640, height: 480, framesPerSecond: 10 });
    const before = await features(address, async (set) => {
      await set('ExposureTime', 2_000);
      await set('TriggerMode', 'On');
    });
    const camera = gigeConfig({ address, exposureUs: 750, gain: 6 });
    expect(await pictureOf(camera)).toMatchObject({ width: 640, height: 480 });
    expect(simulator.status().controller).not.toBeNull();
    // Another value opens it anew; one that it does not have is told, with what to do.
    expect(await pictureOf({ ...camera, exposureUs: 1_500 })).toMatchObject({ width: 640 });
    const unknown = await lookUntil({ ...camera, gain: 1e9 }, ({ problem }) => problem?.code === 'CAMERA_FEATURE');
    expect(unknown).toMatchObject({ state: 'lost', problem: { nextAction: expect.stringMatching(/./) as string } });
    await pictureOf(camera);
    // Nobody says that the page was left.
    await expect.poll(() => simulator.status().controller, POLL).toBeNull();
    expect(await features(address)).toEqual({ ...before, exposure: 2_000, trigger: 'On' });
  });

  it(
    'goes on with newer pictures after a kill, and gives a GigE camera back as it was before',
    { timeout: 120_000 },
    async () => {
      const address = ownAddress();
      await using simulator = await startSimulator({ address, width: 320, height: 240, framesPerSecond: 10 });
      const before = await features(address, async (set) => {
        await set('ExposureTime', 2_000);
        await set('TriggerMode', 'On');
      });
      const camera = gigeConfig({ address, exposureUs: 750, gain: 6 });
      const first = await pictureOf(camera);
      const last = await lookUntil(camera, ({ picture }) => picture !== null && picture.number > first.number + 5);
      const line = () => supervisor.processes().find(({ name }) => name === `line:${stationId}`)!.pid!;
      const killed = line();
      process.kill(killed, 'SIGKILL');
      await expect.poll(async () => (await look(camera).catch(() => null))?.picture ?? null, POLL).not.toBeNull();
      expect(line()).not.toBe(killed);
      expect((await pictureOf(camera)).number).toBeGreaterThan(last.picture!.number);
      await client.call('cameras.endPreview', { stationId });
      expect(simulator.status().controller).toBeNull();
      expect(await features(address)).toEqual({ ...before, exposure: 2_000, trigger: 'On' });
    },
  );

  it('tells which camera does not answer, and goes on when it does', { timeout: 120_000 }, async () => {
    const address = ownAddress();
    const camera = gigeConfig({ address });
    const { problem } = await lookUntil(camera, ({ state }) => state === 'lost');
    expect(problem).toMatchObject({ code: 'CAMERA_LOST' });
    expect(problem!.message).toContain(address);
    await using simulator = await startSimulator({ address, width: 320, height: 240 });
    expect(await pictureOf(camera)).toMatchObject({ width: 320 });
    await client.call('cameras.endPreview', { stationId });
    expect(simulator.status().controller).toBeNull();
    const device = await openDevice(await foundCamera(address), { cameraId: 'other', control: true });
    try {
      const busy = await lookUntil(camera, ({ problem }) => problem?.code === 'CAMERA_BUSY');
      expect(busy.state).toBe('lost');
    } finally {
      await device.close();
    }
  });

  it('shows the newest file of a folder, which stays for the line to take', async () => {
    const path = join(folder, 'pictures');
    mkdirSync(path);
    const camera = cameraConfigSchema.parse({ kind: 'folder', path, after: 'move', pollMs: 50 });
    const picture = (side: number) =>
      encodePng({ width: side, height: side, channels: 1, data: new Uint8Array(side * side).fill(99) });
    await lookUntil(camera, ({ state, picture: shown }) => state === 'delivering' && shown === null);
    writeFileSync(join(path, 'a.png'), await picture(40));
    expect(await pictureOf(camera)).toMatchObject({ width: 40 });
    writeFileSync(join(path, 'b.png'), 'no picture');
    const bad = await lookUntil(camera, ({ problem }) => problem !== null);
    expect(bad.problem).toMatchObject({ code: 'IMAGE_UNREADABLE' });
    writeFileSync(join(path, 'c.png'), await picture(60));
    await lookUntil(camera, ({ picture: shown }) => shown?.width === 60);
    expect(readdirSync(path).toSorted()).toEqual(['a.png', 'b.png', 'c.png']);
    expect(readdirSync(join(home, 'spool')).filter((name) => name.endsWith('.taken'))).toEqual([]);
    rmSync(path, { recursive: true });
    const away = await lookUntil(camera, ({ state }) => state === 'lost');
    expect(away.problem).toMatchObject({ code: 'CAMERA_LOST' });
  });
});

test('a line that a demo refuses takes the camera from nobody who looks at one', async () => {
  using at = await createLineHome({ demo: true });
  const { line, configure, start } = listenedLine();
  const look = () => line['line.preview']({ camera: simulated, after: 0 }, null, new AbortController().signal);
  try {
    await configure(at.home, lineStation({ kind: 'usb', label: 'Camera' }), null);
    await expect.poll(async () => (await look())?.picture ?? null, POLL).not.toBeNull();
    await expect(start()).rejects.toMatchObject({ code: 'DEMO_FORBIDS' });
    expect(await look()).toMatchObject({ state: 'delivering', picture: { width: 1920 } });
  } finally {
    await line.dispose();
  }
});
