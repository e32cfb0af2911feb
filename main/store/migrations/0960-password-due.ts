import type { Migration } from './migration.ts';

/** Accounts whose owner has to choose a password of their own first: the one they were given is known to somebody else. */
export const passwordDue: Migration = {
  version: 960,
  name: 'password-due',
  up: (db) => db.exec(`ALTER TABLE users ADD COLUMN password_due INTEGER NOT NULL DEFAULT 0`),
};
