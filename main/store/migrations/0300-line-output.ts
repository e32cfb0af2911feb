import type { Migration } from './migration.ts';

/** How a station tells its verdicts to the plant's control, as JSON; an older station does not. */
export const lineOutput: Migration = {
  version: 300,
  name: 'line output',
  up: (db) => db.exec(`ALTER TABLE stations ADD COLUMN line_output TEXT NOT NULL DEFAULT '{"kind":"none"}'`),
};
