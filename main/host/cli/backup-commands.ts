import { resolve } from 'node:path';
import type { Command } from 'commander';
import { restoreBackup } from '../../core/restore.ts';
import { signIn } from './accounts.ts';
import type { Action, Context } from './context.ts';
import { withCore } from './core-client.ts';
import { followJob } from './jobs.ts';
import { withUser, type UserOption } from './station-option.ts';
import { readPassword } from './terminal.ts';

/** A copy of the whole data folder, and a data folder from a copy. */
export function addBackupCommands(program: Command, action: Action): void {
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
