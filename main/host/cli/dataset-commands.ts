import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { compressDataset } from '../../compression/dataset.ts';
import { studentNames } from '../../compression/distill/students.ts';
import type { Curriculum, StudentStart } from '../../compression/distill/teach-student.ts';
import { IMPORTANCES, type Importance } from '../../compression/prune/measures.ts';
import { networkMethods, type NetworkMethodName } from '../../learning/learners/network/methods.ts';
import { networkProtocolDefaults, runNetworkProtocol } from '../../learning/network-protocol.ts';
import { isLearnMethod, learnMethods, runLearnProtocol, type LearnMethod } from '../../learning/protocol.ts';
import { createOrtEngine } from '../../training/ort/engine.ts';
import { BACKBONE_OPTION, resolveBackbone } from './backbone-option.ts';
import { decimalNumber, wholeNumber, type Action, type Context } from './context.ts';
import { format, readyFolder, tellSkipped, UsageError } from './output.ts';
import { residentBytes } from './resident.ts';
import { keptFolder } from './temporary-folder.ts';
import { leftAlone, withImportance } from './tool-commands.ts';

interface LearnOptions {
  tasks?: number;
  method: LearnMethod | NetworkMethodName;
  backbone?: string;
  shots?: number;
  seed: number;
  classOrder?: number;
  adaptFirstTask: 'auto' | 'on' | 'off';
  epochs?: number;
  size?: number;
  exemplars?: number;
}

/** @throws UsageError for an option that would change nothing: silence would let it look as if it had. */
function refuseWithoutEffect({ method, adaptFirstTask, epochs, size, exemplars }: LearnOptions): void {
  const network = isLearnMethod(method) ? null : networkMethods[method];
  const without = (option: string, because: string) => {
    throw new UsageError(`${option} with --method ${method}`, because);
  };
  if (network && adaptFirstTask !== 'off')
    without('--adapt-first-task', 'this method trains the network in every task');
  if (network === null && size !== undefined) without('--size', 'this method does not train the network');
  if (network === null && adaptFirstTask === 'off' && epochs !== undefined)
    without('--epochs', 'nothing is trained (see --adapt-first-task)');
  if (network?.memory !== 'exemplars' && exemplars !== undefined)
    without('--exemplars', 'this method keeps no exemplars');
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
  work?: string;
  importance?: Importance[];
  hedge: number;
  resume?: boolean;
  seed: number;
  adaptFirstTask?: 'auto' | 'on' | 'off';
  student?: StudentStart | 'auto';
  teach?: Curriculum | 'auto';
}

