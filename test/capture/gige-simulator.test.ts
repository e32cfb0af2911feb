import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../main/capture/gige/device.ts';
import { createGigeCamera, findCamera } from '../../main/capture/gige/camera.ts';
import type { SimulatorSettings } from '../../main/capture/gige/simulator/settings.ts';
import { startSimulator, type Simulator } from '../../main/capture/gige/simulator/simulator.ts';
import { patternFormats } from '../../main/capture/gige/simulator/test-pattern.ts';
import {
  foundCamera,
  gigeConfig,
  ownAddress,
  receiveFrom,
  settingsOf,
  turns,
  type Reception,
} from '../helpers/simulated-gige.ts';

/** Few packets a second: simulator and driver share a thread here, and whatever else this machine does takes from both. */
const small = { width: 128, height: 96, framesPerSecond: 25 };

const until =
  (frames: number) =>
  async ({ ids }: Reception) => {
    await expect.poll(() => ids.length).toBeGreaterThanOrEqual(frames);
  };
const consecutive = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
/** Every frame from the first on came, and is the pattern to the byte. */
const expectAll = ({ ids, wrong, lost }: Reception, first = 1) => {
  expect(ids).toEqual(consecutive(first, ids.length));
  expect(wrong).toEqual([]);
  expect(lost).toEqual({});
};
const lostOf = ({ lost }: Reception) => Object.values(lost).reduce((sum, count) => sum + count, 0);

describe('frames from the simulated camera', () => {
  it('come one and all, byte for byte', async () => {
    expectAll(await receiveFrom(small, {}, until(60)));
  });

  it('come one and all though packets are lost, overtaken and doubled', async () => {
    const faults = { lossPerMille: 10, reorderPerMille: 20, duplicatePerMille: 20, largestPacket: 576 };
    const reception = await receiveFrom({ ...small, ...faults }, {}, until(200));
    expectAll(reception);
    const { simulator, acquisition } = reception;
    const { dropped, reordered, duplicated, resent } = simulator.status();
    for (const count of [dropped, reordered, duplicated, resent]) expect(count).toBeGreaterThan(30);
    expect(acquisition.packetSize).toBe(576);
    expect(acquisition.counts.resendRequests).toBeGreaterThanOrEqual(resent);
  });

  it('come one and all though packets and answers are late', async () => {
    // 60 ms: in time for the driver's patience. 150 ms: announced by PENDING_ACK.
    for (const lateMs of [60, 150]) {
      const reception = await receiveFrom({ ...small, lateMs, largestPacket: 576 }, {}, until(40));
      expectAll(reception);
      expect(reception.simulator.status().late).toBeGreaterThan(5);
    }
  });

  it.each(patternFormats)('come in %s', async (pixelFormat) => {
    expectAll(await receiveFrom({ ...small, pixelFormat }, {}, until(3)));
  });

  it('come in the format that the configuration names', async () => {
    const format = 'Mono12p';
    const reception = await receiveFrom(small, { pixelFormat: format, exposureUs: 250, gain: 6 }, async (now) => {
      await until(3)(now);
      const { features } = now.acquisition.device;
      expect(await features.text('PixelFormat')).toBe(format);
      expect(await features.float('ExposureTime')).toBe(250);
      expect(await features.float('Gain')).toBe(6);
      // What would change the size of a frame is locked while frames come.
      await expect(features.set('Width', 64)).rejects.toThrow(/cannot be set now/);
    });
    expectAll(reception);
  });

  it.each(['extended', 'plain'] as const)('come without their %s chunk data', async (chunks) => {
    // 12 bits of an odd number of pixels: the chunk data does not begin where the picture ends.
    expectAll(await receiveFrom({ ...small, width: 20, height: 6, pixelFormat: 'Mono12p', chunks }, {}, until(5)));
    expectAll(await receiveFrom({ ...small, chunks }, {}, until(5)));
  });

  it('come from a camera whose description is zipped', async () => {
    expectAll(await receiveFrom({ ...small, zippedXml: true }, {}, until(3)));
  });

  it('come with 64-bit ids', async () => {
    const first = 2 ** 40 + 7;
    const faults = { extendedIds: true, firstBlockId: first, lossPerMille: 10, largestPacket: 576 };
    expectAll(await receiveFrom({ ...small, ...faults }, {}, until(60)), first);
  });

  it('come past id 65535', async () => {
    const reception = await receiveFrom({ ...small, firstBlockId: 65_531, lossPerMille: 10 }, {}, until(12));
    expect(reception.ids.slice(0, 8)).toEqual([65_531, 65_532, 65_533, 65_534, 65_535, 1, 2, 3]);
    expect([reception.wrong, reception.lost]).toEqual([[], {}]);
  });
});

