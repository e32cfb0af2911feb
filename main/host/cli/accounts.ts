import type { Client } from '../../contract/rpc/api.ts';
import { AppError } from '../../contract/errors.ts';
import type { Events, Methods } from '../../contract/methods.ts';
import { UsageError } from './output.ts';
import type { Context } from './context.ts';
import { readPassword } from './terminal.ts';

export type CoreClient = Client<Methods, Events>;

/**
 * Signs in for a command that changes something. Without --user the only account of the home is meant; with several, it must be named.
 * @returns the password, for commands that sign with it.
 * @throws CANCELLED where that was asked for meanwhile: what the command is for has not begun
 */
export async function signIn(
  { signal }: Pick<Context, 'signal'>,
  client: CoreClient,
  user: string | undefined,
): Promise<string> {
  const state = await client.call('session.state', {});
  if (state.firstStart) throw new AppError('HOME_EMPTY', { home: 'The data folder' });
  // A demo's own accounts are known to everybody; the first of them may do the most.
  const name = user ?? state.demoAccounts[0]?.name ?? (await onlyAccount(client));
  const demo = state.demoAccounts.find((account) => account.name === name);
  const password = demo ? demo.password : await readPassword(name);
  await client.call('session.signIn', { name, password });
  signal.throwIfAborted();
  return password;
}

async function onlyAccount(client: CoreClient): Promise<string> {
  const accounts = await client.call('session.accounts', {});
  const [first, second] = accounts;
  if (first && !second) return first.name;
  const names = accounts.map((account) => account.name).join(', ');
  throw new UsageError('--user', `it must name an account: ${names}`);
}
