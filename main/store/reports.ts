import type { Database } from 'better-sqlite3';
import type { Verdict } from '../contract/domain.ts';

export interface HourCount {
  /** UTC, `2026-01-31T09`. */
  hour: string;
  verdict: Verdict;
  /** Of NG parts; null: none was found, or another verdict. */
  classId: string | null;
  parts: number;
}

export interface Reports {
  /** Parts of the line, `from` <= hour < `to`, both cut to the hour. Oldest first. */
  hours(stationId: string, from: string, to: string): HourCount[];
  /** Parts of the line that a person has labelled, by verdict and by whether the label is the good class. */
  checked(stationId: string, from: string, to: string): { verdict: Verdict; good: boolean; parts: number }[];
}

export const createReports = (db: Database): Reports => {
  const hours = db.prepare(`
    SELECT hour, verdict, nullif(class_id, '') AS classId, parts FROM part_hours
    WHERE station_id = ? AND hour >= substr(?, 1, 13) AND hour < substr(?, 1, 13) ORDER BY hour`);
  // By way of the labels: there are thousands of them where there are millions of parts.
  const checked = db.prepare(`
    SELECT p.verdict, c.is_ok AS good, count(*) AS parts
    FROM labels l CROSS JOIN parts p ON p.id = l.part_id CROSS JOIN classes c ON c.id = l.class_id
    WHERE l.station_id = ? AND p.origin = 'line' AND p.at >= ? AND p.at < ?
    GROUP BY p.verdict, c.is_ok`);
  return {
    hours: (stationId, from, to) => hours.all(stationId, from, to) as HourCount[],
    checked: (stationId, from, to) =>
      (checked.all(stationId, from, to) as { verdict: Verdict; good: number; parts: number }[]).map((row) => ({
        ...row,
        good: row.good === 1,
      })),
  };
};
