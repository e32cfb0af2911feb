import type { Migration } from './migration.ts';

/** The boxes of the label that a golden image was are turned with the station's frames; all else of it stays locked. */
export const goldenBoxes: Migration = {
  version: 1130,
  name: 'golden-boxes',
  up: (db) =>
    db.exec(`
      DROP TRIGGER golden_locked_update;
      CREATE TRIGGER golden_locked_update BEFORE UPDATE ON golden
        WHEN OLD.retirement IS NOT NULL OR NEW.station_id <> OLD.station_id OR NEW.image_sha <> OLD.image_sha
          OR NEW.class_id <> OLD.class_id OR NEW.user_name <> OLD.user_name OR NEW.at <> OLD.at OR NEW.look IS NOT OLD.look
          OR json_remove(NEW.label, '$.boxes') IS NOT json_remove(OLD.label, '$.boxes')
          OR (NEW.retirement IS NULL AND NEW.label IS OLD.label)
        BEGIN SELECT raise(ABORT, 'a golden image is locked'); END;
    `),
};
