import type { Migration } from './migration.ts';

/** Candidates and activations. The state here is for lists and lamps: what may inspect is decided by the signed bundle alone. */
export const candidates: Migration = {
  version: 60,
  name: 'candidates',
  up: (db) =>
    db.exec(`
      CREATE TABLE candidates (
        id TEXT PRIMARY KEY,
        station_id TEXT NOT NULL REFERENCES stations (id),
        state TEXT NOT NULL CHECK (state IN ('candidate', 'submitted', 'approved', 'active', 'retired', 'rejected')),
        created_at TEXT NOT NULL,
        knowledge_id TEXT NOT NULL REFERENCES knowledge (id),
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
        position INTEGER NOT NULL UNIQUE
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX candidates_station ON candidates (station_id, position);
      CREATE TABLE activations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        station_id TEXT NOT NULL REFERENCES stations (id),
        candidate_id TEXT NOT NULL REFERENCES candidates (id),
        -- Model that was active before; null: none.
        previous_id TEXT,
        kind TEXT NOT NULL CHECK (kind IN ('activate', 'rollback')),
        user_id TEXT NOT NULL REFERENCES users (id),
        at TEXT NOT NULL
      ) STRICT;
      CREATE INDEX activations_station ON activations (station_id, id);
    `),
};
