import type { Database } from 'better-sqlite3';
import type { Judgement, Verdict } from '../contract/domain.ts';

export interface HourCount {
  /** UTC, `2026-01-31T09`. */
  hour: string;
  verdict: Verdict;
  /** Of NG parts; null: none was found, or another verdict. */
  classId: string | null;
  parts: number;
}

/** What a chart of the line needs of a part. */
export type ChartPart = Pick<Judgement, 'verdict' | 'unsureReason' | 'novelty' | 'margin'> & { id: number; at: string };

export interface Reports {
  /** Parts of the line, `from` <= hour < `to`, both cut to the hour. Oldest first. */
  hours(stationId: string, from: string, to: string): HourCount[];
  /** The same of parts that a person has labelled, by verdict and by whether the label is the good class. */
  checked(stationId: string, from: string, to: string): { verdict: Verdict; good: boolean; parts: number }[];
  /** The same of those whose label went to the golden set that judges now, by the class that it had. */
  checkedGolden(stationId: string, from: string, to: string): { verdict: Verdict; classId: string; parts: number }[];
  /** Newest part of the line; null: none. */
  newestPart(stationId: string): number | null;
  /** Parts of the line in order, from an id on. */
  partsFrom(stationId: string, id: number, limit: number): ChartPart[];
}

export const createReports = (db: Database): Reports => {
  const hours = db.prepare(`
    SELECT hour, verdict, nullif(class_id, '') AS classId, parts FROM part_hours
    WHERE station_id = ? AND hour >= substr(?, 1, 13) AND hour < substr(?, 1, 13) ORDER BY hour`);
  const checked = db.prepare(`
    SELECT verdict, good, sum(parts) AS parts FROM checked_hours
    WHERE station_id = ? AND hour >= substr(?, 1, 13) AND hour < substr(?, 1, 13)
    GROUP BY verdict, good HAVING sum(parts) > 0`);
  // Some hundreds at most.
  const checkedGolden = db.prepare(`
    SELECT p.verdict, g.class_id AS classId, count(*) AS parts FROM golden g JOIN parts p ON p.id = g.label ->> 'partId'
    WHERE g.station_id = ? AND g.retirement IS NULL AND p.origin = 'line'
      AND substr(p.at, 1, 13) >= substr(?, 1, 13) AND substr(p.at, 1, 13) < substr(?, 1, 13)
    GROUP BY p.verdict, g.class_id`);
  const newest = db.prepare(`SELECT max(id) AS id FROM parts WHERE station_id = ? AND origin = 'line'`);
  const partsFrom = db.prepare(`
    SELECT id, at, verdict, judgement ->> 'unsureReason' AS unsureReason, judgement ->> 'novelty' AS novelty, judgement ->> 'margin' AS margin
    FROM parts WHERE station_id = ? AND origin = 'line' AND id >= ? ORDER BY id LIMIT ?`);
  return {
    newestPart: (stationId) => (newest.get(stationId) as { id: number | null }).id,
    partsFrom: (stationId, id, limit) => partsFrom.all(stationId, id, limit) as ChartPart[],
    checkedGolden: (stationId, from, to) =>
      checkedGolden.all(stationId, from, to) as { verdict: Verdict; classId: string; parts: number }[],
    hours: (stationId, from, to) => hours.all(stationId, from, to) as HourCount[],
    checked: (stationId, from, to) =>
      (checked.all(stationId, from, to) as { verdict: Verdict; good: number; parts: number }[]).map((row) => ({
        ...row,
        good: row.good === 1,
      })),
  };
};
