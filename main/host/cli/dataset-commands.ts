import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { compressDataset } from '../../compression/dataset.ts';
import { runLearnProtocol } from '../../learning/protocol.ts';
import { resolveBackbone } from './backbone-option.ts';
import { decimalNumber, wholeNumber, type Action, type Context } from './context.ts';
import { format } from './output.ts';

interface LearnOptions {
  tasks?: number;
  method: 'analytic' | 'ncm';
  backbone?: string;
  shots?: number;
  seed: number;
}

interface CompressOptions {
  strategy: 'none' | 'pre-prune' | 'post-prune' | 'distill' | 'auto';
  tasks?: number;
  precision: 'fp32' | 'int8' | 'auto';
  ratio?: number;
  backbone?: string;
  timeBudgetS: number;
  latencyMs?: number;
  maxDropPp: number;
  out?: string;
  seed: number;
}

/** Commands on a folder of images: no account, no data folder. */
export function addDatasetCommands(program: Command, action: Action): void {
  program
    .command('learn <dir>')
    .description('class-incremental protocol over <dir>/train/<class>/* and <dir>/test/<class>/*')
    .option(
      '--tasks <n>',
      'classes are split in name order into so many tasks (default: one class per task)',
      wholeNumber(1, 10_000),
    )
    .addOption(new Option('--method <name>').choices(['analytic', 'ncm']).default('analytic'))
    .option('--backbone <id|file>', 'backbone (default: the shipped one)')
    .option('--shots <n>', 'training images per class at most, drawn by the seed', wholeNumber(1, 1_000_000))
    .option('--seed <s>', 'seed of the draw and of the joint fit', wholeNumber(0, 2 ** 31), 0)
    .action(
      action(async (context: Context, dir: string, options: LearnOptions) => {
        const result = await runLearnProtocol({
          dir: resolve(dir),
          ...(options.tasks === undefined ? {} : { tasks: options.tasks }),
          backbone: await resolveBackbone(options.backbone, context),
          method: options.method,
          ...(options.shots === undefined ? {} : { shots: options.shots }),
          threads: context.threads,
          seed: options.seed,
          signal: context.signal,
          onProgress: context.out.progress,
        });
        context.out.result(result, (r) =>
          format.table([
            ['accuracy', 'balanced', 'joint', 'bwt', 'largest weight difference to joint'],
            [
              format.percent(r.accuracy),
              format.percent(r.balancedAccuracy),
              format.percent(r.joint.accuracy),
              r.bwt.toFixed(4),
              r.maxWeightDifferenceToJoint.toExponential(1),
            ],
          ]),
        );
      }),
    );

  program
    .command('compress <dir>')
    .description('compressed models of a data set, measured on this PC')
    .addOption(
      new Option('--strategy <name>').choices(['none', 'pre-prune', 'post-prune', 'distill', 'auto']).default('auto'),
    )
    .option('--tasks <n>', 'tasks of the class-incremental protocol', wholeNumber(1, 10_000))
    .addOption(new Option('--precision <name>').choices(['fp32', 'int8', 'auto']).default('auto'))
    .option('--ratio <r>', 'share of multiply-accumulates that pruning removes', decimalNumber(0, 0.95))
    .option('--backbone <id|file>', 'backbone (default: the shipped one)')
    .option('--time-budget-s <s>', 'time for the search', decimalNumber(1, 1e6), 600)
    .option('--latency-ms <x>', 'greatest median latency', decimalNumber(0.01, 1e6))
    .option('--max-drop-pp <p>', 'greatest drop of balanced accuracy, points', decimalNumber(0, 100), 1)
    .option('--out <dir>', 'write <id>/{model.onnx, model.json, evidence.json} there')
    .option('--seed <s>', '', wholeNumber(0, 2 ** 31), 0)
    .action(
      action(async (context: Context, dir: string, options: CompressOptions) => {
        const { backbone: asked, out, ...rest } = options;
        const result = await compressDataset({
          ...rest,
          dir: resolve(dir),
          backbone: await resolveBackbone(asked, context),
          ...(out === undefined ? {} : { out: resolve(out) }),
          threads: context.threads,
          signal: context.signal,
          onProgress: context.out.progress,
        });
        context.out.result(result, (r) =>
          [
            format.table([
              ['id', 'method', 'px', 'p50 ms', 'faster', 'balanced', 'drop pp', ''],
              [
                '-',
                'not compressed',
                '',
                r.reference.latencyMsP50.toFixed(2),
                '1.00x',
                format.percent(r.reference.balancedAccuracy),
                '',
                '',
              ],
              ...r.candidates.map((c) => [
                c.id,
                `${c.strategy} ${c.precision}`,
                c.inputSize,
                c.latencyMsP50.toFixed(2),
                `${c.speedup.toFixed(2)}x`,
                format.percent(c.balancedAccuracy),
                c.accuracyDropPp.toFixed(2),
                c.offered ? '' : c.reason,
              ]),
            ]),
            r.why,
          ].join('\n'),
        );
      }),
    );
}
