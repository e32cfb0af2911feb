import { setTimeout as sleep } from 'node:timers/promises';
import type { CameraConfig } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import { feedHeardSchema, readFrame, type FeedAsk, type FeedLoss } from '../../contract/feed.ts';
import type { Camera, CameraListener, FrameSink } from '../camera.ts';
import type { OpenCameraOptions } from '../open-camera.ts';

export type UsbConfig = Extract<CameraConfig, { kind: 'usb' }>;

const FIRST_RETRY_MS = 100;
const MOST_RETRY_MS = 1_000;
/** A page needs a moment to load; then it is told that none is there. */
const PAGE_MS = 5_000;
/** The page itself notices a camera that stands still, after two seconds; one that says nothing for so long hangs. */
const SILENCE_MS = 10_000;
const WATCH_MS = 250;

export interface UsbCameraOptions extends Pick<
  OpenCameraOptions,
  'cameraId' | 'maxPixels' | 'triggering' | 'openFeed'
> {
  pageMs?: number;
  silenceMs?: number;
}

/**
 * A USB camera whose pictures a page reads and sends, each because it was wanted (main/contract/feed.ts). Without a page, or a device,
 * it is lost, and goes on by itself when they are there again.
 */
export function createUsbCamera(config: UsbConfig, options: UsbCameraOptions): Camera {
  const { cameraId, maxPixels, triggering, openFeed, pageMs = PAGE_MS, silenceMs = SILENCE_MS } = options;
  const triggered = triggering === 'software';
  const stop = new AbortController();
  const { signal } = stop;
  let running: Promise<void> = Promise.resolve();
  let trigger: () => boolean = () => false;

  const problemOf = ({ reason, problem }: FeedLoss): AppError => {
    if (reason === 'permission') return new AppError('CAMERA_NOT_PERMITTED', { cameraId, problem });
    return new AppError(reason === 'settings' ? 'CAMERA_CONFIG' : 'CAMERA_LOST', { cameraId, problem });
  };

  /** One connection to whatever page there is, until it closes. */
  const serve = async (
    sink: FrameSink,
    tell: (lost: AppError | null) => void,
    misfit: (problem: string | null) => void,
  ) => {
    const feed = openFeed();
    const ended = Promise.withResolvers<void>();
    let delivering = false;
    let heardAt = performance.now();
    let joined = false;
    let last = 0;
    /** Numbers of the pictures that were asked for and did not come yet, the oldest first. */
    const wanted: number[] = [];

    const want = () => {
      last = (last + 1) % 2 ** 32;
      wanted.push(last);
      feed.send({ want: last, discard: triggered ? config.discard : 0 } satisfies FeedAsk);
    };
    const lost = (problem: AppError) => {
      delivering = false;
      tell(problem);
      const given = wanted.splice(0).length;
      // What nobody asked for piece by piece is not missed piece by piece.
      if (triggered && given > 0) sink.missed?.(given);
    };
    const take = (message: Uint8Array) => {
      const read = readFrame(message, maxPixels);
      const number = 'frame' in read ? read.frame.want : read.want;
      // Wanted before the camera was lost: whoever waited for it has his answer.
      if (number !== null && number !== wanted[0]) return;
      const late = wanted.shift() !== last;
      misfit('frame' in read ? null : read.problem);
      // Wanted for a trigger that was given up before the one that is waited for: it shows another part.
      if (triggered && late) return;
      if ('frame' in read) {
        const { width, height, channels, data } = read.frame;
        const source = `frame ${read.frame.want}`;
        sink.offer({ image: { width, height, channels, data }, capturedAt: new Date(), notes: [], source });
      } else sink.missed?.(1);
      if (!triggered) want();
    };

    feed.onMessage((message) => {
      heardAt = performance.now();
      if (message instanceof Uint8Array) return delivering ? take(message) : undefined;
      const heard = feedHeardSchema.safeParse(message);
      if (!heard.success) return;
      if ('page' in heard.data) {
        joined = heard.data.page === 'joined';
        if (joined) feed.send({ open: config } satisfies FeedAsk);
        else lost(new AppError('CAMERA_NO_WINDOW', { cameraId }));
      } else if ('lost' in heard.data) {
        lost(problemOf(heard.data.lost));
      } else if ('delivering' in heard.data && !delivering) {
        delivering = true;
        tell(null);
        if (!triggered) want();
      }
    });
    feed.onClose(() => ended.resolve());
    trigger = () => {
      // While it is lost nothing is asked for.
      if (delivering) want();
      return delivering;
    };
    const watch = setInterval(() => {
      const silentMs = performance.now() - heardAt;
      if (!joined && silentMs >= pageMs) tell(new AppError('CAMERA_NO_WINDOW', { cameraId }));
      // A trigger may come after a long time without one: the silence counts from then.
      if (delivering && wanted.length === 0) heardAt = performance.now();
      // While it opens a camera a page is silent by itself for as long as that camera may take to start.
      else if (joined && silentMs >= (delivering ? silenceMs : 2 * silenceMs)) {
        lost(new AppError('CAMERA_LOST', { cameraId, problem: 'the page that reads it does not answer' }));
        feed.close();
        ended.resolve();
      }
    }, WATCH_MS);
    const onAbort = () => ended.resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await ended.promise;
      if (!signal.aborted && delivering) lost(new AppError('CAMERA_NO_WINDOW', { cameraId }));
    } finally {
      delivering = false;
      clearInterval(watch);
      signal.removeEventListener('abort', onAbort);
      feed.close();
    }
    return joined;
  };

  const run = async (sink: FrameSink, listener: CameraListener) => {
    const openedAt = performance.now();
    let told: string | null = null;
    let toldMisfit: string | null = null;
    const tell = (lost: AppError | null) => {
      if (lost === null) listener.onState({ kind: 'delivering' });
      else if (lost.message !== told) listener.onState({ kind: 'lost', problem: lost });
      told = lost?.message ?? null;
      if (lost !== null) toldMisfit = null;
    };
    /** null: a picture fits. */
    const misfit = (problem: string | null) => {
      if (problem === toldMisfit) return;
      listener.onTrouble(problem === null ? null : new AppError('CAMERA_CONFIG', { cameraId, problem }));
      toldMisfit = problem;
    };
    let pause = FIRST_RETRY_MS;
    while (!signal.aborted) {
      const wasJoined = await serve(sink, tell, misfit);
      pause = wasJoined ? FIRST_RETRY_MS : Math.min(2 * pause, MOST_RETRY_MS);
      if (!signal.aborted && performance.now() - openedAt >= pageMs)
        tell(new AppError('CAMERA_NO_WINDOW', { cameraId }));
      await sleep(pause, undefined, { signal }).catch(() => {});
    }
  };

  const dispose = async () => {
    stop.abort();
    await running;
  };
  return {
    async open(sink, listener) {
      if (triggering === 'hardware') {
        const problem = 'a USB camera has no input for a trigger: choose free run, the program or the PLC';
        throw new AppError('CAMERA_CONFIG', { cameraId, problem });
      }
      listener.onState({ kind: 'starting' });
      running = run(sink, listener);
    },
    ...(triggered ? { trigger: () => trigger() } : {}),
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}
