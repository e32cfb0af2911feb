import { AppError } from '../../contract/errors.ts';
import type { CameraFrame } from '../camera.ts';
import type { CameraConfig } from '../../contract/domain.ts';
import { openDevice, type DescriptionCache, type Device } from './device.ts';
import type { FoundDevice } from './discovery.ts';
import { FeatureError, type NodeMap } from './genicam/node-map.ts';
import { imageBytes, pixelFormatOf, toImage } from './pixel-formats.ts';
import type { CompleteBlock, LostReason, StreamCounts } from './reassembly.ts';
import type { SettingsBefore } from './settings-before.ts';
import { openStreamChannel } from './stream-channel.ts';

export type GigeConfig = Extract<CameraConfig, { kind: 'gige' }>;

export interface AcquisitionEvents {
  /** The image is lent for the duration of the call. */
  onFrame(frame: CameraFrame): void;
  onMissed(count: number, reason: LostReason): void;
  /** Ends the acquisition's use: nothing more comes. Once. */
  onLost(error: unknown): void;
  /** null: it is over. */
  onTrouble(problem: AppError | null): void;
}
export interface Acquisition {
  readonly device: Device;
  readonly packetSize: number;
  readonly bufferBytes: number;
  readonly counts: Readonly<StreamCounts>;
  /** Whether it sends pictures of its own accord. */
  readonly unasked: boolean;
  /** Milliseconds since it sent anything. */
  silentMs(): number;
  /** Takes a picture now, of a camera that was set up for it. @throws FeatureError, GvcpError, GvcpTimeout */
  trigger(): Promise<void>;
  stop(): Promise<void>;
}

/** SFNC names first, then those of cameras from before SFNC 2. */
const exposureNames = ['ExposureTime', 'ExposureTimeAbs'];
const gainNames = ['Gain', 'GainRaw'];
const MAX_BLOCK_BYTES = 512 * 2 ** 20;
/** Chunk data behind a picture; a camera that announces more lies about its size, and memory is set aside by it. */
const MAX_CHUNK_BYTES = 2 ** 20;

/** What starts a picture: the camera as it is set, `Acquisition.trigger`, or an input of the camera. */
export type Triggering = 'free-run' | 'software' | 'hardware';

type Settable = Pick<NodeMap, 'has' | 'text' | 'set'>;

/** Features whose values of before are noted, each before it is set: whatever ends this process, it is known. */
const noting = (features: NodeMap, before: SettingsBefore): Settable => ({
  has: features.has,
  text: features.text,
  async set(name, value) {
    const { value: is } = await features.describe(name);
    if (is !== null) before.note(name, is);
    await features.set(name, value);
  },
});
/** The last one set goes back first: some can be set only while another is as it was made. */
async function putBack(features: NodeMap, before: SettingsBefore): Promise<void> {
  for (const [name, value] of [...before.values].reverse()) await setWherePossible(features, name, value);
  before.forget();
}

/** @param source null: any */
async function waitsForTrigger(features: Pick<NodeMap, 'text'>, source: string | null = null): Promise<boolean> {
  try {
    if ((await features.text('TriggerMode')) !== 'On') return false;
    return source === null || (await features.text('TriggerSource')) === source;
  } catch (error) {
    if (error instanceof FeatureError) return false;
    throw error;
  }
}

