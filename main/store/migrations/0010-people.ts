import type { Migration } from './migration.ts';

/** Settings of the home, and its accounts: each with a key pair of its own, the private half locked by the password. */
export const people: Migration = {
  version: 10,
  name: 'people',
  up: (db) =>
    db.exec(`
      CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
      CREATE TABLE users (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        -- NFKC and lower case: 'Ａbe' and 'abe' are one name.
        name_key TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL,
        disabled INTEGER NOT NULL DEFAULT 0,
        public_key TEXT NOT NULL,
        locked_private_key TEXT NOT NULL,
        certificate TEXT NOT NULL,
        created_at TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
    `),
};
