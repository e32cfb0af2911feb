import type { Command } from 'commander';
import type { Station } from '../../contract/domain.ts';
import { signIn, type CoreClient } from './accounts.ts';
import type { Action, Context } from './context.ts';
import { withCore, withServed } from './core-client.ts';
import { UsageError } from './output.ts';
import { SERVED } from './served-window.ts';
import { stationOf, withStation, withUser, type UserOption } from './station-option.ts';

export interface ServedOption extends UserOption {
  served?: boolean;
}

/** Where a command of a station works. */
export interface At {
  context: Context;
  client: CoreClient;
  station: Station;
}

/** A command that asks the core about a station: a row of its group's table. */
export interface StationCommand {
  /** As commander has it: `acknowledge <id>`. */
  usage: string;
  description: string;
  /** Who changes something, or is asked as a person, signs in. */
  signsIn: boolean;
  /** Options of its own. */
  withOptions?(command: Command): Command;
  /** First what was typed is parsed, before anything is opened; what comes back does the work. @throws UsageError */
  run(options: ServedOption, ...words: string[]): (at: At) => Promise<unknown>;
  /** For people. */
  text(result: unknown): string;
}

/** A row with the types of its own options and result. */
export const stationCommand = <O extends ServedOption, R>(
  row: Omit<StationCommand, 'run' | 'text'> & {
    run(options: O, ...words: string[]): (at: At) => Promise<R>;
    text(result: R): string;
  },
): StationCommand => row as StationCommand;

export interface StationGroup {
  name: string;
  description: string;
  commands: readonly StationCommand[];
}

export function addStationGroup(program: Command, action: Action, { name, description, commands }: StationGroup): void {
  const group = program.command(name).description(description);
  for (const {
    usage,
    description: what,
    signsIn,
    withOptions = (command: Command) => command,
    run,
    text,
  } of commands) {
    const command = withOptions(group.command(usage).description(what)).option(
      '--served',
      `of the window that serve shows on this PC, by its address in ${SERVED} (default: the data folder, which nobody else may have open)`,
    );
    (signsIn ? withUser : withStation)(command).action(
      action(async (context: Context, ...given: unknown[]) => {
        const options = given.pop() as ServedOption;
        const ask = run(options, ...(given as string[]));
        const work = async (client: CoreClient) => {
          if (signsIn) await signIn(context, client, options.user);
          context.out.result(await ask({ context, client, station: await stationOf(client, options) }), text);
        };
        await (options.served ? withServed(work) : withCore(context, work));
      }),
    );
  }
}

/** Number of a part or an alarm. @throws UsageError */
export function numberOf(what: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(what, `"${text}" is no number`);
  return Number(text);
}
