import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError } from '../../contract/errors.ts';
import { outError } from '../../store/files.ts';

/**
 * Does `work` with an empty folder that is there for as long as it takes.
 * @param what part of its name, for whoever finds one of a process that was killed
 * @throws INVALID_INPUT or DISK_FULL where none can be made, and what `work` throws
 */
export async function inTemporaryFolder<T>(what: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), `mekiki-${what}-`)).catch((error: unknown) => {
    throw outError(error, tmpdir(), FOR_TEMPORARY);
  });
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * For what can be made again, and is better kept for the next command. Of this account: no other one can write to it. The folder that all share lets another one be first: one
 * that is not this account's, or a link, is not believed.
 * @throws INVALID_INPUT, DISK_FULL
 */
export function keptFolder(what: string): string {
  const account = process.getuid?.();
  const folder = join(tmpdir(), `mekiki-${what}-${account ?? 'own'}`);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw outError(error, folder, FOR_TEMPORARY);
  }
  const found = lstatSync(folder);
  if (!found.isDirectory() || (account !== undefined && found.uid !== account))
    throw new AppError('INVALID_INPUT', { what: folder, problem: "it is no folder of this account's own" });
  if (account !== undefined && (found.mode & 0o022) !== 0) chmodSync(folder, 0o700);
  return folder;
}

const FOR_TEMPORARY = 'the folder for temporary files';
