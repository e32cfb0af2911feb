import type { Migration } from './migration.ts';

/** Alarms of the monitor, and how far its charts have gone. */
export const alarms: Migration = {
  version: 90,
  name: 'alarms',
  up: (db) =>
    db.exec(`
      CREATE TABLE alarms (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        station_id TEXT NOT NULL REFERENCES stations (id),
        model_id TEXT NOT NULL,
        measure TEXT NOT NULL,
        at TEXT NOT NULL,
        part_id INTEGER NOT NULL REFERENCES parts (id),
        acknowledged_by TEXT,
        acknowledged_at TEXT
      ) STRICT;
      CREATE INDEX alarms_station ON alarms (station_id, id);
      CREATE TABLE monitors (
        station_id TEXT PRIMARY KEY REFERENCES stations (id),
        model_id TEXT NOT NULL,
        -- Parts of this model from here on are the reference, then what is watched.
        first_part_id INTEGER NOT NULL,
        -- Parts seen, reference included.
        seen INTEGER NOT NULL,
        -- Levels of the charts by name, as JSON.
        levels TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX parts_model ON parts (station_id, model_id, id) WHERE origin = 'line';
    `),
};
