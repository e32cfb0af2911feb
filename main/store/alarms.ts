import type { Database } from 'better-sqlite3';
import { alarmSchema, type Alarm, type Judgement } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';

/** How far the charts of a station have gone. */
export interface MonitorRow {
  modelId: string;
  firstPartId: number;
  seen: number;
  levels: Record<string, number[]>;
}

export interface Alarms {
  raise(alarm: Pick<Alarm, 'stationId' | 'modelId' | 'measure' | 'at' | 'partId'>): number;
  /** NOT_FOUND. */
  get(id: number): Alarm;
  /** Newest first. Of more than the limit those that nobody has acknowledged are kept before any other: they wait for somebody, however old. */
  list(stationId: string, options: { openOnly: boolean; limit: number }): Alarm[];
  acknowledge(id: number, by: string, at: string): void;
  monitor(stationId: string): MonitorRow | null;
  setMonitor(stationId: string, row: MonitorRow): void;
  /** Judgements of the first line parts of a model, from a part on, in order. */
  firstJudgements(stationId: string, row: Pick<MonitorRow, 'modelId' | 'firstPartId'>, limit: number): Judgement[];
}

interface Row {
  id: number;
  station_id: string;
  model_id: string;
  measure: string;
  at: string;
  part_id: number;
  acknowledged_by: string | null;
  acknowledged_at: string | null;
}

const toAlarm = (row: Row): Alarm =>
  alarmSchema.parse({
    id: row.id,
    stationId: row.station_id,
    modelId: row.model_id,
    measure: row.measure,
    at: row.at,
    partId: row.part_id,
    acknowledged: row.acknowledged_at === null ? null : { by: row.acknowledged_by, at: row.acknowledged_at },
  });

export const createAlarms = (db: Database): Alarms => {
  const insert = db.prepare('INSERT INTO alarms (station_id, model_id, measure, at, part_id) VALUES (?, ?, ?, ?, ?)');
  const one = db.prepare('SELECT * FROM alarms WHERE id = ?');
  const list = db.prepare(`
    SELECT * FROM (
      SELECT * FROM alarms WHERE station_id = ? AND (? = 0 OR acknowledged_at IS NULL)
      ORDER BY acknowledged_at IS NULL DESC, id DESC LIMIT ?)
    ORDER BY id DESC`);
  const acknowledge = db.prepare(
    'UPDATE alarms SET acknowledged_by = ?, acknowledged_at = ? WHERE id = ? AND acknowledged_at IS NULL',
  );
  const monitor = db.prepare('SELECT * FROM monitors WHERE station_id = ?');
  const setMonitor = db.prepare(`
    INSERT INTO monitors (station_id, model_id, first_part_id, seen, levels) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (station_id) DO UPDATE SET model_id = excluded.model_id, first_part_id = excluded.first_part_id,
      seen = excluded.seen, levels = excluded.levels`);
  const judgements = db
    .prepare(
      `SELECT judgement FROM parts WHERE station_id = ? AND model_id = ? AND origin = 'line' AND id >= ? ORDER BY id LIMIT ?`,
    )
    .pluck();
  return {
    raise: ({ stationId, modelId, measure, at, partId }) =>
      Number(insert.run(stationId, modelId, measure, at, partId).lastInsertRowid),
    get(id) {
      const row = one.get(id) as Row | undefined;
      if (row === undefined) throw new AppError('NOT_FOUND', { kind: 'alarm', id: String(id) });
      return toAlarm(row);
    },
    list: (stationId, { openOnly, limit }) => (list.all(stationId, openOnly ? 1 : 0, limit) as Row[]).map(toAlarm),
    acknowledge: (id, by, at) => void acknowledge.run(by, at, id),
    monitor(stationId) {
      const row = monitor.get(stationId) as
        { model_id: string; first_part_id: number; seen: number; levels: string } | undefined;
      if (row === undefined) return null;
      const levels = JSON.parse(row.levels) as MonitorRow['levels'];
      return { modelId: row.model_id, firstPartId: row.first_part_id, seen: row.seen, levels };
    },
    setMonitor: (stationId, { modelId, firstPartId, seen, levels }) =>
      void setMonitor.run(stationId, modelId, firstPartId, seen, JSON.stringify(levels)),
    firstJudgements: (stationId, { modelId, firstPartId }, limit) =>
      (judgements.all(stationId, modelId, firstPartId, limit) as string[]).map((text) => JSON.parse(text) as Judgement),
  };
};
