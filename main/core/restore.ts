import { open, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError } from '../contract/errors.ts';
import { checkDatabase } from '../store/check.ts';
import { diskError, homeError, nodeFiles, writeDurably } from '../store/files.ts';
import { databaseFile, emptyForRestore, endRestore, markRestore } from '../store/home.ts';
import { lockRestore } from '../store/restore-lock.ts';
import { isOfLaterMoment, openSecrets, readBackup, type BackupHead } from './backup-file.ts';
import { refuseInHome } from './outside.ts';

export const restoredFile = (home: string): string => join(home, 'restored.json');
/** What a restore leaves for the next start, which writes it into the trail. */
export const restoredSchema = z.object({
  backup: z.string(),
  at: z.iso.datetime(),
  backupAt: z.iso.datetime(),
  by: z.string(),
  sha256: z.string(),
});

export interface RestoreOptions {
  file: string;
  home: string;
  /** Asked once it is known whose password opens the backup. */
  password(by: string): Promise<string>;
  now?: () => Date;
  progress?(done: number, of: number): void;
  signal?: AbortSignal;
}

/** Files that wait for the disk together: one after the other, hundreds of thousands of pictures would each wait for a turn of it. */
const FLUSHED_AT_ONCE = 32;

const flush = async (handles: readonly FileHandle[]): Promise<void> => {
  const done = await Promise.allSettled(handles.map((handle) => handle.sync().finally(() => handle.close())));
  for (const each of done) if (each.status === 'rejected') throw each.reason;
};

/**
 * Makes a home from a backup. The backup is read to its end and its secrets are opened before anything is written; what is written is
 * on the disk for good before the folder counts as a home. The key of the home then lies in a file that only this account may read.
 * INVALID_INPUT for a backup in that folder, BACKUP_UNREADABLE, BACKUP_LOCKED, HOME_NOT_EMPTY, HOME_IN_USE by another restore, HOME_NOT_WRITABLE, DISK_FULL, DATABASE_TOO_NEW, NOT_FOUND.
 */
export const restoreBackup = async (
  options: RestoreOptions,
): Promise<{ head: BackupHead; entries: number; bytes: number; missingPictures: number }> => {
  const { file, signal, progress, now = () => new Date() } = options;
  const home = resolve(options.home);
  // It would go with what an earlier restore left there.
  await refuseInHome(home, dirname(file), file);
  const backup = await readBackup(file, async (_name, content) => {
    for await (const _ of content) signal?.throwIfAborted();
  });
  const { head, seal } = backup;
  const secrets = await openSecrets(file, backup, await options.password(head.by));
  signal?.throwIfAborted();
  await markRestore(home);
  const lock = lockRestore(home);
  /** What the system says of a file that is made is said of the folder, and not of the backup that is read meanwhile. */
  const making = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      throw homeError(error, home);
    });
  const held: FileHandle[] = [];
  try {
    emptyForRestore(home);
    const written = new Set<string>();
    let done = 0;
    const again = await readBackup(file, async (name, content) => {
      signal?.throwIfAborted();
      if (isOfLaterMoment(head, name)) {
        // Without them the first start signs the models that trail and approvals prove (active-models.ts).
        for await (const _ of content);
        return;
      }
      const path = join(home, name);
      await making(nodeFiles.makeDirectory(dirname(path)));
      const handle = await making(open(path, 'wx', path === databaseFile(home) ? 0o600 : 0o666));
      held.push(handle);
      for await (const chunk of content) await making(handle.writeFile(chunk));
      if (held.length === FLUSHED_AT_ONCE) await making(flush(held.splice(0)));
      for (let folder = dirname(path); !written.has(folder) && folder.length >= home.length; folder = dirname(folder))
        written.add(folder);
      progress?.((done += 1), seal.entries);
    });
    await making(flush(held.splice(0)));
    if (again.seal.sha256 !== seal.sha256)
      throw new AppError('BACKUP_UNREADABLE', { file, problem: 'it changed meanwhile' });
    for (const [name, secret] of secrets) await writeDurably(join(home, 'secrets', name), secret, { mode: 0o600 });
    const problems = checkDatabase(databaseFile(home));
    if (problems.length > 0) throw new AppError('BACKUP_UNREADABLE', { file, problem: problems.join('; ') });
    const note: z.infer<typeof restoredSchema> = {
      backup: file,
      at: now().toISOString(),
      backupAt: head.at,
      by: head.by,
      sha256: seal.sha256,
    };
    await writeDurably(restoredFile(home), JSON.stringify(note));
    for (const folder of [...written].toSorted((a, b) => b.length - a.length)) await nodeFiles.syncDirectory(folder);
    // Windows removes no file that is open.
    lock[Symbol.dispose]();
    await endRestore(home);
  } catch (error) {
    await Promise.allSettled(held.map((handle) => handle.close()));
    throw diskError(error, home);
  } finally {
    lock[Symbol.dispose]();
  }
  return { head, entries: seal.entries, bytes: seal.bytes, missingPictures: seal.missingPictures };
};
