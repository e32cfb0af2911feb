import type { Migration } from './migration.ts';

/** Labels that were taken away so that their parts get other ones: told apart from those that were left out for good. */
export const labelsSentBack: Migration = {
  version: 1110,
  name: 'labels-sent-back',
  up: (db) => db.exec(`ALTER TABLE label_actions ADD COLUMN sent_back INTEGER NOT NULL DEFAULT 0`),
};
