import type { Migration } from './migration.ts';

/** What a second person calls a labelled part without knowing the label. */
export const secondLabels: Migration = {
  version: 900,
  name: 'second-labels',
  up: (db) =>
    db.exec(`
      CREATE TABLE second_labels (
        station_id TEXT NOT NULL REFERENCES stations (id),
        image_sha TEXT NOT NULL REFERENCES images (sha),
        user_id TEXT NOT NULL REFERENCES users (id),
        class_id TEXT NOT NULL REFERENCES classes (id),
        -- The label at that time and who gave it: it may be corrected since, which is no agreement.
        first_class_id TEXT NOT NULL REFERENCES classes (id),
        first_user_id TEXT NOT NULL REFERENCES users (id),
        at TEXT NOT NULL,
        PRIMARY KEY (station_id, image_sha, user_id)
      ) STRICT, WITHOUT ROWID;
    `),
};