describe('frames that cannot be had', () => {
  const lossy = { ...small, lossPerMille: 15, largestPacket: 576 };
  it('are counted, each, where the camera cannot send again', async () => {
    const reception = await receiveFrom({ ...lossy, resend: 'no' }, {}, async ({ ids, lost }) => {
      await expect.poll(() => Object.values(lost).length > 0 && ids.length > 40).toBe(true);
    });
    const { simulator, acquisition, ids, wrong } = reception;
    expect(acquisition.counts.resendRequests).toBe(0);
    expect(wrong).toEqual([]);
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(ids.length + lostOf(reception)).toBe(simulator.status().frames);
  });

  it('are counted where the camera says that it can and does not, which is told', async () => {
    const reception = await receiveFrom({ ...lossy, resend: 'ignored' }, {}, async ({ troubles, ids }) => {
      await expect.poll(() => troubles.length).toBeGreaterThan(0);
      const before = ids.length;
      await expect.poll(() => ids.length).toBeGreaterThan(before + 10);
    });
    expect(reception.troubles).toEqual(['CAMERA_NO_RESEND']);
    expect(reception.wrong).toEqual([]);
    expect(reception.ids.length + lostOf(reception)).toBe(reception.simulator.status().frames);
  });

  it('are refused of a camera that lies about its sizes', async () => {
    await expect(
      receiveFrom({ ...small, width: 512, height: 512, lie: 'payload' }, {}, until(1)),
    ).rejects.toMatchObject({
      code: 'CAMERA_FEATURE',
      message: expect.stringMatching(/PayloadSize is 4194304 bytes, its picture has 262144/) as string,
    });
    const reception = await receiveFrom({ ...small, lie: 'leader' }, {}, async ({ lost }) => {
      await expect.poll(() => lost.malformed ?? 0).toBeGreaterThan(5);
    });
    expect(reception.ids).toEqual([]);
    await expect(receiveFrom({ ...small, pixelFormat: 'Mono9' }, {}, until(1))).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  });
});

