import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Job, Role } from '../../contract/domain.ts';
import { AppError, errorText } from '../../contract/errors.ts';
import { methods } from '../../contract/methods.ts';
import { weaknessOf } from '../../contract/password.ts';
import { homeState, type ConfigClient } from './home-state.ts';
import { passwordFrom } from './password-source.ts';
import { planOf, type Plan, type Step } from './plan.ts';
import { configInvalid } from './problems.ts';
import type { Config, UserEntry } from './schema.ts';

/** As the contract's `newPassword` has it. */
const SHORTEST = 8;

export interface ConfigFile {
  /** As named by whoever gave it: for messages, and where relative password files are looked for. */
  file: string;
  config: Config;
}

/**
 * What the signed-in account would change.
 * @throws CONFIG_INVALID where the file asks for what this home cannot become, NOT_ALLOWED where the account lacks a right
 */
export async function plan(client: ConfigClient, { file, config }: ConfigFile): Promise<Plan> {
  const made = planOf(config, await homeState(client));
  if ('problems' in made) throw configInvalid(file, made.problems);
  // Before the first step, not in the middle: half a configuration helps nobody.
  const missing = made.steps.filter(
    (step) => step.method === 'golden.add' && !statSync(folderOf(file, step), { throwIfNoEntry: false })?.isDirectory(),
  );
  if (missing.length > 0)
    throw configInvalid(
      file,
      missing.flatMap(({ changes }) =>
        changes.map(({ path, to }) => ({
          path,
          line: null,
          what: `there is no folder ${String(to)}`,
          next: 'Put the images there, a folder per class, or take the key out',
        })),
      ),
    );
  const { user } = await client.call('session.state', {});
  for (const { method } of made.steps) {
    const { roles } = methods[method];
    if (roles !== 'anyone' && user !== null && !(roles as readonly Role[]).includes(user.role))
      throw new AppError('NOT_ALLOWED', { method, roles: roles.join(', ') });
  }
  return made;
}

export interface OneTimePassword {
  name: string;
  password: string;
}

/**
 * Carries a plan out, one audited call per step. A step that fails ends it; what was done stays, and applying again goes on from there.
 * @param oneTime told of each password that was made for a new account, to be handed over and changed by its owner
 */
export async function carryOut(
  client: ConfigClient,
  wanted: ConfigFile,
  { steps }: Plan,
  oneTime: (made: OneTimePassword) => void,
): Promise<void> {
  const { passwords, brokerPassword } = secretsFor(wanted, steps);
  const made = new Map<string, string>();
  const madeStations = new Map<string, string>();
  for (const step of steps) {
    switch (step.method) {
      case 'session.setLanguage':
        await client.call(step.method, { language: step.language });
        break;
      case 'reports.setShifts':
        await client.call(step.method, { starts: step.starts });
        break;
      case 'candidates.setApprovalRule':
        await client.call(step.method, { twoPersons: step.twoPersons });
        break;
      case 'users.add': {
        const { name, role, disabled } = step.user;
        const given = passwords.get(name);
        // 120 bits: no guess finds it before it is changed.
        const password = given ?? randomBytes(15).toString('base64url');
        const oneTimeOnly = given === undefined;
        const { id } = await client.call(step.method, { name, role, password, oneTime: oneTimeOnly });
        made.set(name, id);
        if (oneTimeOnly && !disabled) oneTime({ name, password });
        break;
      }
      case 'users.disable':
        await client.call(step.method, { userId: step.userId ?? made.get(step.name)! });
        break;
      case 'stations.add': {
        const { backbone, golden: _folder, retention: _later, ...station } = step.station;
        const { id } = await client.call(step.method, {
          ...station,
          ...(backbone !== undefined && { backboneId: backbone }),
        });
        madeStations.set(station.name, id);
        break;
      }
      case 'stations.update':
        await client.call(step.method, { stationId: step.stationId, ...step.set });
        break;
      case 'retention.set':
        await client.call(step.method, {
          stationId: step.stationId ?? madeStations.get(step.name)!,
          retention: step.retention,
        });
        break;
      case 'events.set': {
        const { password: _source, ...config } = { password: undefined, ...step.events };
        await client.call(step.method, {
          config,
          ...(brokerPassword !== undefined && { password: brokerPassword }),
        });
        break;
      }
      case 'golden.add': {
        const stationId = step.stationId ?? madeStations.get(step.name)!;
        const path = folderOf(wanted.file, step);
        await endOf(client, await client.call(step.method, { stationId, path, newClasses: true }));
        break;
      }
    }
  }
}

