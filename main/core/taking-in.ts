import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { z } from 'zod';
import type { Knowledge } from '../contract/domain.ts';
import { nodeFiles, syncFile } from '../store/files.ts';
import type { Store } from '../store/open.ts';

/*
 * How a file of what another station gave gets its place beside the knowledge that learns it: both stand, or neither. While it is being learnt a setting names the place; the
 * transaction that stores the knowledge takes the setting back. Where a start finds it, what lies there was never learnt.
 */

const SETTING = 'knowledge.takingIn';
/** `place`: below the folder of what was added, and nowhere else, whoever wrote the row. `replaces`: another file lay there. */
const takingInSchema = z
  .object({ place: z.string().regex(/^(?!.*\.\.).+\.knowledge$/), replaces: z.boolean() })
  .nullable()
  .catch(null);

type Place = Pick<Store, 'home' | 'settings' | 'transaction'>;
const addedIn = ({ home }: Pick<Store, 'home'>): string => join(home, 'knowledge', 'added');
const beforeOf = (place: string): string => `${place}.before`;

/** Within the transaction that stores the knowledge which learnt it. */
export const noteTakenIn = ({ settings }: Pick<Store, 'settings'>): void => settings.set(SETTING, null);

/** What lies there goes, and what lay there before comes back. */
const putBack = async (place: string, replaces: boolean): Promise<void> => {
  const before = beforeOf(place);
  if (existsSync(before)) await rename(before, place);
  else if (!replaces) await rm(place, { force: true });
};

/**
 * Takes a file in and learns with it, or leaves everything as it was.
 * @param place what lies there is replaced
 * @param put writes the file
 * @param learn calls `noteTakenIn`
 */
export const takeIn = async (
  store: Place,
  place: string,
  put: (file: string) => Promise<void>,
  learn: () => Promise<Knowledge>,
): Promise<Knowledge> => {
  const [made, before] = [`${place}.new`, beforeOf(place)];
  await mkdir(dirname(place), { recursive: true });
  try {
    await put(made);
    await syncFile(made);
    const replaces = existsSync(place);
    const taking: z.input<typeof takingInSchema> = { place: relative(addedIn(store), place), replaces };
    store.transaction(() => store.settings.set(SETTING, taking));
    try {
      if (replaces) await rename(place, before);
      await rename(made, place);
      await nodeFiles.syncDirectory(dirname(place));
      return await learn();
    } catch (error) {
      await putBack(place, replaces);
      store.transaction(() => noteTakenIn(store));
      throw error;
    }
  } finally {
    await Promise.all([made, before].map((file) => rm(file, { force: true })));
  }
};

/** At the start: what a run that died was taking in. */
export const settleTakingIn = async (store: Place): Promise<void> => {
  const added = addedIn(store);
  const taking = takingInSchema.parse(store.settings.get(SETTING) ?? null);
  if (taking !== null) {
    await putBack(join(added, taking.place), taking.replaces);
    store.transaction(() => noteTakenIn(store));
  }
  for (const name of await readdir(added, { recursive: true }).catch(() => [])) {
    const path = join(added, name);
    const place = path.replace(/\.before$/, '');
    // Of a version that wrote no setting.
    if (path.endsWith('.knowledge.before') && !existsSync(place)) await rename(path, place);
    else if (/\.knowledge\.(before|new|(.*\.)?tmp)$/.test(path)) await rm(path, { force: true });
  }
};
