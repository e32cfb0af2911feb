/*
 * GigE Vision against two peers: Aravis' fake camera (another program, not ours) and the simulated camera in a process of its own.
 *
 *   node main/host/build/launch.mjs test/bench/gige.ts            all, written to results/gige.json
 *   node main/host/build/launch.mjs test/bench/gige.ts PART…      some (aravis lossy faults disconnects fuzz), printed
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { startAcquisition } from '../../main/capture/gige/acquisition.ts';
import { createGigeCamera, findCamera, type GigeConfig } from '../../main/capture/gige/camera.ts';
import { openDevice } from '../../main/capture/gige/device.ts';
import { startSimulator } from '../../main/capture/gige/simulator/simulator.ts';
import { patternBytes } from '../../main/capture/gige/simulator/test-pattern.ts';
import type { CameraFrame } from '../../main/capture/camera.ts';
import { createPacketFuzz } from '../helpers/gige-fuzz.ts';
import { createDescriptionFuzz } from '../helpers/genicam-fuzz.ts';
import { gigeConfig, ownAddress } from '../helpers/simulated-gige.ts';
import { record, spread } from './record.ts';

const SECONDS = 30;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const round = (value: number, digits = 2) => Math.round(value * 10 ** digits) / 10 ** digits;

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}
async function waitFor(config: Pick<GigeConfig, 'serial' | 'address'>) {
  for (let tries = 0; tries < 60; tries += 1) {
    const found = await findCamera(config);
    if (found) return found;
  }
  throw new Error(`no camera ${config.serial ?? config.address}`);
}

interface Reception {
  frames: number;
  lost: number;
  framesPerSecond: number;
  megabytesPerSecond: number;
  packetSize: number;
  receiveBufferBytes: number;
  packetsAskedFor: number;
  packetsResent: number;
  packetsTwice: number;
  /** Busy time of this process over wall time; receiving, checking and all. */
  cpuShare: number;
  /** Ids without a frame, from the first frame to the last. */
  missingIds: number;
  /** Lost ones that were counted before the first frame. */
  lostBeforeFirstFrame: number;
  /** Lost ones that were counted beyond the last frame (what was under way at the end). Never negative: none goes uncounted. */
  lostAfterLastFrame: number;
  outOfOrder: number;
}
async function receive(config: GigeConfig, check: (id: number, frame: CameraFrame) => void): Promise<Reception> {
  const found = await waitFor(config);
  let [frames, lost, bytes, outOfOrder, last, seen, before] = [0, 0, 0, 0, 0, 0, 0];
  const acquisition = await startAcquisition(
    found,
    config,
    { cameraId: found.id, maxPixels: 1e8, cache: new Map(), signal: new AbortController().signal },
    {
      onFrame(frame) {
        const id = Number(frame.source.slice('frame '.length));
        // 16-bit ids go round from 65535 to 1.
        const step = frames === 0 ? 1 : (id - last + 65_535) % 65_535;
        if (step === 0 || step > 30_000) outOfOrder += 1;
        if (frames === 0) before = lost;
        last = id;
        seen += step;
        frames += 1;
        bytes += frame.image.data.length;
        check(id, frame);
      },
      onMissed: (count) => (lost += count),
      onLost: (error) => {
        throw error;
      },
      onTrouble: (problem) => problem && process.stderr.write(`${problem.message}\n`),
    },
  );
  const begun = performance.now();
  const cpu = process.cpuUsage();
  await sleep(SECONDS * 1_000);
  const seconds = (performance.now() - begun) / 1_000;
  const used = process.cpuUsage(cpu);
  const during = { frames, bytes };
  await acquisition.stop();
  const { counts } = acquisition;
  return {
    frames,
    lost,
    framesPerSecond: round(during.frames / seconds),
    megabytesPerSecond: round(during.bytes / seconds / 1e6),
    packetSize: acquisition.packetSize,
    receiveBufferBytes: acquisition.bufferBytes,
    packetsAskedFor: counts.resendRequests,
    packetsResent: counts.resent,
    packetsTwice: counts.duplicates,
    cpuShare: round((used.user + used.system) / 1e6 / seconds),
    missingIds: seen - frames,
    lostBeforeFirstFrame: before,
    lostAfterLastFrame: lost - before - (seen - frames),
    outOfOrder,
  };
}

const peer = 'arv-fake-gv-camera-0.8';
/** 512 x 512 Mono8 at the highest rate that the camera says it has. @param lossPerMille packets that it leaves out */
async function fromAravis(lossPerMille: number) {
  if (spawnSync(peer, ['--help']).error) throw new Error(`${peer} is not installed (Debian aravis-tools)`);
  const serial = `BENCH${lossPerMille}`;
  const child = spawn(
    peer,
    ['-i', '127.0.0.1', '-s', serial, ...(lossPerMille > 0 ? ['-r', String(lossPerMille)] : [])],
    {
      stdio: 'ignore',
    },
  );
  try {
    const found = await waitFor({ serial });
    const device = await openDevice(found, { cameraId: serial, control: true });
    const highest = (await device.features.range('AcquisitionFrameRate'))!.max;
    await device.features.set('ExposureTimeAbs', 10);
    await device.features.set('AcquisitionFrameRate', highest);
    const version = await device.features.text('DeviceVersion');
    await device.close();
    let padded = 0;
    const reception = await receive(gigeConfig({ serial }), (_, { image }) => {
      if (image.data.length !== 512 * 512) padded += 1;
    });
    return { peer: `Aravis ${version}`, highestFramesPerSecond: highest, lossPerMille, padded, ...reception };
  } finally {
    await stop(child, 'SIGKILL');
  }
}

