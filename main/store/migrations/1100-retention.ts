import type { Migration } from './migration.ts';

/** What removing old pictures and records needs: pictures whose rows are gone and whose files still are not, and who names a part or a picture found without reading the others. */
export const retention: Migration = {
  version: 1100,
  name: 'retention',
  up: (db) =>
    db.exec(`
      -- Written in the transaction that takes the picture's row away, deleted when its file is gone for good.
      CREATE TABLE pictures_to_remove (sha TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
      -- Judged by the line, not ok, and with a picture: few among all parts.
      CREATE INDEX parts_pictured ON parts (station_id, id) WHERE origin = 'line' AND verdict <> 'ok' AND image_sha IS NOT NULL;
      CREATE INDEX labels_part ON labels (part_id);
      CREATE INDEX labels_image ON labels (image_sha);
      CREATE INDEX label_action_parts_part ON label_action_parts (part_id);
      CREATE INDEX alarms_part ON alarms (part_id);
      CREATE INDEX study_parts_part ON study_parts (part_id);
      CREATE INDEX study_parts_image ON study_parts (image_sha);
      CREATE INDEX study_ratings_part ON study_ratings (part_id);
      CREATE INDEX features_image ON features (image_sha);
      CREATE INDEX second_labels_image ON second_labels (image_sha);
      CREATE INDEX golden_image ON golden (image_sha);
    `),
};
