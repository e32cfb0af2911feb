import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { distillFile } from '../../compression/distill-file.ts';
import type { LeftAlone } from '../../compression/evidence/evidence.ts';
import { PRUNED_SHARE, pruneFile, quantizeFile, type ToolReport } from '../../compression/model-tools.ts';
import { isStudentFamily, studentNames } from '../../compression/distill/students.ts';
import { WEIGHT_MEASURES } from '../../compression/prune/analyse.ts';
import { IMPORTANCES, type Importance } from '../../compression/prune/measures.ts';
import { decimalNumber, wholeNumber, type Action, type Context } from './context.ts';
import { format, UsageError, warn } from './output.ts';

interface ModelCommandOptions {
  out: string;
  size?: number;
  seed: number;
}
interface ToolCommandOptions extends ModelCommandOptions {
  calibrate: string;
}

interface PruneCommandOptions extends ModelCommandOptions {
  calibrate?: string;
  ratio: number;
  importance?: Importance[];
  hedge: number;
}

interface DistillCommandOptions extends ToolCommandOptions {
  teacher?: string;
  ratio?: number;
  epochs: number;
}

/** Without labels there is no head to look at. */
const FOR_FILES = IMPORTANCES.filter((name) => name !== 'head');

/** Adds --importance and --hedge; values come as `importance` and `hedge`. */
export const withImportance = (command: Command, allowed: readonly Importance[], usual = 'reconstruction'): Command =>
  command
    .option(
      '--importance <measures>',
      `what a channel's worth is measured by, one or several of ${allowed.join(', ')} joined by commas (default: ${usual})`,
      (text: string): Importance[] =>
        text.split(',').map((name) => {
          const known = allowed.find((each) => each === name.trim());
          if (!known) throw new InvalidArgumentError(`"${name}" is none of ${allowed.join(', ')}.`);
          return known;
        }),
    )
    .option('--hedge <h>', 'share of weight norms, which know no pictures, in that measure', decimalNumber(0, 1), 0);

/** What pruning did not touch, a line each. */
export const leftAlone = ({ untouched, unknownOperators }: LeftAlone): string[] => [
  ...Object.entries(unknownOperators).map(
    ([op, count]) => `operator that pruning does not know: ${op} (${count}); channels that reach it stay`,
  ),
  ...untouched.map(({ group, why }) => `left alone: ${group}: ${why}`),
];

const told = ({ before, after, speedup, outputError, out, threads }: ToolReport): string =>
  [
    format.table([
      ['', 'MMACs', 'parameters', 'bytes', 'p50 ms'],
      ...(
        [
          ['before', before],
          ['after', after],
        ] as const
      ).map(([name, of]) => [
        name,
        of.macs === null ? '?' : (of.macs / 1e6).toFixed(1),
        of.params,
        of.bytes,
        of.latencyMsP50.toFixed(2),
      ]),
    ]),
    `${speedup.toFixed(2)} times as fast with ${threads} threads; ${
      outputError === null
        ? 'how far the outputs differ is not known'
        : `the outputs differ by ${(100 * outputError).toFixed(2)} % of their variance`
    }. Written to ${out}.`,
  ].join('\n');

/** @throws UsageError for a measure that looks at pictures where there are none */
function measuresFor({ importance, calibrate }: PruneCommandOptions): Importance[] {
  const asked = importance ?? [calibrate === undefined ? 'l2' : 'reconstruction'];
  const weights: readonly Importance[] = WEIGHT_MEASURES;
  const others = calibrate === undefined ? asked.filter((name) => !weights.includes(name)) : [];
  if (others.length === 0) return asked;
  const instead = `give --calibrate with a folder of them, or take ${weights.join(' or ')}`;
  throw new UsageError(`--importance ${others.join(',')}`, `it looks at pictures: ${instead}`);
}

/** @throws UsageError for what would change nothing, or cannot be */
function checkDistill(file: string, { teacher, ratio }: DistillCommandOptions): void {
  if (teacher !== undefined && ratio !== undefined)
    throw new UsageError('--ratio with --teacher', 'the file is the student as it is; without --teacher it is pruned');
  if (teacher === undefined && isStudentFamily(file) && !existsSync(file))
    throw new UsageError('--teacher', `the family ${file} needs a model that teaches it`);
}

