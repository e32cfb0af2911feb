import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { SimulatorSettings } from '../../main/capture/gige/simulator/settings.ts';
import { startSimulator } from '../../main/capture/gige/simulator/simulator.ts';
import { lineOutputSchema } from '../../main/contract/domain.ts';
import { encodePng } from '../../main/vision/decode.ts';
import { openPlc } from '../helpers/plc.ts';
import { ownAddress } from '../helpers/simulated-gige.ts';
import { createLineHome, lineSettings, lineStation, listenedLine, STATION, until, type LineHome } from './line-home.ts';

let at: LineHome;
beforeEach(async () => {
  at = await createLineHome();
});
afterEach(() => at[Symbol.dispose]());

/** A disk that does not answer: whoever reads this file waits until `answer`, and then finds it gone. Nothing for Windows, which has no such files. */
function hungFile(path: string): { answer(): void } {
  execFileSync('mkfifo', [path]);
  const writer = openSync(path, constants.O_RDWR);
  return {
    answer() {
      rmSync(path);
      closeSync(writer);
    },
  };
}

test.skipIf(process.platform === 'win32')(
  'a camera that opens after its time is closed again: the line stands, says why, and can be started',
  async () => {
    const folder = join(at.home, 'in');
    mkdirSync(folder);
    mkdirSync(join(at.home, 'spool'));
    const pixels = { width: 64, height: 64, channels: 1, data: new Uint8Array(64 * 64).fill(200) } as const;
    writeFileSync(join(folder, 'part.png'), await encodePng(pixels));
    const disk = hungFile(join(at.home, 'spool', `${STATION}.taken`));
    const line = listenedLine({ cameraMs: 2_000 });
    try {
      const lineOutput = lineOutputSchema.parse({ kind: 'modbus-server', port: 0, acknowledgeTimeoutMs: 60_000 });
      const station = lineStation({ kind: 'folder', path: folder, pollMs: 50 }, { lineOutput });
      await line.configure(at.home, station, await at.bundle('m-1'));
      await until('the line output listens', () => line.status().lineOutput !== null);
      using plc = await openPlc(line.status().lineOutput!.port);
      const slow = { code: 'CAMERA_OPENS_SLOWLY', details: { cameraId: 'Station 1', seconds: 2 } };
      await expect(line.start()).rejects.toMatchObject(slow);
      expect(line.status()).toMatchObject({ state: 'stopped', camera: 'fault', problem: slow });
      expect(await plc.read()).toMatchObject({ running: false, alarm: true });

      disk.answer();
      // What the folder says and shows once it is open after all.
      await sleep(1_000);
      expect(line.status()).toMatchObject({ state: 'stopped', camera: 'fault', problem: slow });
      expect(line.records).toEqual([]);

      await startAtLast(line);
      expect(await plc.until('the part is told', (s) => s.resultReady === true)).toMatchObject({ running: true });
      await until('the part is recorded', () => line.records.length === 1);
      expect(line.status()).toMatchObject({ state: 'running', camera: 'well', problem: null });
      expect(await line.stop()).toMatchObject({ state: 'stopped', camera: 'off', problem: null });
    } finally {
      await line.line.dispose();
    }
  },
);

/** A simulated camera on a thread of its own, which goes on while this one stands still. */
async function cameraBeside(settings: Partial<SimulatorSettings>): Promise<Worker> {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.simulator)
      .then(({ startSimulator }) => startSimulator(workerData.settings))
      .then(() => parentPort.postMessage('ready'));`;
  const simulator = new URL('../../main/capture/gige/simulator/simulator.ts', import.meta.url).href;
  const worker = new Worker(script, { eval: true, workerData: { simulator, settings } });
  await once(worker, 'message');
  return worker;
}

test('a GigE camera that is to wait for inference that hangs is not lost by it', async () => {
  const address = ownAddress();
  await using _simulator = await cameraBeside({ address, width: 64, height: 48, framesPerSecond: 20 });
  const line = listenedLine();
  try {
    const station = lineStation({ kind: 'gige', address }, { line: lineSettings({ dropPolicy: 'block' }) });
    await line.configure(at.home, station, await at.bundle('m-1'));
    await startAtLast(line);
    await until('parts', () => line.records.length >= 2);
    // Longer than a camera keeps a connection that says nothing. This thread judges.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5_000);
    const before = line.records.length;
    await until('parts after it', () => line.records.length >= before + 10);
    expect(line.problemsLogged).toEqual([]);
    expect(line.status()).toMatchObject({ state: 'running', camera: 'well' });
    expect(line.status().droppedFrames).toBeGreaterThan(0);
  } finally {
    await line.line.dispose();
  }
});

/** One that waits behind a camera that is still being closed, and that longer than it has, is asked for anew. */
async function startAtLast(line: ReturnType<typeof listenedLine>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return void (await line.start());
    } catch (error) {
      expect(error).toMatchObject({ code: 'CAMERA_OPENS_SLOWLY' });
      expect(tries).toBeLessThan(20);
    }
  }
}

test('a camera that closes after its time: the line stands, says why, and its late answer is that of no start', async () => {
  const address = ownAddress();
  await using simulator = await startSimulator({ address, width: 64, height: 48 });
  const line = listenedLine({ cameraMs: 700 });
  try {
    await line.configure(at.home, lineStation({ kind: 'gige', address }), await at.bundle('m-1'));
    await startAtLast(line);
    await until('parts', () => line.records.length >= 2);
    // Unplugged: each command of its closing is sent four times, 200 ms apart.
    simulator.disconnect(3_000);
    const slow = { code: 'CAMERA_CLOSES_SLOWLY', details: { cameraId: 'Station 1', seconds: 0.7 } };
    expect(await line.stop()).toMatchObject({ state: 'stopped', camera: 'fault', problem: slow });

    await startAtLast(line);
    const before = line.records.length;
    await until('parts of the camera that is back', () => line.records.length >= before + 2);
    expect(line.status()).toMatchObject({ state: 'running', camera: 'well', problem: null });
  } finally {
    await line.line.dispose();
  }
});
