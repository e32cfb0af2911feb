import { existsSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { removeApproval } from '../audit/approval.ts';
import type { Logger } from '../contract/log.ts';
import type { Store } from '../store/open.ts';
import { bundleDirOf } from './bundle-folder.ts';
import { removePictureFiles } from './removed-pictures.ts';

/**
 * What other stations gave, where a run died while one file took the place of another (knowledge-exchange.ts): the one before goes back where nothing
 * lies; beside what lies there, it goes.
 */
const settleAdded = async (folder: string): Promise<void> => {
  const entries = await readdir(folder, { recursive: true }).catch(() => []);
  for (const path of entries.map((name) => join(folder, name))) {
    const place = path.replace(/\.before$/, '');
    if (path.endsWith('.knowledge.before') && !existsSync(place)) await rename(path, place);
    else if (/\.knowledge\.(before|new)$/.test(path)) await rm(path, { force: true });
  }
};

/** Takes away what a run that was killed left half-made: folders that no row of the database names. */
export const sweepHome = async (store: Store, log: Logger): Promise<void> => {
  const remove = async (folder: string, keep: Set<string>) => {
    for (const name of await readdir(join(store.home, folder))) {
      if (keep.has(name)) continue;
      log.info('left-over removed', { folder, name });
      await rm(join(store.home, folder, name), { recursive: true, force: true });
    }
  };
  // Beside the knowledge itself: sums per station, and what other stations gave.
  await remove('knowledge', new Set([...store.knowledge.ids(), 'sums', 'added']));
  await settleAdded(join(store.home, 'knowledge', 'added'));
  await remove('bundles', new Set(store.candidates.ids()));
  // Pictures that were removed, with the power gone before their files were.
  await removePictureFiles(store);
  // Signed, and then the program died before the row said so; or rejected, and it died before the file was gone.
  for (const id of store.candidates.unapproved()) await removeApproval(bundleDirOf(store.home, id));
  await remove('work', new Set(store.jobs.kept()));
};
