import { randomUUID } from 'node:crypto';
import { chmodSync, closeSync, fsyncSync, openSync } from 'node:fs';
import { access, constants, mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';

/** What durable writing asks of a file system; a test records the calls to replay what a power cut could leave. */
export interface FilePort {
  /** Creates the file (it must not exist), writes all and flushes it to the disk. */
  writeNew(path: string, bytes: Uint8Array, mode: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Flushes the directory's entries. Does nothing on Windows, which has no such call: the start-up check repairs there. */
  syncDirectory(path: string): Promise<void>;
  makeDirectory(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Size in bytes; null: no such file. */
  size(path: string): Promise<number | null>;
}

/** For a file that may be away: null. Any other error stays one. */
export const absent = (error: NodeJS.ErrnoException): null => {
  if (error.code === 'ENOENT') return null;
  throw error;
};

export const nodeFiles: FilePort = {
  async writeNew(path, bytes, mode) {
    const handle = await open(path, 'wx', mode);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  rename,
  async syncDirectory(path) {
    if (process.platform === 'win32') return;
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  makeDirectory: async (path) => void (await mkdir(path, { recursive: true })),
  remove: (path) => rm(path, { force: true }),
  size: (path) => stat(path).then((found) => found.size, absent),
};

/** Takes away what failed work left of a file, if anything: the failure is the one to tell, also where nothing can lie there. */
export const removeLeft = (path: string): Promise<void> => rm(path, { force: true }).catch(() => {});

/** No system gives or takes more than some 2 GB at once. */
const MOST_AT_ONCE = 2 ** 30;

/** Writes all, at a place or where the file stands: a disk that fills up takes a part of a write and says so by nothing but the number of bytes. */
export const writeAll = async (
  handle: FileHandle,
  bytes: Uint8Array,
  position: number | null = null,
): Promise<void> => {
  for (let done = 0; done < bytes.length;) {
    const length = Math.min(bytes.length - done, MOST_AT_ONCE);
    done += (await handle.write(bytes, done, length, position === null ? null : position + done)).bytesWritten;
  }
};

/** Fills `into` from this place on. @returns false: the file ends before */
export const readAll = async (handle: FileHandle, into: Uint8Array, position: number): Promise<boolean> => {
  for (let done = 0; done < into.length;) {
    const length = Math.min(into.length - done, MOST_AT_ONCE);
    const { bytesRead } = await handle.read(into, done, length, position + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
};

/** What a file holds is on the disk when this returns. */
export const syncFile = async (path: string): Promise<void> => {
  // Windows flushes only what may be written; elsewhere a file that may only be read is flushed as well.
  const handle = await open(path, process.platform === 'win32' ? 'r+' : 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/** The system's words for a failed write as an expected failure: DISK_FULL or HOME_NOT_WRITABLE; anything else stays as it is. */
export const diskError = (error: unknown, path: string): unknown => {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code !== 'string') return error;
  if (['ENOSPC', 'EDQUOT', 'SQLITE_FULL'].includes(code)) return new AppError('DISK_FULL', { path }, { cause: error });
  const refused = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST', 'SQLITE_CANTOPEN', 'SQLITE_READONLY'];
  if (refused.some((known) => code === known || code.startsWith(`${known}_`))) {
    return new AppError('HOME_NOT_WRITABLE', { home: path, problem: problemOf(error) }, { cause: error });
  }
  return error;
};

/** The same where nothing but the folder can be at fault: whatever the system says, it cannot be written. */
export const homeError = (error: unknown, home: string): AppError => {
  const known = diskError(error, home);
  return isAppError(known)
    ? known
    : new AppError('HOME_NOT_WRITABLE', { home, problem: problemOf(error) }, { cause: error });
};

/** DISK_FULL where that is what it was, else the error itself. */
export const diskFullOr = (error: unknown, path: string): unknown => {
  const known = diskError(error, path);
  return isAppError(known, 'DISK_FULL') ? known : error;
};

/** The same for a file that a person named by an option: DISK_FULL, else INVALID_INPUT in the system's words; what the system did not say stays as it is. */
export const outError = (error: unknown, file: string, option = '--out'): unknown => {
  const known = diskFullOr(error, file);
  if (isAppError(known) || typeof (error as NodeJS.ErrnoException).code !== 'string') return known;
  return new AppError('INVALID_INPUT', { what: option, problem: problemOf(error) }, { cause: error });
};

/** @throws INVALID_INPUT where no file can be written there: all the work would come before that */
export async function requireWritable(file: string, option = '--out'): Promise<void> {
  try {
    // With its separator at the end, so that a file in the place of the folder is refused as well.
    await access(join(dirname(file), sep), constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw outError(cause, file, option);
  }
  const found = await stat(file).catch(() => null);
  // What is written takes the place of what lies there, of a device as well.
  if (found && !found.isFile()) {
    const problem = `${file} is ${found.isDirectory() ? 'a folder' : 'no file'}`;
    throw new AppError('INVALID_INPUT', { what: option, problem });
  }
}

/** A new name is on the disk for good when its folder is. Windows has no such call. */
export const syncFolder = (path: string): void => {
  if (process.platform === 'win32') return;
  const handle = openSync(path, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
};

/**
 * Makes an empty file that no other account of the PC may read; one that is there is so from now on. What SQLite puts beside a database has the mode of that. Never opens what is
 * there: closing it would give up the locks that this process has on it.
 */
export const keepFromOthers = (path: string): void => {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    try {
      chmodSync(path, 0o600);
    } catch (refused) {
      // Another account's own, in a home that they share, or a disk that knows no modes: no reason not to start.
      if (!['EPERM', 'ENOTSUP'].includes((refused as NodeJS.ErrnoException).code ?? '')) throw refused;
    }
  }
};

/** All or nothing, and for good when it returns: temporary name, fsync, rename, fsync of the directory. */
export const writeDurably = async (
  path: string,
  bytes: Uint8Array | string,
  { mode = 0o644, files = nodeFiles }: { mode?: number; files?: FilePort } = {},
): Promise<void> => {
  const folder = dirname(path);
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await files.makeDirectory(folder);
    await files.writeNew(temporary, typeof bytes === 'string' ? Buffer.from(bytes) : bytes, mode);
    await files.rename(temporary, path);
    await files.syncDirectory(folder);
  } catch (error) {
    await files.remove(temporary).catch(() => {
      // The first failure is the one to tell; the start-up sweep takes left temporary files away.
    });
    throw diskError(error, path);
  }
};
