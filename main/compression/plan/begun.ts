import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/*
 * How often each variant of a search was begun and not finished, a small file each: a variant with which the process ends every time is better left alone.
 */

const ENDING = '.begun';

/** Folder of a search. @param name its digest */
export const searchFolder = (work: string, name: string): string => join(work, `search-${name.slice(0, 20)}`);
export const begunFile = (id: string): string => `${id}${ENDING}`;
export const timesBegun = (path: string): Promise<number> => readFile(path, 'utf8').then(Number, () => 0);

/**
 * What was being tried when its process was ended in order counts as not begun. The process must have ended.
 * @param work as a checkpoint is opened with; what is not there is nothing to take back
 */
export async function takeBackBegun(work: string): Promise<void> {
  for (const name of await readdir(work, { recursive: true }).catch(() => [])) {
    if (!name.endsWith(ENDING)) continue;
    const path = join(work, name);
    const before = (await timesBegun(path)) - 1;
    // Half-written, the file counts for too little, never for too much.
    await (before > 0 ? writeFile(path, String(before)) : rm(path, { force: true }));
  }
}
