import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { removeApproval } from '../audit/approval.ts';
import type { Logger } from '../contract/log.ts';
import type { Store } from '../store/open.ts';
import { keptByRepair } from '../store/repair.ts';
import { bundleDirOf } from './bundle-folder.ts';
import { removePictureFiles } from './removed-pictures.ts';
import { settleTakingIn } from './taking-in.ts';

/**
 * Takes away what a run that was killed left half-made: folders that no row of the database names. After a repair the row may be one that could not be read: then they go
 * to the damaged file, models with their approvals among them.
 */
export const sweepHome = async (store: Store, log: Logger): Promise<void> => {
  const kept = await keptByRepair(store.home);
  const remove = async (folder: string, keep: Set<string>) => {
    for (const name of await readdir(join(store.home, folder))) {
      if (keep.has(name)) continue;
      log.info('left-over removed', { folder, name, to: kept });
      const path = join(store.home, folder, name);
      if (kept === null) await rm(path, { recursive: true, force: true });
      else {
        await mkdir(join(kept, folder), { recursive: true });
        await rename(path, join(kept, folder, name));
      }
    }
  };
  // Beside the knowledge itself: sums per station, and what other stations gave.
  await remove('knowledge', new Set([...store.knowledge.ids(), 'sums', 'added']));
  await settleTakingIn(store);
  await remove('bundles', new Set(store.candidates.ids()));
  // Pictures that were removed, with the power gone before their files were.
  await removePictureFiles(store);
  // Signed, and then the program died before the row said so; or rejected, and it died before the file was gone.
  for (const id of store.candidates.unapproved()) await removeApproval(bundleDirOf(store.home, id));
  await remove('work', new Set(store.jobs.kept()));
};
