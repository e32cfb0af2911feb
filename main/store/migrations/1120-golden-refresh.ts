import type { Migration } from './migration.ts';

/** Golden sets that are filled from labels, and retired when they have judged too often. What was in a set stays told, and locked otherwise. */
export const goldenRefresh: Migration = {
  version: 1120,
  name: 'golden-refresh',
  up: (db) =>
    db.exec(`
      CREATE TABLE golden_retirements (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        station_id TEXT NOT NULL REFERENCES stations (id),
        set_sha256 TEXT NOT NULL,
        -- Last of golden_uses before it: uses are counted from there on.
        last_use INTEGER NOT NULL,
        user_name TEXT NOT NULL,
        at TEXT NOT NULL
      ) STRICT;
      CREATE INDEX golden_retirements_station ON golden_retirements (station_id);
      CREATE TRIGGER golden_retirements_update BEFORE UPDATE ON golden_retirements
        BEGIN SELECT raise(ABORT, 'a retired golden set is locked'); END;
      CREATE TRIGGER golden_retirements_delete BEFORE DELETE ON golden_retirements
        BEGIN SELECT raise(ABORT, 'a retired golden set is locked'); END;
      -- null: it judges.
      ALTER TABLE golden ADD COLUMN retirement INTEGER REFERENCES golden_retirements (id);
      -- The label that it was, as JSON; null: it came from a folder.
      ALTER TABLE golden ADD COLUMN label TEXT;
      -- Perceptual hash, 16 hexadecimal digits; null: taken in before it was kept.
      ALTER TABLE golden ADD COLUMN look TEXT;
      DROP TRIGGER golden_locked_update;
      CREATE TRIGGER golden_locked_update BEFORE UPDATE ON golden
        WHEN OLD.retirement IS NOT NULL OR NEW.retirement IS NULL OR NEW.station_id <> OLD.station_id
          OR NEW.image_sha <> OLD.image_sha OR NEW.class_id <> OLD.class_id OR NEW.user_name <> OLD.user_name
          OR NEW.at <> OLD.at OR NEW.label IS NOT OLD.label OR NEW.look IS NOT OLD.look
        BEGIN SELECT raise(ABORT, 'a golden image is locked'); END;
    `),
};