/** The shipped simulator in its own process: everything goes wrong at once, and every byte is known. */
async function fromSimulator() {
  const address = ownAddress();
  const faults = { lossPerMille: 10, reorderPerMille: 20, duplicatePerMille: 20 };
  const entry = fileURLToPath(new URL('../../main/host/cli/main.ts', import.meta.url));
  const options = [
    ['--address', address],
    ['--serial', 'BENCH'],
    ['--rate', '30'],
    ['--largest-packet', '1500'],
    ['--loss-per-mille', String(faults.lossPerMille)],
    ['--reorder', String(faults.reorderPerMille)],
    ['--duplicate', String(faults.duplicatePerMille)],
  ];
  const child = spawn(process.execPath, [entry, 'simulate', 'gige', '--json', ...options.flat()], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  child.stdout!.on('data', (text: Buffer) => (said += text.toString()));
  try {
    let notEqual = 0;
    const reception = await receive(gigeConfig({ address }), (id, { image }) => {
      if (!patternBytes(id, image.data.length).equals(image.data)) notEqual += 1;
    });
    await stop(child, 'SIGTERM');
    const sent = JSON.parse(said) as Record<string, number>;
    return {
      ...faults,
      sent: { frames: sent.frames, packets: sent.packets, dropped: sent.dropped, reordered: sent.reordered },
      duplicated: sent.duplicated,
      resent: sent.resent,
      notEqual,
      everyFrameWhole: reception.lost === 0 && reception.frames === sent.frames && notEqual === 0,
      ...reception,
    };
  } finally {
    await stop(child, 'SIGKILL');
  }
}

const CAMERAS = 10;
const DISCONNECTS = 20;
/** Cameras that go silent for 0.1 to 1.5 s and come back as if just switched on, again and again. */
async function disconnects() {
  const fromBack: number[] = [];
  const fromSilence: number[] = [];
  let failed = 0;
  const one = async (number: number) => {
    const address = ownAddress();
    await using simulator = await startSimulator({ address, serial: `D${number}`, width: 128, height: 128 });
    await using camera = createGigeCamera(gigeConfig({ address }), { cameraId: `D${number}`, maxPixels: 1e8 });
    let onFrame = () => {};
    await camera.open(
      { offer: () => (onFrame(), true), whenFree: async () => {} },
      { onState: () => {}, onRejected: () => {}, onTrouble: () => {} },
    );
    const nextFrame = () =>
      new Promise<boolean>((resolve) => {
        const timer = setTimeout(resolve, 30_000, false);
        onFrame = () => {
          clearTimeout(timer);
          resolve(true);
        };
      });
    if (!(await nextFrame())) throw new Error('no first frame');
    for (let times = 0; times < DISCONNECTS; times += 1) {
      const downMs = 100 + ((number * 37 + times * 71) % 15) * 100;
      const begun = performance.now();
      simulator.disconnect(downMs);
      // What was sent before may still be under way.
      onFrame = () => {};
      await sleep(50);
      if (!(await nextFrame())) failed += 1;
      const passed = performance.now() - begun;
      fromSilence.push(passed);
      fromBack.push(passed - downMs);
    }
  };
  await Promise.all(Array.from({ length: CAMERAS }, (_, i) => one(i)));
  const figures = (values: number[]) => {
    const { min, median, max } = spread(values);
    return { min: Math.round(min), median: Math.round(median), max: Math.round(max) };
  };
  return {
    disconnects: fromBack.length,
    camerasAtOnce: CAMERAS,
    silentMs: [100, 1_500],
    recovered: fromBack.length - failed,
    /** From the camera's being there again to its first whole frame. */
    backToFrameMs: figures(fromBack),
    silentToFrameMs: figures(fromSilence),
    within3sOfSilence: fromSilence.filter((ms) => ms <= 3_000).length,
  };
}

const PACKETS = 1_000_000;
const DESCRIPTIONS = 5_000;
/** A packet or a description that is not caught ends the bench. */
async function fuzz() {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const held = () => {
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const packets = createPacketFuzz(1);
  for (let i = 0; i < PACKETS / 10; i += 1) packets.next();
  const before = held();
  const begun = performance.now();
  for (let i = 0; i < PACKETS; i += 1) packets.next();
  const seconds = (performance.now() - begun) / 1_000;
  const growthBytes = held() - before;
  const { read, pictures, driver, device } = packets.counts();
  const descriptions = createDescriptionFuzz(1);
  for (let i = 0; i < DESCRIPTIONS / 10; i += 1) await descriptions.next();
  const beforeDescriptions = held();
  for (let i = 0; i < DESCRIPTIONS; i += 1) await descriptions.next();
  return {
    packets: PACKETS,
    growthBytes,
    seconds: round(seconds),
    readAsStreamPackets: read,
    pictures,
    blocksLost: driver.lost,
    answersOfTheDevice: device.answers,
    descriptions: { count: DESCRIPTIONS, growthBytes: held() - beforeDescriptions, ...descriptions.counts },
  };
}

const parts: Record<string, () => Promise<unknown>> = {
  aravis: () => fromAravis(0),
  lossy: () => fromAravis(10),
  faults: fromSimulator,
  disconnects,
  fuzz,
};
const wanted = process.argv.slice(2);
const result: Record<string, unknown> = {};
for (const [name, run] of Object.entries(parts)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  process.stderr.write(`${name} …\n`);
  result[name] = await run();
  process.stderr.write(`${JSON.stringify(result[name])}\n`);
}
if (wanted.length === 0)
  record('gige', 'node main/host/build/launch.mjs test/bench/gige.ts', {
    seconds: SECONDS,
    /** Of the whole machine over the last 15 minutes; its cores are in `machine`. */
    loadAverage: round(loadavg()[2]!),
    ...result,
  });
