import type { Migration } from './migration.ts';

/** Labels of a station, newest first: a page of a list reads its rows alone. */
export const labelsRecent: Migration = {
  version: 920,
  name: 'labels-recent',
  up: (db) =>
    db.exec(`
      CREATE INDEX labels_recent ON labels (station_id, at DESC, part_id DESC);
      CREATE INDEX labels_recent_of_class ON labels (station_id, class_id, at DESC, part_id DESC);
    `),
};
