import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../contract/errors.ts';
import type { Camera, CameraListener, FrameSink } from '../camera.ts';
import { startAcquisition, type Acquisition, type GigeConfig, type Triggering } from './acquisition.ts';
import { cameraError, type DescriptionCache } from './device.ts';
import { discover, isDevice, type FoundDevice } from './discovery.ts';
import { openSettingsBefore } from './settings-before.ts';
import { LEAST_BUFFER_BYTES } from './stream-channel.ts';

export type { GigeConfig } from './acquisition.ts';

const FIRST_RETRY_MS = 100;
const MOST_RETRY_MS = 1_000;
/** A camera that sends of its own accord and from which nothing comes for so long is heard by nobody; frames are a few seconds apart at most. */
const SILENCE_MS = 15_000;

/** The camera that a configuration means; where it was last is asked first. null: it does not answer. */
export async function findCamera(
  config: Pick<GigeConfig, 'serial' | 'address'>,
  options: { last?: string | null; signal?: AbortSignal } = {},
): Promise<FoundDevice | null> {
  const { signal } = options;
  const matches = (device: FoundDevice) =>
    config.serial !== undefined ? isDevice(device, config.serial) : device.address === config.address;
  const search = async (addresses: string[], broadcast: boolean, waitMs?: number) => {
    const asked = {
      addresses,
      broadcast,
      until: matches,
      ...(signal ? { signal } : {}),
      ...(waitMs ? { waitMs } : {}),
    };
    return (await discover(asked)).find(matches) ?? null;
  };
  const known = [config.address, options.last].filter((address) => typeof address === 'string');
  const there = known.length > 0 ? await search(known, false, 300) : null;
  return there ?? (config.serial === undefined ? null : search(known, true));
}

const gravest = ['silence', 'trigger', 'stream', 'buffer'] as const;
type Trouble = (typeof gravest)[number];

/** Of one connection. `tell` hears the gravest; null: all are over. */
function createTroubles(tell: (problem: AppError | null) => void) {
  const now = new Map<Trouble, AppError>();
  return {
    set(source: Trouble, problem: AppError | null): void {
      if (problem !== null) now.set(source, problem);
      else if (!now.delete(source)) return;
      tell(gravest.map((each) => now.get(each)).find((known) => known !== undefined) ?? null);
    },
  };
}

/**
 * Looks now and then whether anything comes from a camera that sends of its own accord.
 * @param tell hears how long nothing has come, ms, when that is too long, and null when something comes again
 */
function watchSilence(
  { unasked, silentMs }: Pick<Acquisition, 'unasked' | 'silentMs'>,
  mostMs: number,
  tell: (silentMs: number | null) => void,
): Disposable {
  let silent = false;
  const look = () => {
    const now = silentMs();
    if (now >= mostMs === silent) return;
    silent = !silent;
    tell(silent ? now : null);
  };
  const timer = unasked ? setInterval(look, mostMs / 10) : undefined;
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/**
 * A GigE Vision camera. Looked for until it is there; when it is lost, looked for again with growing pauses. Frames that were sent
 * but did not come whole are counted by the sink and never shown.
 */
export function createGigeCamera(
  config: GigeConfig,
  options: {
    cameraId: string;
    maxPixels: number;
    triggering?: Triggering;
    receiveBufferBytes?: number;
    /** Default: SILENCE_MS. */
    silenceMs?: number;
    /** Where the settings of cameras that are only looked at lie until they are put back; absent: none are. */
    settingsFile?: string;
    /** Only looked at: left with the settings that it had before. */
    putsBack?: boolean;
  },
): Camera {
  const { cameraId, triggering = 'free-run', settingsFile, silenceMs = SILENCE_MS } = options;
  const beforeOf = settingsFile === undefined ? null : openSettingsBefore(settingsFile);
  const stop = new AbortController();
  const { signal } = stop;
  const cache: DescriptionCache = new Map();
  let running: Promise<void> = Promise.resolve();
  /** null: it is lost. */
  let trigger: (() => void) | null = null;

  const run = async (sink: FrameSink, listener: CameraListener) => {
    let last: string | null = null;
    let pause = FIRST_RETRY_MS;
    let told: string | null = null;
    const tellLost = (error: unknown) => {
      const problem = cameraError(cameraId, error);
      if (told !== problem.message) listener.onState({ kind: 'lost', problem });
      told = problem.message;
    };
    while (!signal.aborted) {
      let acquisition: Acquisition | null = null;
      let over = false;
      // What fails because the camera is lost is not told beside the loss, nor after it.
      const troubles = createTroubles((problem) => {
        if (!over) listener.onTrouble(problem);
      });
      const ended = Promise.withResolvers<unknown>();
      const onAbort = () => ended.resolve(null);
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        const found = await findCamera(config, { last, signal });
        if (!found) throw new Error(`no answer from ${config.serial ?? config.address}`);
        acquisition = await startAcquisition(
          found,
          config,
          { ...options, cache, signal, ...(beforeOf && { before: beforeOf(found.id) }) },
          {
            // What was still under way when the camera was lost comes after whoever waited for it was answered.
            onFrame: (frame) => void (over ? sink.missed?.(1) : sink.offer(frame)),
            onMissed: (count) => sink.missed?.(count),
            onLost(error) {
              over = true;
              ended.resolve(error);
            },
            onTrouble: (problem) => troubles.set('stream', problem),
          },
        );
        const started = acquisition;
        trigger = () =>
          void started.trigger().then(
            () => troubles.set('trigger', null),
            (error: unknown) => {
              troubles.set('trigger', cameraError(cameraId, error));
              sink.unconfirmed?.();
            },
          );
        last = found.address;
        pause = FIRST_RETRY_MS;
        told = null;
        listener.onState({ kind: 'delivering' });
        if (acquisition.bufferBytes < LEAST_BUFFER_BYTES) {
          const details = { cameraId, bytes: acquisition.bufferBytes, least: LEAST_BUFFER_BYTES };
          troubles.set('buffer', new AppError('CAMERA_BUFFER_SMALL', details));
        }
        using _ = watchSilence(acquisition, silenceMs, (silentMs) =>
          troubles.set(
            'silence',
            silentMs === null
              ? null
              : new AppError('CAMERA_SILENT', { cameraId, seconds: Math.round(silentMs / 1000) }),
          ),
        );
        const error = await ended.promise;
        if (!signal.aborted) tellLost(error);
      } catch (error) {
        if (!signal.aborted) tellLost(error);
      } finally {
        signal.removeEventListener('abort', onAbort);
        trigger = null;
        await acquisition?.stop();
      }
      await sleep(pause, undefined, { signal }).catch(() => {});
      pause = Math.min(2 * pause, MOST_RETRY_MS);
    }
  };

  const dispose = async () => {
    stop.abort();
    await running;
  };
  return {
    async open(sink, listener) {
      listener.onState({ kind: 'starting' });
      running = run(sink, listener);
    },
    ...(triggering === 'software' && {
      trigger() {
        // While it is lost nothing is triggered.
        trigger?.();
        return trigger !== null;
      },
    }),
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}
