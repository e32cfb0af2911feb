import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AppError } from '../../contract/errors.ts';
import type { Action, Context } from './context.ts';
import { withCore } from './core-client.ts';
import { EXIT } from './output.ts';
import { signedIn, withAccount, type UserOption } from './station-option.ts';

/** The audit trail: proof that it is whole, and a copy to take away. */
export function addAuditCommands(program: Command, action: Action, exitWith: (code: number) => void): void {
  const audit = program.command('audit').description('who did what, and proof that nobody changed the record');
  audit
    .command('verify')
    .description('check every entry, the chain and its signed heads; exit 1 if something was changed')
    .action(
      action(async (context: Context) => {
        await withCore(context, async (client) => {
          // A window was opened on it and nobody has signed in yet: nothing was done there, and nothing is proven.
          const { firstStart } = await client.call('session.state', {});
          if (firstStart) throw new AppError('HOME_EMPTY', { home: context.home });
          const verdict = await client.call('audit.verify', {});
          if (!verdict.valid) exitWith(EXIT.failed);
          context.out.result(verdict, ({ entries, valid, firstBroken, signedUpTo }) =>
            valid
              ? `${entries} entries, unbroken; signed up to ${signedUpTo}.`
              : `The trail is broken at entry ${firstBroken} of ${entries}.`,
          );
        });
      }),
    );
  withAccount(audit.command('export <file>').description('write the whole trail, one JSON document a line')).action(
    action(async (context: Context, file: string, options: UserOption) => {
      await signedIn(context, options, async (client) => {
        const made = await client.call('audit.export', { file: resolve(file) });
        context.out.result(made, () => `${made.entries} entries are in ${made.file}.`);
      });
    }),
  );
}
