import { realpath } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { AppError } from '../contract/errors.ts';

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
