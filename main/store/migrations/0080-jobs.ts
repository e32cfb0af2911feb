import type { Migration } from './migration.ts';

/** Long work and how it ended. Progress is kept in memory: it is not worth an fsync. */
export const jobs: Migration = {
  version: 80,
  name: 'jobs',
  up: (db) =>
    db.exec(`
      CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        station_id TEXT,
        user_id TEXT,
        state TEXT NOT NULL,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        -- The job as the contract shows it.
        job TEXT NOT NULL,
        position INTEGER NOT NULL UNIQUE
      ) STRICT, WITHOUT ROWID;
    `),
};
