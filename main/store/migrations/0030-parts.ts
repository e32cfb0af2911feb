import type { Migration } from './migration.ts';

/** The archive: images by content, parts with their judgement and the tile that decided, and what the numbering lacks. */
export const parts: Migration = {
  version: 30,
  name: 'parts',
  up: (db) =>
    db.exec(`
      CREATE TABLE images (
        sha TEXT PRIMARY KEY, width INTEGER NOT NULL, height INTEGER NOT NULL, created_at TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE parts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        station_id TEXT NOT NULL REFERENCES stations (id),
        origin TEXT NOT NULL CHECK (origin IN ('line', 'import')),
        -- Number of the line record; 0 for an imported image.
        seq INTEGER NOT NULL,
        at TEXT NOT NULL,
        image_sha TEXT REFERENCES images (sha),
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        verdict TEXT NOT NULL,
        class_id TEXT,
        model_id TEXT,
        -- Deciding tile, in the rotated frame; all null: the part has one tile.
        tile_index INTEGER, tile_count INTEGER,
        tile_x INTEGER, tile_y INTEGER, tile_width INTEGER, tile_height INTEGER,
        judgement TEXT NOT NULL,
        notes TEXT NOT NULL,
        -- Where an imported image came from.
        source TEXT
      ) STRICT;
      CREATE UNIQUE INDEX parts_seq ON parts (station_id, seq) WHERE origin = 'line';
      CREATE INDEX parts_recent ON parts (station_id, origin, id);
      CREATE INDEX parts_verdict ON parts (station_id, origin, verdict, id);
      CREATE INDEX parts_image ON parts (image_sha);
      CREATE TABLE gaps (
        station_id TEXT NOT NULL REFERENCES stations (id),
        first_seq INTEGER NOT NULL,
        last_seq INTEGER NOT NULL,
        found_at TEXT NOT NULL,
        PRIMARY KEY (station_id, first_seq)
      ) STRICT, WITHOUT ROWID;
    `),
};
