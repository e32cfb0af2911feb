import Sqlite, { type Database } from 'better-sqlite3';
import { AppError } from '../contract/errors.ts';
import { homeError } from './files.ts';
import { readLock, restoreMark } from './home.ts';

/**
 * Keeps everybody else from restoring into a folder that is marked: two at once would each remove what the other one has written. As of a home, the
 * lock is the operating system's, and ends with the process. HOME_IN_USE, HOME_NOT_WRITABLE.
 */
export const lockRestore = (home: string): Disposable => {
  let mark: Database | undefined;
  try {
    mark = new Sqlite(restoreMark(home), { timeout: 0 });
    mark.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    mark?.close();
    if (!String((cause as { code?: unknown }).code).startsWith('SQLITE_BUSY')) throw homeError(cause, home);
    throw new AppError('HOME_IN_USE', { home, pid: readLock(home)?.pid ?? 0 }, { cause });
  }
  const held = mark;
  return { [Symbol.dispose]: () => void held.close() };
};
