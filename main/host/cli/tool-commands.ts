import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { distillFile, pruneFile, quantizeFile, type ToolReport } from '../../compression/model-tools.ts';
import { isStudentFamily, studentNames } from '../../compression/distill/students.ts';
import { IMPORTANCES, type Importance } from '../../compression/prune/measures.ts';
import { decimalNumber, wholeNumber, type Action, type Context } from './context.ts';
import { format } from './output.ts';

interface ToolCommandOptions {
  out: string;
  calibrate: string;
  size?: number;
  seed: number;
}

interface PruneCommandOptions extends ToolCommandOptions {
  ratio: number;
  importance: Importance[];
  hedge: number;
}

/** Without labels there is no head to look at. */
const FOR_FILES = IMPORTANCES.filter((name) => name !== 'head');

/** Adds --importance and --hedge; values come as `importance` and `hedge`. */
export const withImportance = (command: Command, allowed: readonly Importance[]): Command =>
  command
    .option(
      '--importance <measures>',
      `what a channel's worth is measured by, one or several of ${allowed.join(', ')} joined by commas`,
      (text: string): Importance[] =>
        text.split(',').map((name) => {
          const known = allowed.find((each) => each === name.trim());
          if (!known) throw new InvalidArgumentError(`"${name}" is none of ${allowed.join(', ')}.`);
          return known;
        }),
      ['reconstruction' as const],
    )
    .option('--hedge <h>', 'share of weight norms, which know no pictures, in that measure', decimalNumber(0, 1), 0);

const told = ({ before, after, speedup, outputError, out }: ToolReport): string =>
  [
    format.table([
      ['', 'MMACs', 'parameters', 'bytes', 'p50 ms'],
      ...(
        [
          ['before', before],
          ['after', after],
        ] as const
      ).map(([name, of]) => [name, (of.macs / 1e6).toFixed(1), of.params, of.bytes, of.latencyMsP50.toFixed(2)]),
    ]),
    `${speedup.toFixed(2)} times as fast; the outputs differ by ${(100 * outputError).toFixed(2)} % of their variance. Written to ${out}.`,
  ].join('\n');

/** Compression steps on plain ONNX files: no data set, no labels, no account. */
export function addToolCommands(program: Command, action: Action): void {
  const tool = (name: string, description: string) =>
    program
      .command(`${name} <file>`)
      .description(description)
      .requiredOption('--out <file>', 'the ONNX file that is written')
      .requiredOption('--calibrate <dir>', 'pictures, without labels, as the model will see them')
      .option('--size <px>', 'side of the input (default: what the file states, else 224)', wholeNumber(16, 2048))
      .option('--seed <s>', '', wholeNumber(0, 2 ** 31), 0);
  const common = (context: Context, file: string, options: ToolCommandOptions) => ({
    file: resolve(file),
    out: resolve(options.out),
    calibrate: resolve(options.calibrate),
    size: options.size,
    seed: options.seed,
    threads: context.threads,
    signal: context.signal,
    onProgress: context.out.progress,
  });

  withImportance(
    tool('prune', 'cut channels out of an ONNX model and fit what is left').option(
      '--ratio <r>',
      'share of multiply-accumulates to remove',
      decimalNumber(0.01, 0.95),
      0.4,
    ),
    FOR_FILES,
  ).action(
    action(async (context: Context, file: string, options: PruneCommandOptions) => {
      const { ratio, importance: measures, hedge } = options;
      const result = await pruneFile({
        ...common(context, file, options),
        ratio,
        importance: { measures, hedge },
      });
      context.out.result(result, (r) =>
        [
          told(r),
          ...Object.entries(r.unknownOperators).map(
            ([op, count]) => `operator that pruning does not know: ${op} (${count}); channels that reach it stay`,
          ),
          ...r.untouched.map(({ group, why }) => `left alone: ${group}: ${why}`),
        ].join('\n'),
      );
    }),
  );
  tool('quantize', 'INT8 weights and activations of the convolutions of an ONNX model').action(
    action(async (context: Context, file: string, options: ToolCommandOptions) => {
      const result = await quantizeFile(common(context, file, options));
      context.out.result(result, (r) =>
        [told(r), `${r.integers} convolutions in integers (${r.rule}), ${r.keptFloat.length} kept float.`].join('\n'),
      );
    }),
  );
  tool(
    'distill',
    `teach an ONNX model, or one of the families ${studentNames.join(', ')} from random weights, to give what a larger one gives`,
  )
    .requiredOption('--teacher <file>', 'ONNX model with the outputs that the student has to give')
    .option('--epochs <n>', 'times through the pictures', wholeNumber(1, 10_000), 10)
    .action(
      action(
        async (context: Context, file: string, options: ToolCommandOptions & { teacher: string; epochs: number }) => {
          const result = await distillFile({
            ...common(context, file, options),
            // A family has a name and no file.
            file: isStudentFamily(file) ? file : resolve(file),
            teacher: resolve(options.teacher),
            epochs: options.epochs,
          });
          context.out.result(result, told);
        },
      ),
    );
}
