import type { Migration } from './migration.ts';

/** What a candidate decided on archived frames beside the active model. */
export const shadow: Migration = {
  version: 600,
  name: 'shadow',
  up: (db) =>
    db.exec(`
      -- As JSON; null: no shadow run yet.
      ALTER TABLE candidates ADD COLUMN shadow TEXT;
    `),
};
