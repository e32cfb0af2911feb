import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { stringify } from 'yaml';
import { FIRST_STATION, stationSchema, type Backbone, type Station } from '../../contract/domain.ts';
import type { Events, Methods } from '../../contract/methods.ts';
import type { Retention } from '../../contract/retention.ts';
import type { Client } from '../../contract/rpc/api.ts';
import type { HomeState } from './plan.ts';
import type { Config } from './schema.ts';

export type ConfigClient = Client<Methods, Events>;

/** What a home has now, as far as the caller may see it: accounts only when signed in. */
export async function homeState(client: ConfigClient): Promise<HomeState> {
  const session = await client.call('session.state', {});
  const signedIn = session.user !== null;
  const configures = session.user?.role === 'engineer' || session.user?.role === 'supervisor';
  const stations = await client.call('stations.list', {});
  const golden = new Set<string>();
  const retention = new Map<string, Retention>();
  for (const { id: stationId } of stations) {
    const set = await client.call('golden.show', { stationId });
    // A set that was retired is not filled from its folder again: those pictures teach now.
    if (set !== null || (await client.call('golden.filling', { stationId })).retired > 0) golden.add(stationId);
    retention.set(stationId, (await client.call('retention.get', { stationId })).retention);
  }
  return {
    golden,
    retention,
    events: configures ? await client.call('events.get', {}) : null,
    language: session.language,
    shifts: (await client.call('reports.shifts', {})).starts,
    twoPersons: signedIn ? (await client.call('candidates.approvalRule', {})).twoPersons : 'auto',
    users: signedIn ? await client.call('users.list', {}) : [],
    stations,
    unused: await unusedIn(client, stations, golden),
    backbones: (await client.call('backbones.list', {})).map(({ id }) => id),
  };
}

/** The only station, as a new home is made with it: whoever set the home up came no further, or has not begun. */
async function unusedIn(
  client: ConfigClient,
  [station, ...others]: readonly Station[],
  golden: ReadonlySet<string>,
): Promise<Station | null> {
  if (station === undefined || others.length > 0 || golden.has(station.id)) return null;
  const { id, name, backboneId } = station;
  if (!Object.values<string>(FIRST_STATION).includes(name)) return null;
  const asMade = stationSchema.parse({
    id,
    name,
    backboneId,
    camera: { kind: 'simulated' },
    recipe: {},
    criteria: {},
    activeModelId: null,
  });
  if (!isDeepStrictEqual(station, asMade)) return null;
  return (await client.call('parts.recent', { stationId: id, limit: 1 })).length > 0 ? null : station;
}

/** Code points, so that two PCs agree whatever their language is. */
const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** The configuration that makes a home what this one is. No password, no model, no label is in it. */
export async function configOf(client: ConfigClient, home: string): Promise<Config> {
  const state = await homeState(client);
  const shipped = (await client.call('backbones.list', {})).filter(isShipped(home)).map(({ id }) => id);
  return {
    mekiki: 1,
    language: state.language,
    shifts: state.shifts,
    twoPersons: state.twoPersons,
    ...(state.events !== null && { events: state.events.config }),
    users: state.users.map(({ name, role, disabled }) => ({ name, role, disabled })).toSorted(byName),
    stations: state.stations
      .map(({ id, name, camera, recipe, criteria, backboneId, threads, line, lineOutput }) => ({
        name,
        camera,
        recipe,
        criteria,
        // The shipped one is the default, and another version of the program ships another one.
        ...(!shipped.includes(backboneId) && { backbone: backboneId }),
        threads,
        line,
        lineOutput,
        retention: state.retention.get(id)!,
      }))
      .toSorted(byName),
  };
}

const isShipped =
  (home: string) =>
  ({ file }: Backbone): boolean =>
    !file.startsWith(join(home, 'backbones'));

/** Also for readers of YAML 1.1, to which an unquoted `on` is a truth value. */
export const configText = (config: Config, format: 'yaml' | 'json'): string =>
  format === 'json' ? `${JSON.stringify(config, null, 2)}\n` : stringify(config, { lineWidth: 0, compat: 'yaml-1.1' });
