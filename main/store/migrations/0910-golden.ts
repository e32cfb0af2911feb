import type { Migration } from './migration.ts';

/** Golden sets: images that only judge, and every use of them; and what data a knowledge was made of. Nobody takes any of it back. */
export const golden: Migration = {
  version: 910,
  name: 'golden',
  up: (db) =>
    db.exec(`
      CREATE TABLE golden (
        station_id TEXT NOT NULL REFERENCES stations (id),
        image_sha TEXT NOT NULL REFERENCES images (sha),
        class_id TEXT NOT NULL REFERENCES classes (id),
        user_name TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (station_id, image_sha)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE golden_uses (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        station_id TEXT NOT NULL REFERENCES stations (id),
        candidate_id TEXT NOT NULL REFERENCES candidates (id),
        -- sha256 over the images and classes of the set at that time.
        set_sha256 TEXT NOT NULL,
        user_name TEXT NOT NULL,
        at TEXT NOT NULL
      ) STRICT;
      CREATE INDEX golden_uses_station ON golden_uses (station_id);
      CREATE TRIGGER golden_locked_update BEFORE UPDATE ON golden BEGIN SELECT raise(ABORT, 'a golden image is locked'); END;
      CREATE TRIGGER golden_locked_delete BEFORE DELETE ON golden BEGIN SELECT raise(ABORT, 'a golden image is locked'); END;
      CREATE TRIGGER golden_uses_update BEFORE UPDATE ON golden_uses BEGIN SELECT raise(ABORT, 'a use stays counted'); END;
      CREATE TRIGGER golden_uses_delete BEFORE DELETE ON golden_uses BEGIN SELECT raise(ABORT, 'a use stays counted'); END;
      -- As JSON; null: not tried on a golden set yet.
      ALTER TABLE candidates ADD COLUMN golden TEXT;
      -- sha256 of knowledge/<id>/data.json; null: made before there was one.
      ALTER TABLE knowledge ADD COLUMN snapshot_id TEXT;
    `),
};
