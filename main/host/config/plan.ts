import { isDeepStrictEqual } from 'node:util';
import type { Station, User } from '../../contract/domain.ts';
import type { Methods, MethodInput } from '../../contract/methods.ts';
import type { PlantEvents } from '../../contract/plant-events.ts';
import { retentionSchema, type Retention } from '../../contract/retention.ts';
import type { ShiftStarts } from '../../contract/shifts.ts';
import { pathText, type Path, type Problem } from './problems.ts';
import { accountKey, type Config, type StationEntry, type UserEntry } from './schema.ts';

/** What a data folder has of what a configuration names. */
export interface HomeState {
  language: 'en' | 'ja';
  shifts: ShiftStarts;
  twoPersons: 'auto' | 'always' | 'never';
  /** null: whoever asks may not see it. */
  events: { config: PlantEvents; hasPassword: boolean } | null;
  users: readonly User[];
  stations: readonly Station[];
  /** The one station of a home that nobody has set up yet: the first one of the file takes its place, unless one of the file's has its name. */
  unused: Station | null;
  /** Ids, the shipped one among them. */
  backbones: readonly string[];
  /** Ids of the stations that have a golden set, or had one. */
  golden: ReadonlySet<string>;
  /** By station's id. */
  retention: ReadonlyMap<string, Retention>;
}

export interface Change {
  /** Such as `stations["Line 1"].camera.exposureUs`. */
  path: string;
  from: unknown;
  to: unknown;
}

type StationChanges = Omit<MethodInput<'stations.update'>, 'stationId'>;

/** One call that brings the home nearer to the configuration. */
export type Step = { changes: Change[] } & (
  | { method: 'session.setLanguage'; language: 'en' | 'ja' }
  | { method: 'reports.setShifts'; starts: ShiftStarts }
  | { method: 'candidates.setApprovalRule'; twoPersons: HomeState['twoPersons'] }
  | { method: 'users.add'; user: UserEntry }
  /** null: an account that an earlier step makes. */
  | { method: 'users.disable'; userId: string | null; name: string }
  | { method: 'stations.add'; station: StationEntry }
  | { method: 'stations.update'; stationId: string; set: StationChanges }
  | { method: 'events.set'; events: NonNullable<Config['events']> }
  /** null: a station that an earlier step makes. */
  | { method: 'retention.set'; stationId: string | null; name: string; retention: Retention }
  /** null: a station that an earlier step makes. */
  | { method: 'golden.add'; stationId: string | null; name: string; folder: string }
) & { method: keyof Methods };

export interface Plan {
  steps: Step[];
  /** In the home and not in the file: left alone. */
  untouched: { users: string[]; stations: string[] };
}

/**
 * What has to be done, in this order; nothing where the home is already so. Accounts and stations are told apart by name.
 */
