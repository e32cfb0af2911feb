import type { Command } from 'commander';
import type { Station } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import { signIn, type CoreClient } from './accounts.ts';
import type { Context } from './context.ts';
import { withCore } from './core-client.ts';
import { UsageError } from './output.ts';

export interface StationOption {
  station?: string;
}
export interface UserOption extends StationOption {
  user?: string;
}

export const withStation = (command: Command) => command.option('--station <id>', 'station (default: the only one)');
/** For what is of the whole data folder. */
export const withAccount = (command: Command) =>
  command.option('--user <name>', 'account (default: the only one; password from MEKIKI_PASSWORD or the terminal)');
export const withUser = (command: Command) => withAccount(withStation(command));

/** @param run also gets the password, for commands that sign with it */
export async function signedIn(
  context: Context,
  options: UserOption,
  run: (client: CoreClient, password: string) => Promise<void>,
): Promise<void> {
  await withCore(context, async (client) => {
    const password = await signIn(context, client, options.user);
    await run(client, password);
  });
}

export const atStation = (
  context: Context,
  options: UserOption,
  run: (client: CoreClient, station: Station, password: string) => Promise<void>,
) => signedIn(context, options, async (client, password) => run(client, await stationOf(client, options), password));

/** The station that is named by id or name, or the only one. @throws NOT_FOUND, UsageError */
export async function stationOf(client: CoreClient, options: StationOption): Promise<Station> {
  const stations = await client.call('stations.list', {});
  if (options.station) {
    const found = stations.find((s) => s.id === options.station || s.name === options.station);
    if (!found) throw new AppError('NOT_FOUND', { kind: 'station', id: options.station });
    return found;
  }
  const [first, second] = stations;
  if (!first) throw new AppError('NOT_FOUND', { kind: 'station', id: '-' });
  if (second) throw new UsageError('--station', `it must name one of ${stations.map((s) => s.id).join(', ')}`);
  return first;
}
