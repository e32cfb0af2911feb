import type { Database } from 'better-sqlite3';
import { labelDoubtSchema, queueReasonSchema, type LabelDoubt, type QueueItem } from '../contract/domain.ts';
import { z } from 'zod';
import { PART_COLUMNS, toPart, WITH_LABEL, type PartRow } from './parts.ts';

export type QueueReason = z.infer<typeof queueReasonSchema>;
export type QueueState = 'open' | 'labelled' | 'skipped';

export interface Queue {
  /** Puts a part in, or opens it again with the new reason. */
  put(
    partId: number,
    stationId: string,
    reason: QueueReason,
    usefulness: number,
    suggestedClassId: string | null,
  ): void;
  /** Opens the part of a doubted label, unless it is open for another reason already: a person's doubt is one that a model's does not replace. */
  putSuspect(partId: number, stationId: string, usefulness: number, suggestedClassId: string, doubt: LabelDoubt): void;
  /** Labels that a model doubts and nobody has looked at leave the queue: a newer check decides anew. What a person doubts stays, and what has no label any more: it waits for one. */
  closeSuspects(stationId: string): void;
  /** Open items, most useful first. */
  list(stationId: string, limit: number): QueueItem[];
  /** null: the part was never in the queue. */
  item(partId: number): QueueItem | null;
  count(stationId: string): number;
  state(partId: number): QueueState | null;
  setState(partId: number, state: QueueState | null): void;
  /** Open items with a picture, most useful first, for ranking; `unranked`: how many of them were never ranked. */
  forRanking(
    stationId: string,
    limit: number,
  ): { items: { partId: number; imageSha: string; reason: QueueReason }[]; unranked: number };
  /** Whatever its state: numbers of a ranking mean nothing beside those of the next one. */
  clearGroups(stationId: string): void;
  setRank(partId: number, rank: { usefulness: number; groupId: number | null; suggestedClassId: string | null }): void;
}

interface Row extends PartRow {
  reason: string;
  usefulness: number;
  group_id: number | null;
  group_size: number | null;
  suggested_class_id: string | null;
  doubt: string | null;
}

const GROUP_SIZE = `(SELECT count(*) FROM queue g WHERE g.station_id = q.station_id AND g.group_id = q.group_id AND g.state = 'open')`;

/** With their parts: thousands of items, each with a question of its own for its part, would take twenty times as long. */
const ITEMS = `
  SELECT q.reason, q.usefulness, q.group_id, q.suggested_class_id, q.doubt, ${GROUP_SIZE} AS group_size, ${PART_COLUMNS}
  FROM queue q CROSS JOIN parts p ON p.id = q.part_id ${WITH_LABEL}`;
export const LIST = `${ITEMS} WHERE q.station_id = ? AND q.state = 'open' ORDER BY q.usefulness DESC, q.part_id LIMIT ?`;

const toItem = (row: Row): QueueItem => ({
  part: toPart(row),
  reason: queueReasonSchema.parse(row.reason),
  usefulness: row.usefulness,
  groupId: row.group_id,
  groupSize: Math.max(1, row.group_size ?? 1),
  suggestedClassId: row.suggested_class_id,
  doubt: row.doubt === null ? null : labelDoubtSchema.parse(JSON.parse(row.doubt)),
});

export const createQueue = (db: Database): Queue => {
  const put = db.prepare(`
    INSERT INTO queue (part_id, station_id, reason, usefulness, suggested_class_id, state) VALUES (?, ?, ?, ?, ?, 'open')
    ON CONFLICT (part_id) DO UPDATE SET reason = excluded.reason, usefulness = excluded.usefulness,
      suggested_class_id = excluded.suggested_class_id, doubt = NULL, state = 'open'`);
  const putSuspect = db.prepare(`
    INSERT INTO queue (part_id, station_id, reason, usefulness, suggested_class_id, doubt, state) VALUES (?, ?, 'suspect', ?, ?, ?, 'open')
    ON CONFLICT (part_id) DO UPDATE SET reason = 'suspect', usefulness = excluded.usefulness, doubt = excluded.doubt,
      suggested_class_id = excluded.suggested_class_id, state = 'open'
      WHERE queue.state <> 'open' OR (queue.reason = 'suspect' AND (queue.doubt ->> 'by' IS NULL OR excluded.doubt ->> 'by' IS NOT NULL))`);
  const closeSuspects = db.prepare(`
    UPDATE queue SET state = 'labelled' WHERE station_id = ? AND reason = 'suspect' AND state <> 'labelled' AND doubt ->> 'by' IS NULL
      AND EXISTS (SELECT 1 FROM parts p JOIN labels l ON l.station_id = p.station_id AND l.image_sha = p.image_sha WHERE p.id = queue.part_id)`);
  const list = db.prepare(LIST);
  const one = db.prepare(`${ITEMS} WHERE q.part_id = ?`);
  const count = db.prepare(`SELECT count(*) AS n FROM queue WHERE station_id = ? AND state = 'open'`);
  const state = db.prepare('SELECT state FROM queue WHERE part_id = ?');
  const setState = db.prepare('UPDATE queue SET state = ? WHERE part_id = ?');
  const remove = db.prepare('DELETE FROM queue WHERE part_id = ?');
  const forRanking = db.prepare(`
    SELECT q.part_id AS partId, p.image_sha AS imageSha, q.reason, q.ranked FROM queue q JOIN parts p ON p.id = q.part_id
    WHERE q.station_id = ? AND q.state = 'open' AND p.image_sha IS NOT NULL ORDER BY q.usefulness DESC, q.part_id LIMIT ?`);
  const clearGroups = db.prepare('UPDATE queue SET group_id = NULL WHERE station_id = ? AND group_id IS NOT NULL');
  const setRank = db.prepare(
    'UPDATE queue SET usefulness = ?, group_id = ?, suggested_class_id = coalesce(?, suggested_class_id), ranked = 1 WHERE part_id = ?',
  );
  return {
    put: (partId, stationId, reason, usefulness, suggested) =>
      void put.run(partId, stationId, reason, usefulness, suggested),
    putSuspect: (partId, stationId, usefulness, suggested, doubt) =>
      void putSuspect.run(partId, stationId, usefulness, suggested, JSON.stringify(doubt)),
    closeSuspects: (stationId) => void closeSuspects.run(stationId),
    list: (stationId, limit) => (list.all(stationId, limit) as Row[]).map(toItem),
    item(partId) {
      const row = one.get(partId) as Row | undefined;
      return row === undefined ? null : toItem(row);
    },
    count: (stationId) => (count.get(stationId) as { n: number }).n,
    state: (partId) => (state.get(partId) as { state: QueueState } | undefined)?.state ?? null,
    setState: (partId, next) => void (next === null ? remove.run(partId) : setState.run(next, partId)),
    forRanking(stationId, limit) {
      const rows = forRanking.all(stationId, limit) as {
        partId: number;
        imageSha: string;
        reason: QueueReason;
        ranked: number;
      }[];
      return {
        items: rows.map(({ partId, imageSha, reason }) => ({ partId, imageSha, reason })),
        unranked: rows.filter((row) => row.ranked === 0).length,
      };
    },
    clearGroups: (stationId) => void clearGroups.run(stationId),
    setRank: (partId, rank) => void setRank.run(rank.usefulness, rank.groupId, rank.suggestedClassId, partId),
  };
};
