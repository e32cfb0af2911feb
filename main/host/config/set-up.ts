import { readFile } from 'node:fs/promises';
import { AppError, problemOf } from '../../contract/errors.ts';
import { givenPassword } from '../given-password.ts';
import { carryOut, firstStart, firstSupervisor, plan, secretsFor, type OneTimePassword } from './apply.ts';
import type { ConfigClient } from './home-state.ts';
import type { Change, Plan } from './plan.ts';
import { configInvalid } from './problems.ts';
import { readConfig } from './read-config.ts';
import type { Config } from './schema.ts';
import { decodeText } from './text-file.ts';

export interface SetUp {
  file: string;
  applied: boolean;
  changes: Change[];
  untouched: Plan['untouched'];
  oneTimePasswords: OneTimePassword[];
}

/** How whoever applies a file is known to the core. */
export interface Applicant {
  /** Account; of an empty home, the supervisor of the file that becomes its first. */
  user: string | undefined;
  askPassword(name: string): Promise<string>;
  /** In a home that has accounts. */
  signIn(client: ConfigClient): Promise<unknown>;
}

/** INVALID_INPUT for a file that cannot be read, CONFIG_INVALID for one that says what it must not. */
export async function configFrom(file: string): Promise<Config> {
  const read = readConfig(await textOf(file));
  if ('problems' in read) throw configInvalid(file, read.problems);
  return read.config;
}

/** @throws INVALID_INPUT for a file that cannot be read, or is no text */
export async function textOf(file: string): Promise<string> {
  const refused = (problem: string) => new AppError('INVALID_INPUT', { what: file, problem });
  const bytes = await readFile(file).catch((error: unknown) => {
    throw refused(problemOf(error));
  });
  const text = decodeText(bytes);
  if (text === null) throw refused('it is not UTF-8 text; save it as UTF-8');
  return text;
}

/**
 * Makes a home what the file says.
 * @param lost told of the passwords that were made when a later step failed: the accounts are there
 * @param signal heard until the first change: what has begun is done whole
 * @throws the signal's reason, what `configFrom`, `plan` and the single methods throw
 */
export async function setUp(
  client: ConfigClient,
  file: string,
  applicant: Applicant,
  { dryRun = false, lost, signal }: { dryRun?: boolean; lost: (made: OneTimePassword) => void; signal?: AbortSignal },
): Promise<SetUp> {
  const wanted = { file, config: await configFrom(file) };
  const { firstStart: empty } = await client.call('session.state', {});
  signal?.throwIfAborted();
  if (!empty) await applicant.signIn(client);
  else if (dryRun) firstSupervisor(wanted, applicant.user);
  else await firstStart(client, wanted, applicant);
  const { steps, untouched } = await plan(client, wanted);
  // What would be refused is refused.
  if (dryRun) secretsFor(wanted, steps);
  const oneTimePasswords: OneTimePassword[] = [];
  // An empty home has its first supervisor by now.
  if (!empty) signal?.throwIfAborted();
  if (!dryRun) {
    try {
      await carryOut(client, wanted, { steps, untouched }, (made) => oneTimePasswords.push(made));
    } catch (error) {
      oneTimePasswords.forEach(lost);
      throw error;
    }
  }
  return { file, applied: !dryRun, changes: steps.flatMap((step) => step.changes), untouched, oneTimePasswords };
}

export function reportOf({ applied, changes, untouched, oneTimePasswords }: SetUp): string {
  const left = [
    ...untouched.stations.map((name) => `station ${name}`),
    ...untouched.users.map((name) => `account ${name}`),
  ];
  return [
    ...changes.map(({ path, from, to }) =>
      from === null && typeof to === 'object'
        ? `+ ${path} ${JSON.stringify(to)}`
        : `~ ${path} ${JSON.stringify(from)} -> ${JSON.stringify(to)}`,
    ),
    ...left.map((what) => `  left alone, not in the file: ${what}`),
    changes.length === 0
      ? 'Nothing to change.'
      : applied
        ? `${changes.length} changes made.`
        : `${changes.length} changes; none was made.`,
    ...oneTimePasswords.map(passwordLine),
  ].join('\n');
}

export const passwordLine = ({ name, password }: OneTimePassword): string =>
  `Password of ${name}, shown once, to be changed by its owner: ${password}`;

/** Nobody is there to be asked: the first supervisor of the file, or the account that is named, with the password from MEKIKI_PASSWORD. */
export function unattended(config: Config, user: string | undefined): Applicant {
  const name = user ?? config.users.find(({ role, disabled }) => role === 'supervisor' && !disabled)?.name;
  return {
    user,
    askPassword: async (whom) => givenPassword(whom),
    async signIn(client) {
      if (name === undefined)
        throw new AppError('INVALID_INPUT', {
          what: '--user',
          problem: 'the file has no supervisor, so an account must be named',
        });
      await client.call('session.signIn', { name, password: givenPassword(name) });
    },
  };
}
