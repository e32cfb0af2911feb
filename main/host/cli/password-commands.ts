import type { Command } from 'commander';
import type { Action, Context } from './context.ts';
import { withCore } from './core-client.ts';
import { signIn } from './accounts.ts';
import { withAccount, type UserOption } from './station-option.ts';
import { readNewPassword, readRecoveryCode } from './terminal.ts';

/** Passwords that change: `users password`, `users reset ID`, `users recovery`, `users recover NAME`. */
export function addPasswordCommands(users: Command, action: Action): void {
  withAccount(
    users.command('password').description('change your own password; MEKIKI_NEW_PASSWORD or the terminal'),
  ).action(
    action(async (context: Context, options: UserOption) => {
      await withCore(context, async (client) => {
        const password = await signIn(context, client, options.user);
        const newPassword = await readNewPassword('your account');
        await client.call('session.changePassword', { password, newPassword });
        context.out.result({ changed: true }, () => 'The password is changed.');
      });
    }),
  );
  withAccount(
    users
      .command('reset <id>')
      .description('give an account a new password and with it a new key; MEKIKI_NEW_PASSWORD or the terminal'),
  ).action(
    action(async (context: Context, userId: string, options: UserOption) => {
      await withCore(context, async (client) => {
        const password = await signIn(context, client, options.user);
        const newPassword = await readNewPassword(userId);
        const user = await client.call('users.resetPassword', { userId, newPassword, password });
        context.out.result({ user }, () => `${user.name} has a new password and a new key.`);
      });
    }),
  );
  withAccount(
    users.command('recovery').description('make the code that a supervisor without a password needs; shown once'),
  ).action(
    action(async (context: Context, options: UserOption) => {
      await withCore(context, async (client) => {
        const password = await signIn(context, client, options.user);
        const made = await client.call('users.makeRecovery', { password });
        context.out.result(made, () => `${made.code}\nKeep it locked away, not on this PC. It works once.`);
      });
    }),
  );
  users
    .command('recover <name>')
    .description(
      'set a new password for a supervisor with the recovery code; MEKIKI_RECOVERY_CODE and MEKIKI_NEW_PASSWORD or the terminal',
    )
    .action(
      action(async (context: Context, name: string) => {
        await withCore(context, async (client) => {
          // Not an argument: other accounts of the PC see those for as long as the command runs, and the code works for anybody.
          const code = await readRecoveryCode(name);
          const newPassword = await readNewPassword(name);
          await client.call('session.recover', { code, name, newPassword });
          context.out.result({ recovered: name }, () => `${name} has a new password and a new key.`);
        });
      }),
    );
}
