import type { Migration } from './migration.ts';

/** How a station's line runs (trigger, deadline, drop policy), as JSON; an older station gets the defaults. */
export const lineSettings: Migration = {
  version: 500,
  name: 'line settings',
  up: (db) => db.exec(`ALTER TABLE stations ADD COLUMN line TEXT NOT NULL DEFAULT '{}'`),
};
