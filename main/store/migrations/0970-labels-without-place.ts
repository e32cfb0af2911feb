import type { Migration } from './migration.ts';

/** Labels that no person drew a box for, per class: how many defects have no place is counted without reading the others. */
export const labelsWithoutPlace: Migration = {
  version: 970,
  name: 'labels-without-place',
  up: (db) => db.exec(`CREATE INDEX labels_without_box ON labels (station_id, class_id, part_id) WHERE box_x IS NULL`),
};
