import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AppError } from '../../contract/errors.ts';
import { outError, removeLeft } from '../../store/files.ts';
import { isFree } from '../../store/home.ts';
import { configOf, configText } from '../config/home-state.ts';
import { configInvalid, problemLine } from '../config/problems.ts';
import { readConfig } from '../config/read-config.ts';
import { configFrom, passwordLine, reportOf, setUp, textOf } from '../config/set-up.ts';
import { signIn } from './accounts.ts';
import type { Action, Context } from './context.ts';
import { withCore } from './core-client.ts';
import { EXIT } from './output.ts';
import { signedIn, withAccount, type UserOption } from './station-option.ts';
import { inTemporaryFolder } from './temporary-folder.ts';
import { readPassword } from './terminal.ts';

/** Setting a PC up from one file: `config check`, `config apply`, `config export` (format: main/host/config). */
export function addConfigCommands(program: Command, action: Action, exitWith: (code: number) => void): void {
  const config = program
    .command('config')
    .description('stations, cameras, line output, accounts and criteria in one file');

  config
    .command('check <file>')
    .description('everything that is wrong with a file; needs no data folder')
    .action(
      action(async ({ out }: Context, file: string) => {
        const read = readConfig(await textOf(file));
        const problems = 'problems' in read ? read.problems : [];
        if (problems.length > 0) exitWith(EXIT.failed);
        const { code, message, nextAction } = configInvalid(file, problems);
        out.result(
          {
            file,
            valid: problems.length === 0,
            problems,
            ...(problems.length > 0 && { error: { code, message, nextAction } }),
          },
          ({ valid }) =>
            valid ? `${file} is valid.` : problems.map((problem) => problemLine(file, problem)).join('\n'),
        );
      }),
    );

  withAccount(
    config
      .command('apply <file>')
      .description('make the data folder what the file says; an empty one gets its first supervisor from it')
      .option('--dry-run', 'only show what would change'),
  ).action(
    action(async (context: Context, file: string, options: UserOption & { dryRun?: boolean }) => {
      await configFrom(file);
      const dryRun = options.dryRun === true;
      const apply = (home: string) =>
        withCore(
          { ...context, home },
          async (client) => {
            const done = await setUp(
              client,
              file,
              { user: options.user, askPassword: readPassword, signIn: () => signIn(context, client, options.user) },
              { dryRun, signal: context.signal, lost: (made) => process.stderr.write(`${passwordLine(made)}\n`) },
            );
            context.out.result(done, reportOf);
          },
          { makes: true },
        );
      // A trial makes nothing, and no data folder either: of an empty one it is carried out in a folder that goes again.
      await (dryRun && isFree(context.home) ? inTemporaryFolder('trial', apply) : apply(context.home));
    }),
  );

  withAccount(
    config
      .command('export <file>')
      .description('write such a file of this data folder: YAML, or JSON where it ends so'),
  ).action(
    action(async (context: Context, file: string, options: UserOption) => {
      await signedIn(context, options, async (client) => {
        const made = await configOf(client, context.home);
        try {
          await writeFile(file, configText(made, file.endsWith('.json') ? 'json' : 'yaml'), { flag: 'wx' });
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'EEXIST')
            throw new AppError('ALREADY_EXISTS', { kind: 'file', id: file });
          // Of a disk that is full there is a part of it, which would pass for a shorter configuration.
          await removeLeft(file);
          throw outError(error, file, file);
        }
        const [stations, users] = [made.stations.length, made.users.length];
        context.out.result(
          { file: resolve(file), stations, users },
          () => `${stations} stations and ${users} accounts are in ${file}.`,
        );
      });
    }),
  );
}
