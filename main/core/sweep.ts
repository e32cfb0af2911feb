import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { removeApproval } from '../audit/approval.ts';
import type { Store } from '../store/open.ts';
import { bundleDirOf } from './candidates.ts';
import type { Logger } from './port.ts';

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
  await remove('bundles', new Set(store.candidates.ids()));
  // Signed, and then the program died before the row said so; or rejected, and it died before the file was gone.
  for (const id of store.candidates.unapproved()) await removeApproval(bundleDirOf(store.home, id));
  const taken = store.jobs.unfinished().filter(({ request }) => request !== undefined);
  await remove('work', new Set(taken.map(({ job }) => job.id)));
};
