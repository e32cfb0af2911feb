import type { Migration } from './migration.ts';

/** Acceptance studies: which parts, their reference when the study was made, and what each person called them. */
export const studies: Migration = {
  version: 890,
  name: 'studies',
  up: (db) =>
    db.exec(`
      CREATE TABLE studies (
        id TEXT PRIMARY KEY,
        station_id TEXT NOT NULL REFERENCES stations (id),
        name TEXT NOT NULL,
        created_at TEXT NOT NULL,
        user_id TEXT NOT NULL REFERENCES users (id),
        rounds INTEGER NOT NULL,
        closed_at TEXT
      ) STRICT;
      CREATE TABLE study_parts (
        study_id TEXT NOT NULL REFERENCES studies (id),
        part_id INTEGER NOT NULL REFERENCES parts (id),
        image_sha TEXT NOT NULL,
        -- The label at that time: it may be corrected later, the study's reference is not.
        class_id TEXT NOT NULL REFERENCES classes (id),
        labelled_by TEXT NOT NULL REFERENCES users (id),
        PRIMARY KEY (study_id, part_id)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE study_ratings (
        study_id TEXT NOT NULL REFERENCES studies (id),
        user_id TEXT NOT NULL REFERENCES users (id),
        round INTEGER NOT NULL,
        part_id INTEGER NOT NULL REFERENCES parts (id),
        good INTEGER NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (study_id, user_id, round, part_id)
      ) STRICT, WITHOUT ROWID;
    `),
};
