import type { Store } from '../store/open.ts';

/** Files that are taken away between two transactions. */
const AT_ONCE = 200;

/**
 * Takes away the files of pictures whose rows are gone. The row goes first: a power cut leaves a file that is named in the list, and the next start finds it there.
 * The very same picture may come again in the moment in which its file goes; then the new part has none.
 */
export const removePictureFiles = async (store: Store): Promise<void> => {
  for (;;) {
    const shas = store.transaction(() => store.retention.toRemove(AT_ONCE));
    if (shas.length === 0) return;
    await store.images.remove(shas);
    store.transaction(() => store.retention.removed(shas));
  }
};
