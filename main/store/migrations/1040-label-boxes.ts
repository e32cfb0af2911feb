import type { Migration } from './migration.ts';

/** Several places of one defect. The first stays in columns of its own, by which labels without a place are found. */
export const labelBoxes: Migration = {
  version: 1040,
  name: 'label-boxes',
  up: (db) =>
    db.exec(`
      -- Boxes after the first, as JSON; null: there are none.
      ALTER TABLE labels ADD COLUMN more_boxes TEXT;
    `),
};
