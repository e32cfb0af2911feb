import type { Migration } from './migration.ts';

/** PINs and badges of operators: who has which, as a hash. */
export const quickCodes: Migration = {
  version: 930,
  name: 'quick-codes',
  up: (db) =>
    db.exec(`
      CREATE TABLE quick_codes (
        user_id TEXT PRIMARY KEY REFERENCES users (id),
        -- scrypt with the home's own salt: one try finds whose it is.
        hash TEXT NOT NULL UNIQUE
      ) STRICT, WITHOUT ROWID;
    `),
};