/** Sets what the configuration and the way of triggering name, and nothing else. @throws FeatureError */
async function applySettings(features: Settable, config: GigeConfig, triggering: Triggering): Promise<void> {
  const first = (names: string[]): string => names.find((name) => features.has(name)) ?? names[0]!;
  if (config.pixelFormat !== undefined) await features.set('PixelFormat', config.pixelFormat);
  if (config.exposureUs !== undefined) {
    if (features.has('ExposureAuto')) await setWherePossible(features, 'ExposureAuto', 'Off');
    await features.set(first(exposureNames), config.exposureUs);
  }
  if (config.gain !== undefined) {
    if (features.has('GainAuto')) await setWherePossible(features, 'GainAuto', 'Off');
    await features.set(first(gainNames), config.gain);
  }
  let mode = triggering === 'free-run' ? config.trigger?.mode : 'on';
  // A line that gave its triggers by program left it so: where nobody gives them any more, no picture would ever come.
  if (mode === undefined && (await waitsForTrigger(features, 'Software'))) mode = 'off';
  if (mode === undefined) return;
  if (features.has('TriggerSelector')) await setWherePossible(features, 'TriggerSelector', 'FrameStart');
  const source = triggering === 'software' ? 'Software' : config.trigger?.source;
  if (source !== undefined) await features.set('TriggerSource', source);
  await features.set('TriggerMode', mode === 'on' ? 'On' : 'Off');
}
async function setWherePossible(
  features: Pick<NodeMap, 'set'>,
  name: string,
  value: string | number | boolean,
): Promise<void> {
  await features.set(name, value).catch((error: unknown) => {
    if (!(error instanceof FeatureError)) throw error;
  });
}

/** Takes control of a camera, sets it up and starts it. @throws AppError, GvcpError, GvcpTimeout, DescriptionError */
export async function startAcquisition(
  found: FoundDevice,
  config: GigeConfig,
  options: {
    cameraId: string;
    maxPixels: number;
    triggering?: Triggering;
    /** Wanted of the system; default: stream-channel.ts. */
    receiveBufferBytes?: number;
    /** What somebody who only looked could not put back is put back first. */
    before?: SettingsBefore;
    /** What is set here is noted in `before`, and put back at the end. */
    putsBack?: boolean;
    cache: DescriptionCache;
    signal: AbortSignal;
  },
  events: AcquisitionEvents,
): Promise<Acquisition> {
  const { cameraId, maxPixels, triggering = 'free-run', before } = options;
  const noted = options.putsBack ? before : undefined;
  const device = await openDevice(found, { ...options, control: true, onLost: (error) => events.onLost(error) });
  const { features } = device;
  let told = false;
  const tellOnce = (problem: AppError) => {
    if (!told) events.onTrouble(problem);
    told = true;
  };
  /** Of blocks whose leader does not say it (chunk data of GigE Vision 1.x). */
  let announced: { pixelFormat: number; width: number; height: number; paddingX: number } | null = null;

  const onBlock = (block: CompleteBlock): boolean => {
    const image = block.leader.image ?? announced;
    if (!image) return false;
    const { width, paddingX } = image;
    const height = block.height !== null && block.height > 0 ? Math.min(block.height, image.height) : image.height;
    const pixels = pixelFormatOf(image.pixelFormat);
    if (!pixels) {
      const format = `0x${image.pixelFormat.toString(16).padStart(8, '0')}`;
      tellOnce(new AppError('CAMERA_PIXELS', { cameraId, format }));
      return false;
    }
    if (width < 1 || height < 1 || width * height > maxPixels) {
      const problem = `a picture of ${width} x ${height} is announced, the limit is ${maxPixels} pixels`;
      tellOnce(new AppError('CAMERA_FEATURE', { cameraId, problem }));
      return false;
    }
    // Less than a picture is none, whatever the leader says; more is chunk data.
    if (block.data.length < imageBytes(pixels, width, height, paddingX)) return false;
    events.onFrame({
      image: toImage(pixels, block.data, width, height, paddingX),
      capturedAt: new Date(),
      notes: pixels.name === 'Mono8' || pixels.name === 'RGB8' ? [] : [`${pixels.name} shown in 8 bits per channel`],
      source: `frame ${block.blockId}`,
    });
    return true;
  };

  try {
    await stopRunning(features);
    if (before) await putBack(features, before);
    try {
      await applySettings(noted ? noting(features, noted) : features, config, triggering);
    } catch (error) {
      if (!(error instanceof FeatureError)) throw error;
      // A camera that runs otherwise than it was told to would judge parts by other pictures.
      throw new AppError('CAMERA_FEATURE', { cameraId, problem: error.message }, { cause: error });
    }
    const stream = await openStreamChannel(
      device,
      {
        onBlock,
        onLost: (count, reason) => events.onMissed(count, reason),
        onResend: (answered) => events.onTrouble(answered ? null : new AppError('CAMERA_NO_RESEND', { cameraId })),
      },
      {
        ...(config.packetSizeLimit === undefined ? {} : { largestPacket: config.packetSizeLimit }),
        ...(options.receiveBufferBytes === undefined ? {} : { receiveBufferBytes: options.receiveBufferBytes }),
      },
    );
    let unasked: boolean;
    try {
      features.forget();
      const blockBytes = await features.integer('PayloadSize');
      announced = await announcedImage(features);
      const refused = sizeProblem(blockBytes, announced, maxPixels);
      if (refused !== null) throw new AppError('CAMERA_FEATURE', { cameraId, problem: refused });
      if (features.has('AcquisitionMode')) await setWherePossible(features, 'AcquisitionMode', 'Continuous');
      if (features.has('TLParamsLocked')) await setWherePossible(features, 'TLParamsLocked', '1');
      unasked = triggering === 'free-run' && !(await waitsForTrigger(features));
      stream.begin(blockBytes);
      await features.execute('AcquisitionStart');
    } catch (error) {
      await stream.close();
      throw error;
    }
    let stopping: Promise<void> | null = null;
    return {
      device,
      packetSize: stream.packetSize,
      bufferBytes: stream.bufferBytes,
      get counts() {
        return stream.counts;
      },
      trigger: () => features.execute('TriggerSoftware'),
      unasked,
      silentMs: stream.silentMs,
      stop: () =>
        (stopping ??= (async () => {
          await stopRunning(features)
            .then(() => noted && putBack(features, noted))
            // It is gone, or does not listen: its values of before are kept for whoever opens it next.
            .catch(() => {});
          await stream.close();
          await device.close();
        })()),
    };
  } catch (error) {
    if (noted) await putBack(features, noted).catch(() => {});
    await device.close();
    throw error;
  }
}

