import type { Migration } from './migration.ts';

/** Stations (each owns its camera's configuration) and the classes, which all stations share. */
export const stations: Migration = {
  version: 20,
  name: 'stations',
  up: (db) =>
    db.exec(`
      CREATE TABLE stations (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        camera TEXT NOT NULL,
        recipe TEXT NOT NULL,
        criteria TEXT NOT NULL,
        backbone_id TEXT NOT NULL,
        threads INTEGER NOT NULL,
        active_model_id TEXT,
        -- Greatest line record that is stored for good.
        acknowledged INTEGER NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE classes (
        -- A name, never a position, and never given to another class: rows are retired, not deleted.
        id TEXT PRIMARY KEY,
        name_en TEXT NOT NULL,
        name_ja TEXT NOT NULL,
        is_ok INTEGER NOT NULL,
        color INTEGER NOT NULL,
        hot_key TEXT,
        retired INTEGER NOT NULL DEFAULT 0,
        position INTEGER NOT NULL UNIQUE,
        created_at TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE TRIGGER classes_stay BEFORE DELETE ON classes BEGIN SELECT RAISE(ABORT, 'class ids are never reused: retire the class'); END;
    `),
};
