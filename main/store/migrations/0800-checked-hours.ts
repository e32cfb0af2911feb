import type { Migration } from './migration.ts';

/**
 * Labelled parts of the line per station, hour (UTC), verdict and whether the label is the good class: what people found wrong, for
 * reports over a year without a look at each label's part. Triggers keep it, whatever gives, changes or takes back a label.
 */
const count = (label: 'NEW' | 'OLD', by: 1 | -1) => `
  INSERT INTO checked_hours (station_id, hour, verdict, good, parts)
    SELECT ${label}.station_id, substr(p.at, 1, 13), p.verdict, c.is_ok, ${by}
    FROM parts p CROSS JOIN classes c WHERE p.id = ${label}.part_id AND p.origin = 'line' AND c.id = ${label}.class_id
    ON CONFLICT (station_id, hour, verdict, good) DO UPDATE SET parts = parts + ${by};`;

export const checkedHours: Migration = {
  version: 800,
  name: 'checked-hours',
  up: (db) =>
    db.exec(`
      CREATE TABLE checked_hours (
        station_id TEXT NOT NULL REFERENCES stations (id),
        -- Of the part: 2026-01-31T09
        hour TEXT NOT NULL,
        verdict TEXT NOT NULL,
        good INTEGER NOT NULL,
        parts INTEGER NOT NULL,
        PRIMARY KEY (station_id, hour, verdict, good)
      ) STRICT, WITHOUT ROWID;
      INSERT INTO checked_hours (station_id, hour, verdict, good, parts)
        SELECT l.station_id, substr(p.at, 1, 13) AS h, p.verdict, c.is_ok, count(*)
        FROM labels l CROSS JOIN parts p ON p.id = l.part_id CROSS JOIN classes c ON c.id = l.class_id
        WHERE p.origin = 'line' GROUP BY l.station_id, h, p.verdict, c.is_ok;
      CREATE TRIGGER labels_checked_insert AFTER INSERT ON labels BEGIN ${count('NEW', 1)} END;
      CREATE TRIGGER labels_checked_delete AFTER DELETE ON labels BEGIN ${count('OLD', -1)} END;
      CREATE TRIGGER labels_checked_update AFTER UPDATE OF class_id, part_id ON labels BEGIN
        ${count('OLD', -1)}
        ${count('NEW', 1)}
      END;
    `),
};
