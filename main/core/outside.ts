import { randomUUID } from 'node:crypto';
import { open, realpath, rm, stat } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { AppError } from '../contract/errors.ts';
import { outError } from '../store/files.ts';

/** The nearest folder above a path that exists, without links. */
const realFolderOf = async (path: string): Promise<string> => {
  for (let at = dirname(resolve(path)); ; at = dirname(at)) {
    const real = await realpath(at).catch(() => null);
    if (real !== null || at === dirname(at)) return real ?? at;
  }
};

/**
 * What a person has written out lies outside the data folder: inside, a file under a well-chosen name would stop the next start, or take the
 * place of what the program keeps there.
 * @throws INVALID_INPUT
 */
export const refuseInHome = async (home: string, file: string): Promise<void> => {
  const inside = await realpath(home);
  const folder = await realFolderOf(file);
  if (folder !== inside && !folder.startsWith(inside + sep)) return;
  throw new AppError('INVALID_INPUT', {
    what: 'file',
    problem: `${file} lies in the data folder, which is the program's own`,
  });
};

/** By writing beside it: rights alone do not tell it of every folder. A folder that is not there is not made, it may be a disk that is not mounted. */
const tryFolderOf = async (file: string): Promise<void> => {
  const probe = `${file}.${randomUUID()}.tmp`;
  try {
    await (await open(probe, 'wx')).close();
    await rm(probe);
  } catch (error) {
    throw outError(error, file, 'file');
  }
};

/**
 * Before work whose result a person has written to a file: outside the data folder, in a folder that takes it, and in the place of no file but one that `replaces` knows.
 * @throws INVALID_INPUT, DISK_FULL, ALREADY_EXISTS
 */
export const checkTarget = async (
  home: string,
  file: string,
  replaces: (file: string) => Promise<boolean> = async () => false,
): Promise<void> => {
  await refuseInHome(home, file);
  await tryFolderOf(file);
  const there = await stat(file).catch(() => null);
  if (there === null) return;
  if (!there.isFile() || !(await replaces(file))) throw new AppError('ALREADY_EXISTS', { kind: 'file', id: file });
};
