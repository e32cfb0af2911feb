import { Command, CommanderError } from 'commander';
import { AppError } from '../../contract/errors.ts';
import { homeFolder } from '../home-folder.ts';
import { namedFolder, namesNothing, wholeNumber, type Run } from './context.ts';
import { groupsFor } from './groups.ts';
import { createOutput, endWhenUnread, EXIT, reportFailure, UsageError } from './output.ts';

interface GlobalOptions {
  json?: boolean;
  home?: string;
  threads?: number;
}

async function main(argv: readonly string[]): Promise<number> {
  const abort = new AbortController();
  // The second Ctrl-C ends at once: the first one may wait for a step to finish.
  process.once('SIGINT', () => {
    abort.abort(new AppError('CANCELLED'));
    process.once('SIGINT', () => process.exit(EXIT.cancelled));
  });
  process.once('SIGTERM', () => abort.abort(new AppError('CANCELLED')));

  let exitCode: number = EXIT.done;
  // As the words stand, until a command has parsed them: what is wrong with them is told before that.
  let json = argv.includes('--json');
  const program = new Command('mekiki')
    .description('Visual inspection that keeps learning on the line.')
    .option('--json', 'one JSON document on stdout')
    .option('--home <dir>', 'data folder (default: MEKIKI_HOME, else the application-data folder)', namedFolder)
    .option('--threads <n>', 'threads for models (default: 2)', wholeNumber(1, 64))
    .showHelpAfterError()
    .exitOverride();

  /** Wraps a command: one place that makes its context, reports its failure and sets the exit code. */
  const action =
    <A extends unknown[]>(run: Run<A>) =>
    async (...args: unknown[]): Promise<void> => {
      const command = args.at(-1) as Command;
      const options = command.optsWithGlobals<GlobalOptions>();
      json = options.json === true;
      refuseNothing(command);
      const context = {
        out: createOutput(json),
        home: homeFolder(options.home),
        threads: options.threads ?? 2,
        signal: abort.signal,
      };
      // Commander appends the options object and the command itself.
      await run(context, ...(args.slice(0, -1) as A));
    };

  try {
    for (const group of groupsFor(argv)) await group.add(program, action, (code) => (exitCode = code));
    inheritGlobalOptions(program);
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return endOfParsing(error, json);
    const cancelled = abort.signal.aborted ? new AppError('CANCELLED', {}, { cause: error }) : error;
    return reportFailure(cancelled, json);
  }
}

/**
 * What was meant by a name that is none is neither the folder that the command is called in, nor the only station, nor the active model.
 * @throws CommanderError, having told it as any other wrong call
 */
function refuseNothing(command: Command): void {
  const refuse = (what: string) =>
    command.error(`error: ${what} names nothing`, { code: 'commander.invalidArgument', exitCode: EXIT.usage });
  const nothing = command.args.findIndex(namesNothing);
  if (nothing >= 0) refuse(`argument ${nothing + 1}`);
  for (const option of command.options) {
    const value: unknown = command.getOptionValue(option.attributeName());
    if (NAMES.test(option.flags) && typeof value === 'string' && namesNothing(value))
      refuse(`option '${option.flags}'`);
  }
}
/** What an option is to name; a text may be empty. */
const NAMES = /<(file|dir|folder|id)\b/;

/** Commander has said on stderr what is wrong, or has shown the help that was asked for. */
function endOfParsing({ exitCode, code, message }: CommanderError, json: boolean): number {
  if (exitCode === 0) return EXIT.done;
  const problem = message
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
    .replace(/\.$/, '');
  if (json)
    reportFailure(new UsageError('command line', code === 'commander.help' ? 'a command is missing' : problem), json);
  return EXIT.usage;
}

/** `cli learn DIR --json` and `cli --json learn DIR` are both natural: the global options are taken after a command too. */
function inheritGlobalOptions(parent: Command): void {
  for (const command of parent.commands) {
    command.exitOverride();
    if (command.commands.length === 0) {
      command.option('--json', 'one JSON document on stdout');
      command.option('--home <dir>', 'data folder', namedFolder);
      command.option('--threads <n>', 'threads for models', wholeNumber(1, 64));
    }
    inheritGlobalOptions(command);
  }
}

endWhenUnread();
process.exitCode = await main(process.argv.slice(2));
