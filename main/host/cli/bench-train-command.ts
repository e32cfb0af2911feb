import { type Command, Option } from 'commander';
import { benchTraining } from '../../training/bench.ts';
import { createOrtEngine } from '../../training/ort/engine.ts';
import { wholeNumber, type Action, type Context } from './context.ts';
import { format } from './output.ts';

interface BenchTrainOptions {
  arch: 'mobilenet_v2' | 'resnet18';
  size: number;
  batch: number;
  steps: number;
}

/** Joins `bench`, which addInspectCommands makes. */
export function addBenchTrainCommand(program: Command, action: Action): void {
  const bench = program.commands.find((command) => command.name() === 'bench')!;
  bench
    .command('train')
    .description('training speed of this PC on a network with random weights')
    .addOption(new Option('--arch <name>', 'network').choices(['mobilenet_v2', 'resnet18']).makeOptionMandatory())
    .option('--size <px>', 'side of the images', wholeNumber(32, 1024), 128)
    .option('--batch <n>', 'images per step', wholeNumber(1, 1024), 32)
    .option('--steps <n>', 'timed steps, after 3 others', wholeNumber(20, 10_000), 20)
    .action(
      action(async (context: Context, options: BenchTrainOptions) => {
        const result = await benchTraining({
          engine: createOrtEngine(),
          architecture: options.arch,
          size: options.size,
          batch: options.batch,
          steps: options.steps,
          threads: context.threads,
          signal: context.signal,
          onStep: ({ done, of, loss }) => context.out.progress(`step ${done} of ${of}, loss ${loss.toFixed(4)}`),
        });
        context.out.result({ arch: options.arch, size: options.size, batch: options.batch, ...result }, (bench) =>
          format.table([
            ['training', `${bench.imagesPerSecond.toFixed(1)} images/s`],
            ['forward', `${bench.forwardImagesPerSecond.toFixed(1)} images/s`],
            ['memory', `${(bench.peakRssBytes / 1e6).toFixed(0)} MB`],
            ['loss', `${bench.lossFirst.toFixed(3)} -> ${bench.lossLast.toFixed(3)}`],
          ]),
        );
      }),
    );
}
