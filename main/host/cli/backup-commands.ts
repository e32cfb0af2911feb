import { resolve } from 'node:path';
import type { Command } from 'commander';
import { checkHome } from '../../core/home-check.ts';
import { restoreBackup } from '../../core/restore.ts';
import { checkProgress, checkText, restoreProgress, restoreText } from '../upkeep-texts.ts';
import { signIn } from './accounts.ts';
import type { Action, Context } from './context.ts';
import { withCore } from './core-client.ts';
import { followJob } from './jobs.ts';
import { EXIT, warn } from './output.ts';
import { withAccount, type UserOption } from './station-option.ts';
import { readPassword } from './terminal.ts';

/** A copy of the whole data folder, and a data folder from a copy. */
export function addBackupCommands(program: Command, action: Action, exitWith: (code: number) => void): void {
  withAccount(
    program
      .command('backup <file>')
      .description('copy the data folder into one file; the password of the account opens it again'),
  ).action(
    action(async (context: Context, file: string, options: UserOption) => {
      await withCore(context, async (client) => {
        const password = await signIn(context, client, options.user);
        const asked = await client.call('home.backup', { file: resolve(file), password });
        const { skipped = [] } = await followJob(context, client, asked);
        const { lastBackup: made } = await client.call('home.state', {});
        for (const { message } of skipped) warn(message);
        context.out.result(
          { ...made, skipped },
          () => `${made?.file} holds the data folder (${made?.bytes} bytes), verified.`,
        );
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
          progress: (done, of) => context.out.progress(checkProgress(done, of)),
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
          progress: (done, of) => context.out.progress(restoreProgress(done, of)),
        });
        context.out.result({ home, ...made }, () => restoreText(home, made));
      }),
    );
}
