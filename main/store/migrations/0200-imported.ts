import type { Migration } from './migration.ts';

/** Candidates that came from another installation: their knowledge is not in this home, and their origin is told. */
export const imported: Migration = {
  version: 200,
  name: 'imported',
  up: (db) =>
    db.exec(`
      CREATE TABLE candidates_new (
        id TEXT PRIMARY KEY,
        station_id TEXT NOT NULL REFERENCES stations (id),
        state TEXT NOT NULL CHECK (state IN ('candidate', 'submitted', 'approved', 'active', 'retired', 'rejected')),
        created_at TEXT NOT NULL,
        -- Of this home, or of the one it came from.
        knowledge_id TEXT NOT NULL,
        backbone_id TEXT NOT NULL,
        strategy TEXT NOT NULL,
        precision TEXT NOT NULL,
        ratio REAL NOT NULL,
        input_size INTEGER NOT NULL,
        bundle_sha256 TEXT NOT NULL,
        offered INTEGER NOT NULL,
        recommended INTEGER NOT NULL,
        reason TEXT NOT NULL,
        evidence TEXT NOT NULL,
        approval TEXT,
        rejection TEXT,
        activated_at TEXT,
        position INTEGER NOT NULL UNIQUE,
        -- JSON; null: made here.
        origin TEXT
      ) STRICT, WITHOUT ROWID;
      INSERT INTO candidates_new SELECT *, NULL FROM candidates;
      DROP TABLE candidates;
      ALTER TABLE candidates_new RENAME TO candidates;
      CREATE INDEX candidates_station ON candidates (station_id, position);
    `),
};
