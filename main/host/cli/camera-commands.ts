import { writeFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { AppError, isAppError } from '../../contract/errors.ts';
import { cameraConfigSchema } from '../../contract/domain.ts';
import { startAcquisition, type GigeConfig } from '../../capture/gige/acquisition.ts';
import { findCamera } from '../../capture/gige/camera.ts';
import { cameraError, openDevice } from '../../capture/gige/device.ts';
import { discover, type FoundDevice } from '../../capture/gige/discovery.ts';
import { FeatureError, type Feature } from '../../capture/gige/genicam/node-map.ts';
import { outError, removeLeft } from '../../store/files.ts';
import { encodePng } from '../../vision/decode.ts';
import { decimalNumber, ipv4Addresses, wholeNumber, type Action } from './context.ts';
import { readyFolder, table, UsageError } from './output.ts';

const formatName = (text: string): string => {
  if (text === '' || text.length > 64) throw new InvalidArgumentError('give a name such as Mono8');
  return text;
};

/** Commands that speak to cameras themselves, without a home or a line: for commissioning. */
export function addCameraCommands(program: Command, action: Action): void {
  program
    .command('cameras')
    .description('GigE Vision cameras that answer on the networks of this machine')
    .option('--address <ip...>', 'asked directly as well', ipv4Addresses)
    .action(
      action(async ({ out, signal }, options: { address?: string[] }) => {
        const found = await discover({ addresses: options.address ?? [], signal });
        const cameras = found.map((at) => ({
          id: at.id,
          kind: 'gige',
          name: `${at.manufacturer} ${at.model}`.trim(),
          serial: at.serial,
          address: at.address,
          mac: at.mac,
          userName: at.userName,
          version: at.version,
        }));
        out.result({ cameras }, () =>
          cameras.length === 0
            ? 'No camera answers. Check cable, power and that this machine has an address in its network.'
            : table([['id', 'name', 'serial', 'address'], ...cameras.map((c) => [c.id, c.name, c.serial, c.address])]),
        );
      }),
    );

  const camera = program.command('camera').description('One camera');
  camera
    .command('features')
    .argument('<id>', 'serial number, MAC address or IP address')
    .description('what a camera offers; with --set, changes it')
    .option('--set <name=value...>', 'set in this order; a command is executed')
    .action(
      action(async ({ out, signal }, id: string, options: { set?: string[] }) => {
        const wishes = (options.set ?? []).map((wish) => {
          const at = wish.indexOf('=');
          if (at < 1) throw new UsageError('--set', `"${wish}" is not NAME=VALUE`);
          return [wish.slice(0, at), wish.slice(at + 1)] as const;
        });
        const found = await need(id, signal);
        const device = await openDevice(found, { cameraId: id, control: wishes.length > 0, signal }).catch((error) => {
          throw cameraError(id, error);
        });
        try {
          for (const [name, value] of wishes) await device.features.set(name, value);
          const features: Feature[] = [];
          for (const { name } of device.features.features()) {
            signal.throwIfAborted();
            features.push(await device.features.describe(name));
          }
          out.result({ features }, () =>
            table([
              ['name', 'value', 'min', 'max', 'unit', 'access'],
              ...features.map((f) => [
                f.name,
                String(f.value ?? ''),
                f.min ?? '',
                f.max ?? '',
                f.unit ?? '',
                f.type === 'command' ? 'command' : f.access,
              ]),
            ]),
          );
        } catch (error) {
          if (!(error instanceof FeatureError)) throw cameraError(id, error);
          throw new AppError('CAMERA_FEATURE', { cameraId: id, problem: error.message }, { cause: error });
        } finally {
          await device.close();
        }
      }),
    );

  program
    .command('capture')
    .argument('<id>', 'serial number, MAC address or IP address')
    .description('takes complete frames from a camera, a PNG each')
    .requiredOption('--count <n>', 'frames', wholeNumber(1, 1_000_000))
    .requiredOption('--out <dir>', 'folder for the pictures')
    .option('--exposure-us <us>', 'exposure time in microseconds', decimalNumber(1, 60_000_000))
    .option('--pixel-format <name>', 'such as Mono8', formatName)
    .action(
      action(async ({ out, signal }, id: string, options: CaptureOptions) => {
        const found = await need(id, signal);
        const config = cameraConfigSchema.parse({
          kind: 'gige',
          serial: found.id,
          ...(options.exposureUs === undefined ? {} : { exposureUs: options.exposureUs }),
          ...(options.pixelFormat === undefined ? {} : { pixelFormat: options.pixelFormat }),
        }) as GigeConfig;
        await readyFolder(options.out);
        out.result(
          await capture(found, config, id, options, signal, out.progress),
          (r) => `${r.frames} frames in ${r.seconds.toFixed(2)} s, ${r.lost} lost, ${r.resent} packets sent again`,
        );
      }),
    );
}

interface CaptureOptions {
  count: number;
  out: string;
  exposureUs?: number;
  pixelFormat?: string;
}

/** Pictures that wait for the disk; when it is slower than the camera, the frames beyond are let go and counted. */
const MAX_WAITING = 64;

async function capture(
  found: FoundDevice,
  config: GigeConfig,
  cameraId: string,
  { count, out }: CaptureOptions,
  signal: AbortSignal,
  progress: (line: string) => void,
) {
  const done = Promise.withResolvers<void>();
  const stop = () => done.reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  const writing = new Set<Promise<void>>();
  let frames = 0;
  let lost = 0;
  let notWritten = 0;
  const options = { cameraId, maxPixels: 100_000_000, cache: new Map(), signal };
  const acquisition = await startAcquisition(found, config, options, {
    onFrame({ image }) {
      if (frames >= count) return;
      if (writing.size >= MAX_WAITING) {
        notWritten += 1;
        return;
      }
      frames += 1;
      const name = join(out, `frame-${String(frames).padStart(6, '0')}.png`);
      // The pixels are lent: the copy is the file's.
      const write: Promise<void> = encodePng({ ...image, data: Uint8Array.from(image.data) })
        .then((png) => writeFile(name, png))
        .then(
          () => void writing.delete(write),
          async (error: unknown) => {
            const known = outError(error, name);
            // What the disk took of it is no picture.
            if (isAppError(known, 'DISK_FULL')) await removeLeft(name);
            throw known;
          },
        );
      writing.add(write);
      write.catch(done.reject);
      progress(`${frames} of ${count}`);
      if (frames === count) done.resolve();
    },
    onMissed: (n) => (lost += n),
    onLost: (error) => done.reject(error),
    onTrouble: (problem) => problem && progress(problem.message),
  }).catch((error: unknown) => {
    throw cameraError(cameraId, error);
  });
  const begun = performance.now();
  try {
    await done.promise.catch((error: unknown) => {
      throw signal.aborted ? signal.reason : cameraError(cameraId, error);
    });
    const seconds = (performance.now() - begun) / 1000;
    // The last ones may still be on their way to the disk, or have failed there.
    await Promise.all(writing);
    const { resent } = acquisition.counts;
    return { frames, lost, resent, seconds, notWritten, packetSize: acquisition.packetSize };
  } finally {
    signal.removeEventListener('abort', stop);
    await acquisition.stop();
    await Promise.allSettled(writing);
  }
}

async function need(id: string, signal: AbortSignal): Promise<FoundDevice> {
  const found = await findCamera(isIPv4(id) ? { address: id } : { serial: id }, { signal });
  if (!found) throw new AppError('NOT_FOUND', { kind: 'camera', id });
  return found;
}
