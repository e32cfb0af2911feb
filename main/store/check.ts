import Sqlite from 'better-sqlite3';
import { AppError, problemOf } from '../contract/errors.ts';
import { schemaVersion } from './migrate.ts';
import { migrations } from './migrations/all.ts';

/** How many findings are told. */
const TOLD = 20;

/**
 * Reads a database file that nobody has open, every page, index and reference of it; changes nothing. Takes seconds per gigabyte and
 * holds up its thread. Gives what is wrong, in SQLite's words; none: it is whole. DATABASE_TOO_NEW.
 */
export const checkDatabase = (file: string): string[] => {
  let db: Sqlite.Database;
  try {
    db = new Sqlite(file, { readonly: true, fileMustExist: true });
  } catch (error) {
    return [problemOf(error)];
  }
  try {
    const found = schemaVersion(db);
    const known = migrations.at(-1)!.version;
    if (found > known) throw new AppError('DATABASE_TOO_NEW', { found, known });
    const rows = db.pragma(`integrity_check(${TOLD})`) as { integrity_check: string }[];
    const problems = rows.map((row) => row.integrity_check).filter((text) => text !== 'ok');
    const dangling = db.pragma('foreign_key_check') as { table: string; parent: string }[];
    for (const { table, parent } of dangling.slice(0, TOLD)) problems.push(`a row of ${table} misses its ${parent}`);
    return problems;
  } catch (error) {
    if (error instanceof AppError) throw error;
    return [problemOf(error)];
  } finally {
    db.close();
  }
};

/** Names of the pictures that a database file knows, in order. */
export function* picturesOf(file: string): Iterable<string> {
  const db = new Sqlite(file, { readonly: true, fileMustExist: true });
  try {
    for (const sha of db.prepare('SELECT sha FROM images ORDER BY sha').pluck().iterate()) yield sha as string;
  } finally {
    db.close();
  }
}
