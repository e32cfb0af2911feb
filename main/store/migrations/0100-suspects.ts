import type { Migration } from './migration.ts';

/** Labels that are doubted wait in the queue; one that a person confirmed is not doubted again. */
export const suspects: Migration = {
  version: 100,
  name: 'suspects',
  up: (db) =>
    db.exec(`
      -- A person has seen the doubt and decided.
      ALTER TABLE labels ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0;
      -- Why the label is doubted, as JSON; null: the item has another reason.
      ALTER TABLE queue ADD COLUMN doubt TEXT;
    `),
};
