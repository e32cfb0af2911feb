import { resolve } from 'node:path';
import type { Command } from 'commander';
import { checkHome, type HomeCheck } from '../../core/home-check.ts';
import { restoreBackup } from '../../core/restore.ts';
import { signIn } from './accounts.ts';
import type { Action, Context } from './context.ts';
import { withCore } from './core-client.ts';
import { followJob } from './jobs.ts';
import { EXIT } from './output.ts';
import { withUser, type UserOption } from './station-option.ts';
import { readPassword } from './terminal.ts';

/** A copy of the whole data folder, and a data folder from a copy. */
export function addBackupCommands(program: Command, action: Action, exitWith: (code: number) => void): void {
  withUser(
    program
      .command('backup <file>')
      .description('copy the data folder into one file; the password of the account opens it again'),
  ).action(
    action(async (context: Context, file: string, options: UserOption) => {
      await withCore(context, async (client) => {
        const password = await signIn(client, options.user);
        await followJob(context, client, await client.call('home.backup', { file: resolve(file), password }));
        const { lastBackup: made } = await client.call('home.state', {});
        context.out.result({ ...made }, () => `${made?.file} holds the data folder (${made?.bytes} bytes), verified.`);
      });
    }),
  );
  program
    .command('check')
    .description('read database and pictures of the data folder whole; exit 1 if something is wrong')
    .option('--repair', 'make a damaged database readable again; the damaged file is kept')
    .action(
      action(async (context: Context, options: { repair?: boolean }) => {
        const { home, signal } = context;
        const report = await checkHome({
          home,
          repair: options.repair === true,
          signal,
          progress: (done, of) => context.out.progress(`check: ${done} of ${of} pictures`),
        });
        if (!report.whole) exitWith(EXIT.failed);
        context.out.result(report, checkText);
      }),
    );
  program
    .command('restore <file>')
    .description('make the data folder (--home, empty) from a backup; asks for the password of who made it')
    .action(
      action(async (context: Context, file: string) => {
        const { home, signal } = context;
        const made = await restoreBackup({
          file: resolve(file),
          home,
          signal,
          password: readPassword,
          progress: (done, of) => context.out.progress(`restore: ${done} of ${of} files`),
        });
        context.out.result(
          { home, ...made },
          () => `${home} is as it was at ${made.head.at}: ${made.entries} files, ${made.bytes} bytes.`,
        );
      }),
    );
}

/** What was found, and what to do about it. */
const checkText = ({ problems, repair, pictures }: HomeCheck): string =>
  [
    problems.length === 0 ? 'The database is whole.' : `The database is damaged: ${problems.join('; ')}.`,
    ...(repair === null
      ? problems.length === 0
        ? []
        : ['Run "check --repair", or restore a backup into another folder.']
      : [
          `What could be read is in a new database; the damaged file is in ${repair.kept}.`,
          ...repair.tables.map(
            ({ name, read, dangling }) => `${name}: ${read} rows could be read, ${dangling} named a lost one.`,
          ),
          'Run "audit verify" next: it tells whether an entry of the trail is lost.',
        ]),
    `${pictures.whole} pictures are whole, ${pictures.damaged.length} are damaged, ${pictures.missing} are no longer kept.`,
    ...(pictures.damaged.length > 0
      ? ['Take the damaged ones from a backup, or label other parts in their place.']
      : []),
  ].join('\n');
