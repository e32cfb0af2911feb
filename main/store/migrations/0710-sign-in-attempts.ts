import type { Migration } from './migration.ts';

/** Wrong passwords per name: a restart of the program does not give a guesser new attempts. */
export const signInAttempts: Migration = {
  version: 710,
  name: 'sign-in-attempts',
  up: (db) =>
    db.exec(`
      CREATE TABLE sign_in_attempts (
        -- As users.name_key; also of names that do not exist.
        name_key TEXT PRIMARY KEY,
        wrong INTEGER NOT NULL,
        locked_until TEXT NOT NULL,
        at TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX sign_in_attempts_at ON sign_in_attempts (at);
    `),
};