/** A camera that a program left running does not let itself be set up. */
async function stopRunning(features: NodeMap): Promise<void> {
  if (features.has('AcquisitionStop')) {
    await features.execute('AcquisitionStop').catch((error: unknown) => {
      if (!(error instanceof FeatureError)) throw error;
    });
  }
  if (features.has('TLParamsLocked')) await setWherePossible(features, 'TLParamsLocked', '0');
}

/** Why a camera cannot be what it says; null: it can. */
function sizeProblem(
  blockBytes: number,
  image: { pixelFormat: number; width: number; height: number } | null,
  maxPixels: number,
): string | null {
  if (!(blockBytes > 0) || blockBytes > MAX_BLOCK_BYTES) return `PayloadSize is ${blockBytes} bytes`;
  if (!image) return null;
  const { width, height } = image;
  if (width * height > maxPixels) return `its picture is ${width} x ${height}, the limit is ${maxPixels} pixels`;
  const format = pixelFormatOf(image.pixelFormat);
  if (!format) return null;
  const bytes = imageBytes(format, width, height, 0);
  const fits = blockBytes >= bytes && blockBytes <= 2 * bytes + MAX_CHUNK_BYTES;
  return fits ? null : `PayloadSize is ${blockBytes} bytes, its picture has ${bytes}`;
}

async function announcedImage(features: NodeMap) {
  try {
    const [width, height, pixelFormat] = [
      await features.integer('Width'),
      await features.integer('Height'),
      await features.integer('PixelFormat'),
    ];
    return { width, height, pixelFormat, paddingX: 0 };
  } catch (error) {
    if (error instanceof FeatureError) return null;
    throw error;
  }
}