/** @throws UsageError for an option that the strategy makes nothing of */
function refuseForStrategy({ strategy, ratio, importance, hedge, student, teach }: CompressOptions): void {
  const refuse = (options: Readonly<Record<string, unknown>>, because: string) => {
    const given = Object.keys(options).find((option) => options[option] !== undefined);
    if (given !== undefined) throw new UsageError(`${given} with --strategy ${strategy}`, because);
  };
  if (strategy === 'none')
    refuse({ '--ratio': ratio, '--importance': importance, '--hedge': hedge || undefined }, 'nothing is pruned');
  if (strategy !== 'distill' && strategy !== 'auto')
    refuse({ '--student': student, '--teach': teach }, 'no student is taught');
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
    .addOption(
      new Option('--method <name>').choices([...learnMethods, ...Object.keys(networkMethods)]).default('analytic'),
    )
    .option(...BACKBONE_OPTION)
    .option('--shots <n>', 'training images per class at most, drawn by the seed', wholeNumber(1, 1_000_000))
    .option('--seed <s>', 'seed of the draw, of training and of the joint fit', wholeNumber(0, 2 ** 31), 0)
    .option(
      '--class-order <s>',
      'draw the order of the classes by a seed (default: name order)',
      wholeNumber(0, 2 ** 31),
    )
    .addOption(
      new Option('--adapt-first-task <when>', 'fine-tune the backbone on the first task (auto: where it pays)')
        .choices(['auto', 'on', 'off'])
        .default('off'),
    )
    .option(
      '--epochs <n>',
      `times through the images, where a network is trained (default: ${networkProtocolDefaults.epochs})`,
      wholeNumber(1, 10_000),
    )
    .option('--size <px>', "input of a network that is trained (default: the backbone's)", wholeNumber(16, 2048))
    .option(
      '--exemplars <n>',
      `pictures of earlier classes that icarl and ss-il may keep (default: ${networkProtocolDefaults.exemplars})`,
      wholeNumber(1, 1_000_000),
    )
    .action(
      action(async (context: Context, dir: string, options: LearnOptions) => {
        refuseWithoutEffect(options);
        const { method, adaptFirstTask: adapt, size, tasks, shots, classOrder, seed } = options;
        const { epochs, exemplars } = { ...networkProtocolDefaults, ...options };
        const common = {
          dir: resolve(dir),
          backbone: await resolveBackbone(options.backbone, context),
          ...(tasks === undefined ? {} : { tasks }),
          ...(shots === undefined ? {} : { shots }),
          ...(classOrder === undefined ? {} : { classOrder }),
          threads: context.threads,
          seed,
          signal: context.signal,
          onProgress: context.out.progress,
        };
        const engine = createOrtEngine();
        const result = isLearnMethod(method)
          ? await runLearnProtocol({
              ...common,
              method,
              ...(adapt === 'off' ? {} : { adaptFirstTask: { mode: adapt, engine, epochs } }),
            })
          : await runNetworkProtocol({
              ...common,
              method,
              engine,
              epochs,
              exemplars,
              ...(size === undefined ? {} : { size }),
            });
        tellSkipped(result.skipped);
        for (const { classes, files } of result.contradicting) {
          context.out.progress(`the same picture in ${classes.join(', ')}: ${files.join(' = ')}`);
        }
        context.out.result(result, (r) =>
          format.table([
            ['accuracy', 'balanced', 'joint', 'bwt', 'largest weight difference to joint'],
            [
              format.percent(r.accuracy),
              format.percent(r.balancedAccuracy),
              format.percent(r.joint.accuracy),
              r.bwt.toFixed(4),
              r.maxWeightDifferenceToJoint?.toExponential(1) ?? '-',
            ],
          ]),
        );
      }),
    );

  withImportance(program.command('compress <dir>'), IMPORTANCES)
    .description('compressed models of a data set, measured on this PC')
    .addOption(
      new Option('--strategy <name>').choices(['none', 'pre-prune', 'post-prune', 'distill', 'auto']).default('auto'),
    )
    .option('--tasks <n>', 'tasks of the class-incremental protocol', wholeNumber(1, 10_000))
    .addOption(new Option('--precision <name>').choices(['fp32', 'int8', 'auto']).default('auto'))
    .option('--ratio <r>', 'share of multiply-accumulates that pruning removes', decimalNumber(0.01, 0.95))
    .option(...BACKBONE_OPTION)
    .option('--time-budget-s <s>', 'time for the search', decimalNumber(1, 1e6), 600)
    .option('--latency-ms <x>', 'greatest median latency', decimalNumber(0.01, 1e6))
    .option('--max-drop-pp <p>', 'greatest drop of balanced accuracy, points', decimalNumber(0, 100), 1)
    .option('--out <dir>', 'write <id>/{model.onnx, model.json, evidence.json} there')
    .option(
      '--work <dir>',
      'keep what the search measures there (default: OUT/.search, without --out a temporary folder)',
    )
    .option('--resume', 'go on with a search of the same images and options that was cut short')
    .addOption(
      new Option(
        '--adapt-first-task <when>',
        'pre-prune the backbone fine-tuned on the first task (auto: where it pays; default: auto with --strategy pre-prune, else off)',
      ).choices(['auto', 'on', 'off']),
    )
    .addOption(
      new Option(
        '--student <start>',
        'what a student is before it is taught: the pruned backbone, a network of a family with random weights, or whichever loses less on held-out images (default: auto with --strategy distill, else pruned)',
      ).choices(['auto', 'pruned', ...studentNames]),
    )
    .addOption(
      new Option(
        '--teach <curriculum>',
        "what a student is taught by: the teacher's features alone, the class losses of each task as well, or whichever loses less (default: features)",
      ).choices(['auto', 'features', 'tasks']),
    )
    .option('--seed <s>', 'of what is drawn by chance', wholeNumber(0, 2 ** 31), 0)
    .action(
      action(async (context: Context, dir: string, options: CompressOptions) => {
        refuseForStrategy(options);
        if (options.out !== undefined) await readyFolder(resolve(options.out));
        if (options.work !== undefined) await readyFolder(resolve(options.work), '--work');
        const { backbone: asked, out, work, importance: measures = ['reconstruction'], hedge, ...rest } = options;
        const result = await compressDataset({
          ...rest,
          dir: resolve(dir),
          backbone: await resolveBackbone(asked, context),
          ...(out === undefined ? {} : { out: resolve(out) }),
          work: resolve(work ?? (out === undefined ? keptFolder('searches') : join(out, '.search'))),
          importance: { measures, hedge },
          // Beside the station's own where there is a data folder; this command makes none.
          costs: existsSync(context.home) ? join(context.home, 'costs') : keptFolder('searches'),
          threads: context.threads,
          residentBytes: (model, inputSize) => residentBytes(model, inputSize, context.threads),
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
            // What several candidates leave alone is told once.
            ...new Set(r.candidates.flatMap(leftAlone)),
          ].join('\n'),
        );
      }),
    );
}
