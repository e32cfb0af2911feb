import type { Database } from 'better-sqlite3';
import { AppError, assert } from '../contract/errors.ts';
import { migrations as allMigrations } from './migrations/all.ts';
import type { Migration } from './migrations/migration.ts';

/** Number of the last migration that was carried out; 0: a new file. */
export const schemaVersion = (db: Database): number => db.pragma('user_version', { simple: true }) as number;

/**
 * Each step in a transaction of its own, with its number: a power cut leaves the version before or after, never between. Those of a new database
 * are one transaction, which the disk is waited for once and not for each.
 * @throws DATABASE_TOO_NEW
 */
export const migrate = (db: Database, upTo = Infinity, migrations: readonly Migration[] = allMigrations): number[] => {
  const known = migrations.at(-1)?.version ?? 0;
  const found = schemaVersion(db);
  if (found > known) throw new AppError('DATABASE_TOO_NEW', { found, known });
  let last = 0;
  for (const { version } of migrations) {
    assert(version % 10 === 0 && version > last, 'migrations are in order and numbered by tens');
    last = version;
  }
  const wanted = migrations.filter(({ version }) => version > found && version <= upTo);
  const take = db.transaction((migration: Migration) => {
    migration.up(db);
    // Reads every row that names another, some seconds for each million parts: once, with the last step.
    if (migration === wanted.at(-1)) {
      const dangling = db.pragma('foreign_key_check') as unknown[];
      assert(dangling.length === 0, `the migrations up to ${migration.version} leave every reference whole`);
    }
    db.pragma(`user_version = ${migration.version}`);
  });
  const takeAll = () => wanted.forEach((migration) => take(migration));
  const enforced = db.pragma('foreign_keys', { simple: true });
  // A table is made anew under its old name (SQLite, "Making other kinds of table schema changes"): only the result must be whole.
  db.pragma('foreign_keys = OFF');
  try {
    if (found === 0) db.transaction(takeAll)();
    else takeAll();
  } finally {
    db.pragma(`foreign_keys = ${String(enforced)}`);
  }
  return wanted.map(({ version }) => version);
};
