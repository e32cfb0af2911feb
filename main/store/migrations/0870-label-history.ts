import type { Migration } from './migration.ts';

/** What each action of the labelling bench gave, so that it can be listed before it is taken back. */
export const labelHistory: Migration = {
  version: 870,
  name: 'label-history',
  up: (db) =>
    db.exec(`
      -- Class that the parts got; null: they were skipped, or the action is older than this column.
      ALTER TABLE label_actions ADD COLUMN class_id TEXT REFERENCES classes (id);
    `),
};
