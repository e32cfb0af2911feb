import type { Migration } from './migration.ts';

/**
 * Counts per station, hour (UTC), verdict and NG class: reports over a year read thousands of rows instead of millions.
 * A trigger keeps them, so that whatever adds a part is counted; a part that retention removes stays counted.
 */
export const partHours: Migration = {
  version: 700,
  name: 'part-hours',
  up: (db) =>
    db.exec(`
      CREATE TABLE part_hours (
        station_id TEXT NOT NULL REFERENCES stations (id),
        -- 2026-01-31T09
        hour TEXT NOT NULL,
        verdict TEXT NOT NULL,
        -- Class of an NG part; '' for every other verdict and for an NG part without one.
        class_id TEXT NOT NULL,
        parts INTEGER NOT NULL,
        PRIMARY KEY (station_id, hour, verdict, class_id)
      ) STRICT, WITHOUT ROWID;
      INSERT INTO part_hours (station_id, hour, verdict, class_id, parts)
        SELECT station_id, substr(at, 1, 13) AS h, verdict,
          CASE verdict WHEN 'ng' THEN coalesce(class_id, '') ELSE '' END AS c, count(*)
        FROM parts WHERE origin = 'line' GROUP BY station_id, h, verdict, c;
      CREATE TRIGGER part_hours_count AFTER INSERT ON parts WHEN NEW.origin = 'line' BEGIN
        INSERT INTO part_hours (station_id, hour, verdict, class_id, parts)
        VALUES (NEW.station_id, substr(NEW.at, 1, 13), NEW.verdict,
          CASE NEW.verdict WHEN 'ng' THEN coalesce(NEW.class_id, '') ELSE '' END, 1)
        ON CONFLICT (station_id, hour, verdict, class_id) DO UPDATE SET parts = parts + 1;
      END;
    `),
};