export function planOf(config: Config, home: HomeState): Plan | { problems: Problem[] } {
  const problems: Problem[] = [];
  const refuse = (path: Path, what: string, next: string) =>
    problems.push({ path: pathText(path), line: null, what, next });
  const steps: Step[] = [];

  if (config.language !== undefined && config.language !== home.language)
    steps.push({
      method: 'session.setLanguage',
      language: config.language,
      changes: [{ path: 'language', from: home.language, to: config.language }],
    });
  if (config.shifts !== undefined && !isDeepStrictEqual(config.shifts, home.shifts))
    steps.push({
      method: 'reports.setShifts',
      starts: config.shifts,
      changes: [{ path: 'shifts', from: home.shifts, to: config.shifts }],
    });

  config.users.forEach((user, i) => {
    const there = home.users.find(({ name }) => accountKey(name) === accountKey(user.name));
    const place = `users[${JSON.stringify(user.name)}]`;
    if (there === undefined) {
      steps.push({ method: 'users.add', user, changes: [{ path: place, from: null, to: { role: user.role } }] });
    } else {
      if (there.role !== user.role)
        refuse(
          ['users', i, 'role'],
          `${there.name} is ${there.role}, and an account keeps its role`,
          'Disable it and add another one',
        );
      if (there.disabled && !user.disabled)
        refuse(['users', i, 'disabled'], `${there.name} is disabled for good`, 'Add another account');
    }
    if (user.disabled && there?.disabled !== true)
      steps.push({
        method: 'users.disable',
        userId: there?.id ?? null,
        name: user.name,
        changes: [{ path: `${place}.disabled`, from: false, to: true }],
      });
  });
  // After the accounts: `always` needs two supervisors to be of use.
  if (config.twoPersons !== undefined && config.twoPersons !== home.twoPersons)
    steps.push({
      method: 'candidates.setApprovalRule',
      twoPersons: config.twoPersons,
      changes: [{ path: 'twoPersons', from: home.twoPersons, to: config.twoPersons }],
    });

  if (config.events !== undefined) {
    const { password, ...wanted } = { password: undefined, ...config.events };
    const same = isDeepStrictEqual(wanted, home.events?.config);
    if (!same || (password !== undefined && home.events?.hasPassword !== true))
      steps.push({
        method: 'events.set',
        events: config.events,
        changes: same
          ? [{ path: 'events.password', from: null, to: 'given' }]
          : changesIn(home.events?.config ?? null, wanted, 'events'),
      });
  }

  const adopted =
    config.stations.length === 0 || config.stations.some(({ name }) => name === home.unused?.name) ? null : home.unused;
  config.stations.forEach((station, i) => {
    const named = home.stations.filter(({ name }) => name === station.name);
    if (named.length > 1)
      refuse(
        ['stations', i, 'name'],
        `${named.length} stations here have this name`,
        'Rename one: stations set ID --name NAME',
      );
    const there = named[0] ?? (i === 0 && adopted !== null ? adopted : undefined);
    if (
      station.backbone !== undefined &&
      station.backbone !== there?.backboneId &&
      !home.backbones.includes(station.backbone)
    )
      refuse(
        ['stations', i, 'backbone'],
        `there is no backbone "${station.backbone}" here`,
        'Add its file on the command line: backbones add FILE',
      );
    const place = `stations[${JSON.stringify(station.name)}]`;
    const { backbone, golden, retention, ...rest } = station;
    const setRetention = () => {
      const from = home.retention.get(there?.id ?? '') ?? retentionSchema.parse({});
      if (retention === undefined || isDeepStrictEqual(retention, from)) return;
      steps.push({
        method: 'retention.set',
        stationId: there?.id ?? null,
        name: station.name,
        retention,
        changes: changesIn(from, retention, `${place}.retention`),
      });
    };
    const addGolden = () => {
      if (golden === undefined || (there !== undefined && home.golden.has(there.id))) return;
      steps.push({
        method: 'golden.add',
        stationId: there?.id ?? null,
        name: station.name,
        folder: golden,
        changes: [{ path: `${place}.golden`, from: null, to: golden }],
      });
    };
    if (there === undefined) {
      steps.push({
        method: 'stations.add',
        station,
        changes: [{ path: place, from: null, to: { ...rest, ...(backbone && { backbone }) } }],
      });
      setRetention();
      addGolden();
      return;
    }
    const wanted = { ...rest, ...(backbone !== undefined && { backboneId: backbone }) };
    const changed = Object.entries(wanted).filter(
      ([key, value]) => value !== undefined && !isDeepStrictEqual(value, there[key as keyof Station]),
    );
    if (changed.length > 0)
      steps.push({
        method: 'stations.update',
        stationId: there.id,
        set: Object.fromEntries(changed),
        changes: changed.flatMap(([key, value]) => changesIn(there[key as keyof Station], value, `${place}.${key}`)),
      });
    setRetention();
    addGolden();
  });
  if (problems.length > 0) return { problems };
  return {
    steps,
    untouched: {
      users: home.users
        .filter(({ name }) => !config.users.some((user) => accountKey(user.name) === accountKey(name)))
        .map(({ name }) => name),
      stations: home.stations
        .filter((station) => station.id !== adopted?.id && !config.stations.some(({ name }) => name === station.name))
        .map(({ name }) => name),
    },
  };
}

/** The values that differ, each by its own path; of something else altogether (another kind of camera) both whole. */
function changesIn(from: unknown, to: unknown, path: string): Change[] {
  const groups = [from, to].every((value) => typeof value === 'object' && value !== null && !Array.isArray(value));
  if (!groups) return isDeepStrictEqual(from, to) ? [] : [{ path, from: from ?? null, to: to ?? null }];
  const [before, after] = [from as Record<string, unknown>, to as Record<string, unknown>];
  if (before['kind'] !== after['kind']) return [{ path, from, to }];
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
    changesIn(before[key], after[key], `${path}.${key}`),
  );
}
