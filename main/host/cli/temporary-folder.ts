import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { outError } from '../../store/files.ts';

/**
 * Does `work` with an empty folder that is there for as long as it takes.
 * @param what part of its name, for whoever finds one of a process that was killed
 * @throws INVALID_INPUT or DISK_FULL where none can be made, and what `work` throws
 */
export async function inTemporaryFolder<T>(what: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), `mekiki-${what}-`)).catch((error: unknown) => {
    throw outError(error, tmpdir(), 'the folder for temporary files');
  });
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** For what can be made again, and is better kept for the next command. Of this account: below the folder that all share, no other one can write to it. */
export const keptFolder = (what: string): string => join(tmpdir(), `mekiki-${what}-${process.getuid?.() ?? 'own'}`);
