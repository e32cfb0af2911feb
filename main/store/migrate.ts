import type { Database } from 'better-sqlite3';
import { AppError, assert } from '../contract/errors.ts';
import { migrations as allMigrations } from './migrations/all.ts';
import type { Migration } from './migrations/migration.ts';

export const schemaVersion = (db: Database): number => db.pragma('user_version', { simple: true }) as number;

/** Each step in a transaction of its own, with its number: a power cut leaves the version before or after, never between. */
export const migrate = (db: Database, upTo = Infinity, migrations: readonly Migration[] = allMigrations): number[] => {
  const known = migrations.at(-1)?.version ?? 0;
  const found = schemaVersion(db);
  if (found > known) throw new AppError('DATABASE_TOO_NEW', { found, known });
  const applied: number[] = [];
  let last = 0;
  for (const migration of migrations) {
    assert(migration.version % 10 === 0 && migration.version > last, 'migrations are in order and numbered by tens');
    last = migration.version;
    if (migration.version <= found || migration.version > upTo) continue;
    const enforced = db.pragma('foreign_keys', { simple: true });
    // A table is made anew under its old name (SQLite, "Making other kinds of table schema changes"): only the result must be whole.
    db.pragma('foreign_keys = OFF');
    try {
      db.transaction(() => {
        migration.up(db);
        const dangling = db.pragma('foreign_key_check') as unknown[];
        assert(dangling.length === 0, `migration ${migration.version} leaves every reference whole`);
        db.pragma(`user_version = ${migration.version}`);
      })();
    } finally {
      db.pragma(`foreign_keys = ${String(enforced)}`);
    }
    applied.push(migration.version);
  }
  return applied;
};
