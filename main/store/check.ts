import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import Sqlite from 'better-sqlite3';
import { AppError, problemOf } from '../contract/errors.ts';
import { imageFile } from './images.ts';
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

/** A picture that the database knows; `files`: which of its own lie in the home, by the end of their names. */
export interface KnownPicture {
  sha: string;
  files: ReadonlySet<'png' | 'keep'>;
}

export const countPictures = (file: string): number => {
  const db = new Sqlite(file, { readonly: true, fileMustExist: true });
  try {
    return db.prepare('SELECT count(*) FROM images').pluck().get() as number;
  } finally {
    db.close();
  }
};

/**
 * The pictures that a database file knows, in order. After years most of them are those of good parts that are long deleted: which are there is read from the folders, each
 * once, and not asked of the system picture by picture.
 */
export async function* picturesOf(file: string, home: string): AsyncGenerator<KnownPicture> {
  const db = new Sqlite(file, { readonly: true, fileMustExist: true });
  try {
    let folder = '';
    let names: ReadonlySet<string> = new Set();
    for (const sha of db.prepare('SELECT sha FROM images ORDER BY sha').pluck().iterate() as Iterable<string>) {
      const own = dirname(imageFile(home, sha));
      if (own !== folder) names = await namesIn((folder = own));
      yield { sha, files: new Set((['png', 'keep'] as const).filter((end) => names.has(`${sha}.${end}`))) };
    }
  } finally {
    db.close();
  }
}

const namesIn = async (folder: string): Promise<ReadonlySet<string>> => {
  try {
    return new Set(await readdir(folder));
  } catch (error) {
    // The last picture of it is gone.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Set();
    throw error;
  }
};
