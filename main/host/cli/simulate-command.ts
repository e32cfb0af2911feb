import { InvalidArgumentError, Option, type Command } from 'commander';
import { defaultSettings, limits } from '../../capture/gige/simulator/settings.ts';
import { startSimulator } from '../../capture/gige/simulator/simulator.ts';
import { patternFormats } from '../../capture/gige/simulator/test-pattern.ts';
import { decimalNumber, wholeNumber, type Action, type Context } from './context.ts';

/** Share of packets that --reorder and --duplicate mean when they are given without a number. */
const USUAL_PER_MILLE = 20;
const STATUS_MS = 1_000;

interface SimulateOptions {
  serial: string;
  address: string;
  lossPerMille: number;
  reorder?: number | true;
  duplicate?: number | true;
  lateMs: number;
  disconnectAfter: number;
  downMs: number;
  pixelFormat: string;
  size: { width: number; height: number };
  rate: number;
  chunks?: 'extended' | 'plain' | true;
  zippedXml?: boolean;
  extendedIds?: boolean;
  resend: boolean;
  largestPacket: number;
  lie: 'none' | 'payload' | 'leader';
  seed: number;
}

const size = (text: string): { width: number; height: number } => {
  const match = /^(\d+)x(\d+)$/i.exec(text);
  if (!match) throw new InvalidArgumentError('give width and height, such as 640x480');
  return { width: Number(match[1]), height: Number(match[2]) };
};

/** Devices that stand in for hardware, for commissioning and tests. */
export function addSimulateCommand(program: Command, action: Action): void {
  const simulate = program.command('simulate').description('devices that are not there');
  const { width, height } = defaultSettings;
  const perMille = wholeNumber(0, 1000);
  simulate
    .command('gige')
    .description('a GigE Vision camera on this PC that sends a known test pattern, until it is ended')
    .option('--serial <s>', 'serial number', defaultSettings.serial)
    .option('--address <ip>', 'address of this PC that it has', defaultSettings.address)
    .addOption(new Option('--size <WxH>', 'pixels').argParser(size).default({ width, height }, `${width}x${height}`))
    .addOption(new Option('--pixel-format <name>').choices(patternFormats).default(defaultSettings.pixelFormat))
    .option('--rate <fps>', 'frames per second', decimalNumber(0.1, limits.framesPerSecond), 10)
    .option('--loss-per-mille <n>', 'packets that are lost', perMille, 0)
    .option('--reorder [per-mille]', 'packets that are overtaken by later ones', perMille)
    .option('--duplicate [per-mille]', 'packets that come twice', perMille)
    .option('--late-ms <n>', 'delay of some packets and acknowledges', wholeNumber(0, 60_000), 0)
    .option('--disconnect-after <frames>', 'goes silent after so many frames', wholeNumber(0, 1e9), 0)
    .option('--down-ms <n>', 'how long it is silent then', wholeNumber(1, 3_600_000), defaultSettings.downMs)
    .addOption(new Option('--chunks [kind]', 'chunk data behind the picture').choices(['extended', 'plain']))
    .option('--zipped-xml', 'its description is a zip file')
    .option('--extended-ids', '64-bit block ids')
    .option('--no-resend', 'it cannot send packets again')
    .option('--largest-packet <bytes>', 'what its network carries', wholeNumber(576, limits.largestPacket), 9_000)
    .addOption(
      new Option('--lie <what>', 'sizes that it lies about').choices(['none', 'payload', 'leader']).default('none'),
    )
    .option('--seed <n>', 'of what goes wrong', wholeNumber(0, 2 ** 31), 1)
    .action(
      action(async ({ out, signal }: Context, options: SimulateOptions) => {
        const share = (given: number | true | undefined) => (given === true ? USUAL_PER_MILLE : (given ?? 0));
        await using camera = await startSimulator({
          serial: options.serial,
          address: options.address,
          ...options.size,
          pixelFormat: options.pixelFormat,
          framesPerSecond: options.rate,
          lossPerMille: options.lossPerMille,
          reorderPerMille: share(options.reorder),
          duplicatePerMille: share(options.duplicate),
          lateMs: options.lateMs,
          disconnectAfter: options.disconnectAfter,
          downMs: options.downMs,
          chunks: options.chunks === true ? 'extended' : (options.chunks ?? 'off'),
          zippedXml: options.zippedXml === true,
          extendedIds: options.extendedIds === true,
          resend: options.resend ? 'yes' : 'no',
          largestPacket: options.largestPacket,
          lie: options.lie,
          seed: options.seed,
        });
        out.progress(`camera ${options.serial} at ${options.address}; Ctrl-C ends it`);
        const show = setInterval(() => {
          const { frames, packets, resent, controller } = camera.status();
          const who = controller === null ? 'nobody is in control' : `controlled from ${controller}`;
          out.progress(`${frames} frames, ${packets} packets, ${resent} sent again, ${who}`);
        }, STATUS_MS);
        try {
          if (!signal.aborted) {
            await new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
          }
        } finally {
          clearInterval(show);
        }
        out.result({ serial: options.serial, address: options.address, ...camera.status() }, (s) =>
          [`${s.frames} frames in ${s.packets} packets`, `${s.dropped} lost`, `${s.resent} sent again`].join(', '),
        );
      }),
    );
}
