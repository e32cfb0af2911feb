import { startAcquisition, type Acquisition } from '../../main/capture/gige/acquisition.ts';
import { findCamera, type GigeConfig } from '../../main/capture/gige/camera.ts';
import type { Device } from '../../main/capture/gige/device.ts';
import { pixelFormatOf, toImage } from '../../main/capture/gige/pixel-formats.ts';
import type { LostReason } from '../../main/capture/gige/reassembly.ts';
import type { SimulatorSettings } from '../../main/capture/gige/simulator/settings.ts';
import { startSimulator, type Simulator } from '../../main/capture/gige/simulator/simulator.ts';
import { formatCode, patternBytes, patternOf } from '../../main/capture/gige/simulator/test-pattern.ts';
import { cameraConfigSchema } from '../../main/contract/domain.ts';
import type { PixelImage } from '../../main/vision/image.ts';

/** A loopback address of its own, so that tests beside each other do not meet at the protocol's one port. */
export const ownAddress = (): string => {
  const part = () => 1 + Math.floor(Math.random() * 250);
  return `127.${part()}.${part()}.${part()}`;
};

/** One that answers there. Camera and search share a thread: one that was held up may have ended before it looked for answers. */
export async function foundCamera(address: string): Promise<NonNullable<Awaited<ReturnType<typeof findCamera>>>> {
  for (let tries = 10; tries > 0; tries -= 1) {
    const found = await findCamera({ address });
    if (found) return found;
  }
  throw new Error(`no simulated camera answers at ${address}`);
}

/** From the first picture on, each once: a camera that is looked for may be told as lost in more than one way. */
export const turns = (states: readonly string[]): string[] =>
  states.slice(states.indexOf('delivering')).filter((state, i, all) => state !== all[i - 1]);

/** Of what a station can set. */
export const settingsOf = async ({ features }: Pick<Device, 'features'>) => ({
  exposure: await features.float('ExposureTime'),
  gain: await features.float('Gain'),
  trigger: await features.text('TriggerMode'),
});

export const gigeConfig = (over: object): GigeConfig =>
  cameraConfigSchema.parse({ kind: 'gige', ...over }) as GigeConfig;

/** The picture that the simulated camera sent as this frame, in eight bits; Bayer as the driver makes colours of it. */
function expectedPixels(formatName: string, frameId: number, { width, height, data }: PixelImage): Buffer {
  if (!formatName.startsWith('Bayer')) return patternBytes(frameId, data.length);
  const sent = patternOf(formatName, width, height, frameId);
  return Buffer.from(toImage(pixelFormatOf(formatCode(formatName)!)!, sent, width, height, 0).data);
}

export interface Reception {
  simulator: Simulator;
  acquisition: Acquisition;
  /** Frames that came, in their order. */
  ids: number[];
  /** Of those, the ones whose bytes are not the pattern's. */
  wrong: number[];
  lost: Partial<Record<LostReason, number>>;
  troubles: string[];
  ended: unknown[];
}

/** Simulated camera and receiver in this process, joined by real sockets. `during` runs while frames come. */
export async function receiveFrom(
  over: Partial<SimulatorSettings>,
  config: object,
  during: (reception: Reception) => Promise<void>,
): Promise<Reception> {
  const address = ownAddress();
  await using simulator = await startSimulator({ address, ...over });
  const found = await foundCamera(address);
  const [ids, wrong, troubles, ended]: [number[], number[], string[], unknown[]] = [[], [], [], []];
  const lost: Reception['lost'] = {};
  const acquisition = await startAcquisition(
    found,
    gigeConfig({ address, ...config }),
    { cameraId: 'test', maxPixels: 1e8, cache: new Map(), signal: new AbortController().signal },
    {
      onFrame({ source, image }) {
        const id = Number(source.slice('frame '.length));
        ids.push(id);
        if (!expectedPixels(simulator.settings.pixelFormat, id, image).equals(image.data)) wrong.push(id);
      },
      onMissed: (count, reason) => (lost[reason] = (lost[reason] ?? 0) + count),
      onLost: (error) => ended.push(error),
      onTrouble: (problem) => troubles.push(problem?.code ?? 'over'),
    },
  );
  const reception = { simulator, acquisition, ids, wrong, lost, troubles, ended };
  try {
    await during(reception);
  } finally {
    await acquisition.stop();
  }
  return reception;
}
