import { randomUUID } from 'node:crypto';
import { open, realpath, rm, stat } from 'node:fs/promises';
import { dirname, isAbsolute, resolve, sep } from 'node:path';
import { AppError } from '../contract/errors.ts';
import { outError } from '../store/files.ts';

/** The nearest folder on the way to this one that exists, without links. */
const realFolderOf = async (folder: string): Promise<string> => {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const real = await realpath(at).catch(() => null);
    if (real !== null || at === dirname(at)) return real ?? at;
  }
};

/**
 * What a person has written out lies where that person says, and not below whatever folder the program was started in; and outside the data
 * folder: inside, a file under a well-chosen name would stop the next start, or take the place of what the program keeps there.
 * @param named what the person named: the folder that is written into, or a file in it
 * @throws INVALID_INPUT
 */
export const refuseInHome = async (home: string, folder: string, named = folder): Promise<void> => {
  const refuse = (problem: string) => new AppError('INVALID_INPUT', { what: named, problem });
  if (!isAbsolute(folder)) throw refuse('give the whole path, from its disk on');
  const inside = await realpath(home).catch(() => resolve(home));
  const real = await realFolderOf(folder);
  if (real !== inside && !real.startsWith(inside + sep)) return;
  throw refuse("it lies in the data folder, which is the program's own");
};

/** By writing beside it: rights alone do not tell it of every folder. A folder that is not there is not made, it may be a disk that is not mounted. */
const tryFolderOf = async (file: string): Promise<void> => {
  const probe = `${file}.${randomUUID()}.tmp`;
  try {
    await (await open(probe, 'wx')).close();
    await rm(probe);
  } catch (error) {
    // In the system's words, but for the name that nobody gave.
    if (error instanceof Error) error.message = error.message.replace(probe, file);
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
  await refuseInHome(home, dirname(file), file);
  await tryFolderOf(file);
  const there = await stat(file).catch(() => null);
  if (there === null) return;
  if (!there.isFile() || !(await replaces(file))) throw new AppError('ALREADY_EXISTS', { kind: 'file', id: file });
};
