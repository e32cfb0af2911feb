import type { Migration } from './migration.ts';

/** What a model whose evidence was made elsewhere does on this PC. */
export const recheck: Migration = {
  version: 760,
  name: 'recheck',
  up: (db) =>
    db.exec(`
      -- As JSON; null: not measured here.
      ALTER TABLE candidates ADD COLUMN recheck TEXT;
    `),
};
