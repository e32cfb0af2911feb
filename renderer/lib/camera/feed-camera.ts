import type { CameraConfig } from '../../../main/contract/domain.ts';
import { blankFrame, feedAskSchema, type FeedAsk, type FeedLoss, type FeedSays } from '../../../main/contract/feed.ts';
import type { Channel } from '../../../main/contract/rpc/channel.ts';
import { chosenDevice, listVideoDevices } from './devices.ts';
import { packPixels } from './frame-pixels.ts';

/*
 * Reads a USB camera for a line, at the other end of a channel (main/contract/feed.ts): opens what it is told to, sends one picture
 * for each that is wanted, says why none comes, and tries again by itself.
 */

type UsbConfig = Extract<CameraConfig, { kind: 'usb' }>;

const FIRST_RETRY_MS = 250;
const MOST_RETRY_MS = 2_000;
/** A camera that sends nothing for so long stands still: it is opened anew. */
const STILL_MS = 2_000;
/** Until the first picture: cameras take their time to start. */
const START_MS = 10_000;

/** Chromium's; TypeScript's library does not have it (W3C, MediaStreamTrack Insertable Media Processing using Streams). */
interface TrackProcessor {
  readonly readable: ReadableStream<VideoFrame>;
}
type TrackProcessorClass = new (init: { track: MediaStreamTrack }) => TrackProcessor;
const trackProcessor = (): TrackProcessorClass | undefined =>
  (globalThis as { MediaStreamTrackProcessor?: TrackProcessorClass }).MediaStreamTrackProcessor;

/** Whether this browser can read a camera picture by picture. */
export const canFeed = (): boolean => trackProcessor() !== undefined && 'mediaDevices' in navigator;

class Loss extends Error {
  readonly loss: FeedLoss;
  constructor(reason: FeedLoss['reason'], problem: string) {
    super(problem);
    this.loss = { reason, problem: problem.slice(0, 500) };
  }
}

function lossOf(error: unknown): FeedLoss {
  if (error instanceof Loss) return error.loss;
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  const constraint = (error as { constraint?: unknown }).constraint;
  // Media Capture and Streams, section 10.2 (getUserMedia): what it fails with.
  if (name === 'NotAllowedError' || name === 'SecurityError') return { reason: 'permission', problem: message };
  if (name === 'OverconstrainedError')
    return { reason: 'settings', problem: `it cannot be as it is set (${String(constraint)})` };
  return { reason: 'device', problem: `${message || name}`.slice(0, 500) };
}

interface Want {
  number: number;
  discard: number;
}

/** Serves one channel until it closes. */
export function feedCamera(channel: Channel): void {
  const ended = new AbortController();
  const { signal } = ended;
  const wants: Want[] = [];
  let running = false;
  const say = (says: FeedSays) => channel.send(says);

  const deliver = async (config: UsbConfig, delivering: () => void): Promise<never> => {
    const Processor = trackProcessor();
    if (!Processor) throw new Loss('unsupported', 'this browser gives no single pictures; one made of Chromium does');
    const device = chosenDevice(await listVideoDevices(), config);
    signal.throwIfAborted();
    if (!device) throw new Loss('device', `no "${config.label ?? config.deviceId}" is connected`);
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: constraintsOf(config, device.deviceId),
    });
    const [track] = stream.getVideoTracks();
    const reader = new Processor({ track: track! }).readable.getReader();
    const stop = () => track!.stop();
    signal.addEventListener('abort', stop, { once: true });
    const painter = createPainter();
    let told = '';
    try {
      // It may have ended while the camera was being opened: whoever listens from then on hears nothing of it.
      signal.throwIfAborted();
      for (;;) {
        const { done, value: frame } = await orStill(reader.read(), told === '' ? START_MS : STILL_MS);
        if (done) throw new Loss('device', 'it was disconnected');
        try {
          const { displayWidth: width, displayHeight: height } = frame;
          if (told !== `${width} x ${height}`) {
            told = `${width} x ${height}`;
            say({ delivering: { label: device.label, width, height } });
            delivering();
          }
          const wanted = wants[0]?.discard === 0 ? wants.shift() : undefined;
          for (const want of wants) want.discard = Math.max(0, want.discard - 1);
          if (wanted) channel.send(painter(frame, wanted.number, config.pixelFormat === 'Mono8' ? 1 : 3));
        } finally {
          frame.close();
        }
      }
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
      void reader.cancel().catch(() => {});
    }
  };

  const run = async (config: UsbConfig) => {
    let pause = FIRST_RETRY_MS;
    while (!signal.aborted) {
      try {
        await deliver(config, () => (pause = FIRST_RETRY_MS));
      } catch (error) {
        if (signal.aborted) return;
        wants.length = 0;
        say({ lost: lossOf(error) });
      }
      await pauseOrDevices(pause, signal);
      pause = Math.min(2 * pause, MOST_RETRY_MS);
    }
  };

  channel.onMessage((message) => {
    const parsed = feedAskSchema.safeParse(message);
    if (!parsed.success) return;
    const ask: FeedAsk = parsed.data;
    if ('want' in ask) wants.push({ number: ask.want, discard: ask.discard });
    else if ('list' in ask)
      void listVideoDevices()
        .then((devices) => say({ devices: devices.slice(0, 64) }))
        .catch((error: unknown) => say({ lost: lossOf(error) }));
    else if (!running) {
      running = true;
      void run(ask.open);
    }
  });
  channel.onClose(() => ended.abort());
}

/** A camera that were scaled or cropped to a size would show parts otherwise than it was set up with: native sizes only. */
function constraintsOf({ width, height, frameRate }: UsbConfig, deviceId: string): MediaTrackConstraints {
  return {
    deviceId: { exact: deviceId },
    ...(width === undefined ? {} : { width: { exact: width } }),
    ...(height === undefined ? {} : { height: { exact: height } }),
    ...(frameRate === undefined ? {} : { frameRate: { ideal: frameRate } }),
    resizeMode: { exact: 'none' },
  } as MediaTrackConstraints;
}

/** Draws frames of whatever pixel format and colour range, and gives them as messages. */
function createPainter(): (frame: VideoFrame, want: number, channels: 1 | 3) => Uint8Array {
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext('2d', { willReadFrequently: true, alpha: false });
  if (!context) throw new Loss('unsupported', 'this browser gives no canvas');
  return (frame, want, channels) => {
    const { displayWidth: width, displayHeight: height } = frame;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.drawImage(frame, 0, 0, width, height);
    const { message, data } = blankFrame({ want, width, height, channels });
    packPixels(context.getImageData(0, 0, width, height).data, channels, data);
    return message;
  };
}

async function orStill<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const still = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Loss('still', `no picture came for ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([work, still]);
  } finally {
    clearTimeout(timer);
  }
}

/** So long, or until a device comes or goes. */
async function pauseOrDevices(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = () => resolve();
  const timer = setTimeout(done, ms);
  navigator.mediaDevices?.addEventListener('devicechange', done);
  signal.addEventListener('abort', done, { once: true });
  await promise;
  clearTimeout(timer);
  navigator.mediaDevices?.removeEventListener('devicechange', done);
  signal.removeEventListener('abort', done);
}
