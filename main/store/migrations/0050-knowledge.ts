import type { Migration } from './migration.ts';

/** Knowledge with its lineage, and where in features/<backbone>.f32 each learnt view of an image is. */
export const knowledge: Migration = {
  version: 50,
  name: 'knowledge',
  up: (db) =>
    db.exec(`
      CREATE TABLE features (
        backbone_id TEXT NOT NULL,
        image_sha TEXT NOT NULL REFERENCES images (sha),
        -- Rotation and region the features were taken of: other ones are other features.
        view TEXT NOT NULL,
        row INTEGER NOT NULL,
        PRIMARY KEY (backbone_id, image_sha, view)
      ) STRICT, WITHOUT ROWID;
      CREATE UNIQUE INDEX features_row ON features (backbone_id, row);
      CREATE TABLE knowledge (
        id TEXT PRIMARY KEY,
        station_id TEXT NOT NULL REFERENCES stations (id),
        backbone_id TEXT NOT NULL,
        created_at TEXT NOT NULL,
        parent_id TEXT REFERENCES knowledge (id),
        classes TEXT NOT NULL,
        lambda REAL NOT NULL,
        balancing REAL NOT NULL,
        balanced_accuracy REAL,
        seconds REAL NOT NULL,
        position INTEGER NOT NULL UNIQUE
      ) STRICT, WITHOUT ROWID;
    `),
};