/** Makes an empty home with its first supervisor and signs in. Whatever is known to fail later is found before. */
export async function firstStart(
  client: ConfigClient,
  wanted: ConfigFile,
  { user, askPassword }: { user: string | undefined; askPassword: (name: string) => Promise<string> },
): Promise<void> {
  const first = firstSupervisor(wanted, user);
  const { steps } = await plan(client, wanted);
  const password = secretsFor(wanted, steps).passwords.get(first.name) ?? (await askPassword(first.name));
  await client.call('session.firstStart', {
    name: first.name,
    password,
    language: wanted.config.language ?? 'en',
  });
}

/** Who becomes the first account of an empty home: the file's first supervisor, or the one that is named. CONFIG_INVALID. */
export function firstSupervisor({ file, config }: ConfigFile, user: string | undefined): UserEntry {
  const first = config.users.find(
    ({ name, role, disabled }) => role === 'supervisor' && !disabled && (user === undefined || name === user),
  );
  if (first === undefined)
    throw configInvalid(file, [
      {
        path: 'users',
        line: null,
        what: user === undefined ? 'there is no enabled supervisor' : `${user} is not an enabled supervisor there`,
        next: 'An empty data folder needs one: add it',
      },
    ]);
  return first;
}

/** What the steps need of what the file names sources for. CONFIG_INVALID, before the first step. */
export const secretsFor = (wanted: ConfigFile, steps: readonly Step[]) => ({
  passwords: passwordsFor(wanted, steps),
  brokerPassword: brokerPasswordFor(wanted, steps),
});

/**
 * Passwords of the accounts that the steps make and that the file names a source for.
 * @throws CONFIG_INVALID for a source that gives none, or a weak one
 */
function passwordsFor({ file }: ConfigFile, steps: readonly Step[]): Map<string, string> {
  const given = new Map<string, string>();
  for (const step of steps) {
    if (step.method !== 'users.add' || step.user.password === undefined) continue;
    const { name, password: source } = step.user;
    const password = passwordFrom(file, placeOf(name), source);
    if (password.length < SHORTEST || weaknessOf(password, name) !== null)
      throw configInvalid(file, [
        {
          path: placeOf(name),
          line: null,
          what: 'it is short or easy to guess',
          next: errorText('WEAK_PASSWORD', {}).nextAction.replace(/\.$/, ''),
        },
      ]);
    given.set(name, password);
  }
  return given;
}

/** The broker's, where the events are set and name a source. CONFIG_INVALID. */
function brokerPasswordFor({ file }: ConfigFile, steps: readonly Step[]): string | undefined {
  for (const step of steps)
    if (step.method === 'events.set' && step.events.kind === 'mqtt' && step.events.password !== undefined)
      return passwordFrom(file, 'events.password', step.events.password);
  return undefined;
}

/** Waits for a job's end; throws what it failed with. */
async function endOf(client: ConfigClient, { id }: Job): Promise<void> {
  await new Promise<void>((resolveEnd, reject) => {
    const look = (job: Job) => {
      if (job.id !== id) return;
      if (job.state === 'done') resolveEnd();
      else if (job.state === 'cancelled') reject(new AppError('CANCELLED'));
      else if (job.state === 'failed')
        reject(
          job.problem === null
            ? new AppError('INTERNAL', { ref: id })
            : AppError.fromWire({ ...job.problem, details: job.problem.details ?? {}, ref: id }),
        );
    };
    client.on('jobs.progressed', look);
    client.onClose(() => reject(new AppError('DISCONNECTED', { peer: 'core' })));
    // It may have ended before we listened.
    client.call('jobs.list', {}).then((jobs) => jobs.forEach(look), reject);
  });
}

/** Of a golden set; a relative one is beside the configuration file. */
const folderOf = (file: string, { folder }: Extract<Step, { method: 'golden.add' }>): string =>
  resolve(dirname(file), folder);
const placeOf = (name: string): string => `users[${JSON.stringify(name)}].password`;