describe('the camera port', () => {
  type Options = Partial<Parameters<typeof createGigeCamera>[1]>;
  const openAt = async (address: string, config: object = {}, options: Options = {}) => {
    const camera = createGigeCamera(gigeConfig({ address, ...config }), { cameraId: 'C', maxPixels: 1e8, ...options });
    const [states, problems, troubles, frames]: [string[], string[], string[], string[]] = [[], [], [], []];
    await camera.open(
      { offer: ({ source }) => frames.push(source) > 0, whenFree: async () => {}, missed: () => {} },
      {
        onState(state) {
          states.push(state.kind);
          if (state.kind === 'lost') problems.push(state.problem.code);
        },
        onRejected: () => {},
        onTrouble: (problem) => troubles.push(problem?.code ?? 'over'),
      },
    );
    return { camera, states, problems, troubles, frames };
  };
  const open = async (settings: Partial<SimulatorSettings>, options: Options = {}) => {
    const address = ownAddress();
    const simulator = await startSimulator({ address, ...small, ...settings });
    const opened = await openAt(address, {}, options);
    return {
      ...opened,
      address,
      simulator,
      async [Symbol.asyncDispose]() {
        await opened.camera.dispose();
        await simulator.close();
      },
    };
  };
  /** Each wants it: on a busy machine the one that lost it may be the first again. */
  const takeAway = async (
    { address, simulator }: { address: string; simulator: Simulator },
    tries = 10,
  ): Promise<Awaited<ReturnType<typeof openDevice>>> => {
    const found = await foundCamera(address);
    simulator.dropController();
    return openDevice(found, { cameraId: 'other', control: true }).catch((error: unknown) => {
      if (tries === 0) throw error;
      return takeAway({ address, simulator }, tries - 1);
    });
  };

  it('finds a camera again that went silent and came back as new', async () => {
    await using at = await open({ downMs: 400 });
    for (const times of [1, 2]) {
      const before = at.frames.length;
      await expect.poll(() => at.frames.length).toBeGreaterThan(before + 3);
      at.simulator.disconnect();
      await expect.poll(() => at.states.filter((state) => state === 'lost').length).toBeGreaterThanOrEqual(times);
    }
    await expect.poll(() => at.states.at(-1)).toBe('delivering');
    expect(at.simulator.status().disconnects).toBe(2);
  });

  it('takes control again that it lost, also from another program', async () => {
    await using at = await open({});
    await expect.poll(() => at.frames.length).toBeGreaterThan(3);
    at.simulator.dropController();
    await expect.poll(() => turns(at.states)).toEqual(['delivering', 'lost', 'delivering']);

    const other = await takeAway(at);
    try {
      // Whoever has it, the register of privilege looks the same: it is the refused write that tells.
      await expect.poll(() => at.problems.at(-1)).toBe('CAMERA_BUSY');
    } finally {
      await other.close();
    }
    await expect.poll(() => at.states.at(-1)).toBe('delivering');
    const before = at.frames.length;
    await expect.poll(() => at.frames.length).toBeGreaterThan(before);
  });

  it('gets its settings of before back, from whoever opens it next, where it was lost while somebody only looked', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mekiki-settings-'));
    const settingsFile = join(folder, 'st-1.settings-before');
    const address = ownAddress();
    await using simulator = await startSimulator({ address, ...small });
    const first = await openDevice(await foundCamera(address), { cameraId: 'C', control: true });
    await first.features.set('ExposureTime', 2_000);
    await first.features.set('TriggerMode', 'On');
    await first.features.set('TriggerSource', 'Line1');
    const before = await settingsOf(first);
    await first.close();

    const shown = { exposureUs: 750, gain: 6, trigger: { mode: 'off' } };
    const looking = await openAt(address, shown, { settingsFile, putsBack: true });
    await expect.poll(() => looking.frames.length).toBeGreaterThan(1);
    const other = await takeAway({ address, simulator });
    await expect.poll(() => looking.problems.at(-1)).toBe('CAMERA_BUSY');
    await looking.camera.dispose();
    expect(await settingsOf(other)).toEqual({ exposure: 750, gain: 6, trigger: 'Off' });
    await other.close();

    // The line of a station that names an exposure alone: the camera waits for its trigger, as it did.
    const line = await openAt(address, { exposureUs: 500 }, { settingsFile });
    await expect.poll(() => line.states.at(-1)).toBe('delivering');
    await line.camera.dispose();
    const last = await openDevice(await foundCamera(address), { cameraId: 'C', control: true });
    expect(await settingsOf(last)).toEqual({ ...before, exposure: 500 });
    // Once: what is set from now on is not taken back.
    await last.features.set('TriggerMode', 'Off');
    await last.close();
    const again = await openAt(address, {}, { settingsFile });
    await expect.poll(() => again.frames.length).toBeGreaterThan(1);
    await again.camera.dispose();
    rmSync(folder, { recursive: true });
  });

  it('lets go of the camera when it is disposed of', async () => {
    const at = await open({});
    await expect.poll(() => at.frames.length).toBeGreaterThan(1);
    await at.camera.dispose();
    expect(at.simulator.status().controller).toBeNull();
    const before = at.simulator.status().frames;
    await findCamera({ address: at.address });
    expect(at.simulator.status().frames).toBe(before);
    await at.simulator.close();
  });

  it('gives one frame per software trigger, and none without; what fails of one is told until the next', async () => {
    await using at = await open({ framesPerSecond: 1_000, busyTriggers: 1 }, { triggering: 'software' });
    expect(at.camera.trigger!()).toBe(false);
    await expect.poll(() => at.states.at(-1)).toBe('delivering');
    expect(at.camera.trigger!()).toBe(true);
    await expect.poll(() => at.troubles).toEqual(['CAMERA_LOST']);
    for (let count = 1; count <= 5; count += 1) {
      expect(at.camera.trigger!()).toBe(true);
      await expect.poll(() => at.frames.length).toBe(count);
    }
    expect(at.simulator.status().frames).toBe(5);
    await expect.poll(() => at.troubles).toEqual(['CAMERA_LOST', 'over']);
    at.simulator.disconnect(60_000);
    // Behind a heartbeat that nobody answers: it fails when the camera is lost.
    await sleep(600);
    at.camera.trigger!();
    await expect.poll(() => at.states.at(-1)).toBe('lost');
    expect(at.troubles).toHaveLength(2);
  });

  it('gives pictures in free run where a line left it waiting for triggers by program; one for its input it keeps', async () => {
    const address = ownAddress();
    await using simulator = await startSimulator({ address, ...small });
    const deliver = async (options: Options) => {
      const opened = await openAt(address, {}, options);
      await expect.poll(() => opened.states.at(-1)).toBe('delivering');
      return opened;
    };
    await (await deliver({ triggering: 'software' })).camera.dispose();
    const free = await deliver({});
    await expect.poll(() => free.frames.length, { timeout: 10_000 }).toBeGreaterThan(2);
    await free.camera.dispose();

    const device = await openDevice(await foundCamera(address), { cameraId: 'C', control: true });
    await device.features.set('TriggerSource', 'Line1');
    await device.features.set('TriggerMode', 'On');
    await device.close();
    await (await deliver({})).camera.dispose();
    const last = await openDevice(await foundCamera(address), { cameraId: 'C', control: true });
    expect(await settingsOf(last)).toMatchObject({ trigger: 'On' });
    await last.close();
    expect(simulator.status().controller).toBeNull();
  });

  it('gives one frame per pulse at the input of the camera', async () => {
    const address = ownAddress();
    await using simulator = await startSimulator({ address, ...small, framesPerSecond: 0.01 });
    const config = gigeConfig({ address, trigger: { mode: 'on', source: 'Line1' } });
    await using camera = createGigeCamera(config, { cameraId: 'C', maxPixels: 1e8, triggering: 'hardware' });
    let [frames, state] = [0, ''];
    await camera.open(
      { offer: () => (frames += 1) > 0, whenFree: async () => {} },
      { onState: ({ kind }) => (state = kind), onRejected: () => {}, onTrouble: () => {} },
    );
    await expect.poll(() => state).toBe('delivering');
    expect(camera.trigger).toBeUndefined();
    // The first pulse of the simulated line comes by itself, the next one a hundred seconds later.
    await expect.poll(() => frames).toBe(1);
    for (let count = 2; count <= 5; count += 1) {
      simulator.pulse();
      await expect.poll(() => frames).toBe(count);
    }
  });

  it('says that nothing comes from a camera that sends of its own accord, until something does', async () => {
    // Every packet of the stream is lost, as behind a firewall; what is asked over the control channel is answered.
    await using deaf = await open({ lossPerMille: 1_000 }, { silenceMs: 300 });
    await expect.poll(() => deaf.troubles).toEqual(['CAMERA_SILENT']);
    expect(deaf.states).toEqual(['starting', 'delivering']);
    await using slow = await open({ framesPerSecond: 0.5 }, { silenceMs: 500 });
    await expect.poll(() => slow.troubles.slice(0, 2)).toEqual(['CAMERA_SILENT', 'over']);
  });

  it('finds nothing wrong with the silence of a camera that waits for its own input', async () => {
    const address = ownAddress();
    await using simulator = await startSimulator({ address, ...small, framesPerSecond: 0.01 });
    const config = { trigger: { mode: 'on', source: 'Line1' } };
    const { camera, frames, troubles } = await openAt(address, config, { silenceMs: 1 });
    // A hundred times as long as that between two of them.
    for (let count = 1; count <= 3; count += 1) {
      await expect.poll(() => frames.length, { interval: 100 }).toBe(count);
      simulator.pulse();
    }
    expect(troubles).toEqual([]);
    await camera.dispose();
  });

  it('warns of a small receive buffer', async () => {
    await using at = await open({}, { receiveBufferBytes: 64 * 1024 });
    await expect.poll(() => at.troubles).toEqual(['CAMERA_BUFFER_SMALL']);
    await expect.poll(() => at.frames.length).toBeGreaterThan(1);
  });
});
