import type { Database } from 'better-sqlite3';
import { knowledgeSchema, type Knowledge } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';

export interface KnowledgeRows {
  /** Newest first. */
  list(stationId: string): Knowledge[];
  newest(stationId: string): Knowledge | null;
  /** NOT_FOUND. */
  get(id: string): Knowledge;
  ids(): string[];
  insert(value: Knowledge): void;
}

interface Row {
  id: string;
  station_id: string;
  backbone_id: string;
  created_at: string;
  parent_id: string | null;
  classes: string;
  lambda: number;
  balancing: number;
  balanced_accuracy: number | null;
  seconds: number;
  snapshot_id: string | null;
}

const toKnowledge = (row: Row): Knowledge =>
  knowledgeSchema.parse({
    id: row.id,
    stationId: row.station_id,
    backboneId: row.backbone_id,
    createdAt: row.created_at,
    parentId: row.parent_id,
    classes: JSON.parse(row.classes),
    lambda: row.lambda,
    balancing: row.balancing,
    balancedAccuracy: row.balanced_accuracy,
    seconds: row.seconds,
    ...(row.snapshot_id === null ? {} : { snapshotId: row.snapshot_id }),
  });

export const createKnowledge = (db: Database): KnowledgeRows => {
  const all = db.prepare('SELECT * FROM knowledge WHERE station_id = ? ORDER BY position DESC');
  const newest = db.prepare('SELECT * FROM knowledge WHERE station_id = ? ORDER BY position DESC LIMIT 1');
  const byId = db.prepare('SELECT * FROM knowledge WHERE id = ?');
  const ids = db.prepare('SELECT id FROM knowledge').pluck();
  const insert = db.prepare(`
    INSERT INTO knowledge (id, station_id, backbone_id, created_at, parent_id, classes, lambda, balancing, balanced_accuracy, seconds, snapshot_id, position)
    VALUES (@id, @stationId, @backboneId, @createdAt, @parentId, @classes, @lambda, @balancing, @balancedAccuracy, @seconds, @snapshotId,
      (SELECT coalesce(max(position), 0) + 1 FROM knowledge))`);
  return {
    list: (stationId) => (all.all(stationId) as Row[]).map(toKnowledge),
    newest(stationId) {
      const row = newest.get(stationId) as Row | undefined;
      return row === undefined ? null : toKnowledge(row);
    },
    get(id) {
      const row = byId.get(id) as Row | undefined;
      if (row === undefined) throw new AppError('NOT_FOUND', { kind: 'knowledge', id });
      return toKnowledge(row);
    },
    ids: () => ids.all() as string[],
    insert: (value) =>
      void insert.run({ ...value, classes: JSON.stringify(value.classes), snapshotId: value.snapshotId ?? null }),
  };
};