/** Compression steps on plain ONNX files: no data set, no labels, no account. */
export function addToolCommands(program: Command, action: Action): void {
  const model = (name: string, description: string) =>
    program
      .command(`${name} <file>`)
      .description(description)
      .requiredOption('--out <file>', 'the ONNX file that is written')
      .option('--size <px>', 'side of the input (default: what the file states, else 224)', wholeNumber(16, 2048))
      .option('--seed <s>', 'of what is drawn by chance', wholeNumber(0, 2 ** 31), 0);
  const PICTURES = 'pictures, without labels, as the model will see them';
  const tool = (name: string, description: string) =>
    model(name, description).requiredOption('--calibrate <dir>', PICTURES);
  const common = (context: Context, file: string, options: ModelCommandOptions) => ({
    file: resolve(file),
    out: resolve(options.out),
    size: options.size,
    seed: options.seed,
    threads: context.threads,
    signal: context.signal,
    onProgress: context.out.progress,
    onWarning: warn,
  });

  withImportance(
    model('prune', 'cut channels out of an ONNX model and fit what is left')
      .option('--calibrate <dir>', `${PICTURES}; without them weight norms choose (l2), and nothing is fitted`)
      .option('--ratio <r>', 'share of multiply-accumulates to remove', decimalNumber(0.01, 0.95), PRUNED_SHARE),
    FOR_FILES,
    'reconstruction; without pictures l2',
  ).action(
    action(async (context: Context, file: string, options: PruneCommandOptions) => {
      const { ratio, hedge, calibrate } = options;
      const result = await pruneFile({
        ...common(context, file, options),
        calibrate: calibrate === undefined ? null : resolve(calibrate),
        ratio,
        importance: { measures: measuresFor(options), hedge },
      });
      context.out.result(result, (r) =>
        [
          told(r),
          `Asked for ${(100 * r.asked).toFixed(1)} % fewer multiply-accumulates, reached ${(100 * r.ratio).toFixed(1)} %.`,
          ...(r.fitted
            ? []
            : [
                `Chosen by weights alone (${r.importance.join(', ')}), and nothing was fitted: with --calibrate far less is lost; else train it before it is used.`,
              ]),
          ...leftAlone(r),
        ].join('\n'),
      );
    }),
  );
  tool('quantize', 'INT8 weights and activations of the convolutions of an ONNX model').action(
    action(async (context: Context, file: string, options: ToolCommandOptions) => {
      const calibrate = resolve(options.calibrate);
      const result = await quantizeFile({ ...common(context, file, options), calibrate });
      context.out.result(result, (r) =>
        [
          told(r),
          `${r.integers} convolutions in integers (${r.rule}), ${r.keptFloat.length} kept float.`,
          ...r.keptFloat.map(({ node, why }) => `kept float: ${node}: ${why}`),
        ].join('\n'),
      );
    }),
  );
  tool(
    'distill',
    `teach an ONNX model, or one of the families ${studentNames.join(', ')} from random weights, to give what a larger one gives`,
  )
    .option(
      '--teacher <file>',
      'ONNX model with the outputs that the student has to give (default: the file itself, which then teaches a pruned copy of it)',
    )
    .option(
      '--ratio <r>',
      `share of multiply-accumulates that a pruned copy has less (default: ${PRUNED_SHARE})`,
      decimalNumber(0.01, 0.95),
    )
    .option('--epochs <n>', 'times through the pictures', wholeNumber(1, 10_000), 10)
    .action(
      action(async (context: Context, file: string, options: DistillCommandOptions) => {
        checkDistill(file, options);
        const { teacher, ratio, epochs } = options;
        const result = await distillFile({
          ...common(context, file, options),
          calibrate: resolve(options.calibrate),
          // A family has a name and no file.
          file: isStudentFamily(file) ? file : resolve(file),
          teacher: teacher === undefined ? null : resolve(teacher),
          ratio,
          epochs,
        });
        context.out.result(result, told);
      }),
    );
}
