import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { AppError, problemOf } from '../contract/errors.ts';
import { byCodeUnit } from './dataset.ts';

const isPicture = (name: string): boolean => /\.(jpe?g|png|bmp|tiff?|webp)$/i.test(name);

/** Links to pictures count: sets are often put together from links. */
const isFile = async (entry: Dirent): Promise<boolean> =>
  entry.isSymbolicLink()
    ? ((await stat(path.join(entry.parentPath, entry.name)).catch(() => null))?.isFile() ?? false)
    : entry.isFile();

/**
 * Paths of the pictures of a folder and of those in it, in name order. Links to folders are not followed: one to a folder above has no end.
 * @throws NOT_FOUND of a folder that cannot be read
 */
export async function picturesIn(folder: string): Promise<string[]> {
  const pictures: string[] = [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((cause: unknown) => {
    throw new AppError('NOT_FOUND', { kind: 'folder', id: `${folder}: ${problemOf(cause)}` }, { cause });
  });
  for (const entry of entries) {
    if (isPicture(entry.name) && (await isFile(entry))) pictures.push(path.join(entry.parentPath, entry.name));
  }
  return pictures.sort(byCodeUnit);
}
