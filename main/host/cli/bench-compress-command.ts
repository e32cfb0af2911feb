import { basename, resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { plotTradeOff } from '../../compression/trade-off-plot.ts';
import { measureTradeOff, type IncompleteJob } from '../../compression/trade-off.ts';
import { BACKBONE_OPTION, resolveBackbone } from './backbone-option.ts';
import { decimalNumber, wholeNumber, type Action, type Context } from './context.ts';
import { format, readyFolder, readyOut, writeOut } from './output.ts';

interface BenchCompressOptions {
  backbone?: string;
  strategies: ('none' | 'pre-prune' | 'post-prune' | 'distill')[];
  ratios: number[];
  precision: 'fp32' | 'int8' | 'auto';
  timeBudgetS: number;
  maxDropPp: number;
  work: string;
  resume?: boolean;
  svg?: string;
  seed: number;
}

const STRATEGIES = ['none', 'pre-prune', 'post-prune', 'distill'] as const;

const listOf =
  <T>(parse: (text: string) => T) =>
  (text: string): T[] =>
    text.split(',').map((part) => parse(part.trim()));

/** An option of several values, whose default is shown as it would be typed. */
const listOption = <T>(flags: string, description: string, parse: (text: string) => T, usual: readonly T[]): Option =>
  new Option(flags, description).argParser(listOf(parse)).default([...usual], usual.join(','));

/** Joins `bench`, which addInspectCommands makes. */
export function addBenchCompressCommand(program: Command, action: Action): void {
  const bench = program.commands.find((command) => command.name() === 'bench')!;
  bench
    .command('compress <dirs...>')
    .description('trade-off curves of each way to compress, on several data sets')
    .option(...BACKBONE_OPTION)
    .addOption(listOption('--strategies <list>', 'separated by commas', strategyOf, STRATEGIES))
    .addOption(
      listOption(
        '--ratios <list>',
        'shares of the arithmetic that pruning removes',
        decimalNumber(0.01, 0.95),
        [0.25, 0.4, 0.54, 0.7],
      ),
    )
    .addOption(new Option('--precision <name>').choices(['fp32', 'int8', 'auto']).default('auto'))
    .option('--time-budget-s <s>', 'per job', decimalNumber(1, 1e6), 600)
    .option('--max-drop-pp <p>', 'greatest drop of balanced accuracy, points', decimalNumber(0, 100), 1)
    .requiredOption('--work <dir>', 'where finished jobs are kept')
    .option('--resume', 'take finished jobs from there')
    .option('--svg <file>', 'draw the curves')
    .option('--seed <s>', 'of what is drawn by chance', wholeNumber(0, 2 ** 31), 0)
    .action(
      action(async (context: Context, dirs: string[], options: BenchCompressOptions) => {
        const { backbone: asked, work, svg, resume, ...rest } = options;
        await readyFolder(resolve(work), '--work');
        if (svg !== undefined) await readyOut(resolve(svg), '--svg');
        const backbone = await resolveBackbone(asked, context);
        const result = await measureTradeOff({
          ...rest,
          sets: dirs.map((dir) => ({ name: basename(resolve(dir)), dir: resolve(dir) })),
          backbone,
          work: resolve(work),
          resume: resume === true,
          threads: context.threads,
          signal: context.signal,
          onProgress: context.out.progress,
        });
        if (svg !== undefined) {
          await writeOut(resolve(svg), plotTradeOff(result.points, `${backbone.id}: what compression costs`), '--svg');
        }
        context.out.result(
          { backbone: { id: backbone.id, sha256: backbone.sha256 }, ...result },
          ({ points, incomplete }) =>
            [
              format.table([
                ['set', 'id', 'faster', 'arithmetic', 'drop pp (test)', 'drop pp (grouped)'],
                ...points.map((point) => [
                  point.set,
                  point.id,
                  `${point.speedup.toFixed(2)}x`,
                  format.percent(point.macsShare),
                  point.testDropPp.toFixed(2),
                  point.grouped ? point.grouped.dropPp.toFixed(2) : '-',
                ]),
              ]),
              ...incomplete.map(describeLack),
            ].join('\n'),
        );
      }),
    );
}

/** What a job lacks, in one line. */
function describeLack({ set, strategy, ratio, skipped, outOfTime, why }: IncompleteJob): string {
  const made = skipped.map(({ id, problem }) => `${id}: ${problem}`);
  const reasons = [
    ...(outOfTime ? ['the time budget ended before all were tried'] : []),
    ...(made.length === 0 && why !== null ? [why] : made),
  ];
  return `${set} ${strategy}${ratio === null ? '' : ` ${format.percent(ratio)}`}: ${reasons.join('; ')}`;
}

function strategyOf(text: string): (typeof STRATEGIES)[number] {
  const found = STRATEGIES.find((name) => name === text);
  if (!found) {
    throw new InvalidArgumentError(`there are ${STRATEGIES.join(', ')}`);
  }
  return found;
}
