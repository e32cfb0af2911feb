import type { Database } from 'better-sqlite3';
import { z } from 'zod';
import { regionSchema, type Region } from '../contract/domain.ts';
import type { QueueState } from './queue.ts';

export interface Label {
  stationId: string;
  imageSha: string;
  classId: string;
  /** In the rotated frame; none: the defect was not marked. */
  boxes: readonly Region[];
  partId: number;
  userId: string;
  at: string;
  /** null: the newest knowledge has not learnt it. */
  learntClassId: string | null;
  /** A person gave it although, or because, it was doubted: it is not doubted again. */
  confirmed: boolean;
}

export interface LabelChange {
  partId: number;
  stationId: string;
  imageSha: string | null;
  labelBefore: Label | null;
  queueStateBefore: QueueState | null;
}

/** Where a box of a label of this image lies from now on. */
export type TurnBox = (box: Region, imageSha: string) => Region;

export const withTurnedBoxes = (label: Label, turn: TurnBox): Label => ({
  ...label,
  boxes: label.boxes.map((box) => turn(box, label.imageSha)),
});

export interface Labels {
  get(stationId: string, imageSha: string): Label | null;
  list(stationId: string): Label[];
  /** Newest first. @param options.before only those that follow this one */
  recent(
    stationId: string,
    options: { classId?: string; limit: number; before?: Pick<Label, 'at' | 'partId'> },
  ): Label[];
  /** Those whose pictures the newest knowledge has not learnt under any class. */
  unlearnt(stationId: string): Label[];
  set(label: Label): void;
  /** Gives whether there was one. */
  remove(stationId: string, imageSha: string): boolean;
  perClass(stationId: string): { classId: string; labelled: number; fresh: number }[];
  /** Defects that no box and no tile of a judgement gives a place: a part judged ok shows nothing of where it is. */
  countWithoutPlace(stationId: string): number;
  /** Labels that are learnt, per person who gave them. */
  learntByUser(stationId: string): ReadonlyMap<string, number>;
  /** Marks what a knowledge was made of: a label changed since then stays fresh. */
  setLearnt(stationId: string, learnt: { imageSha: string; classId: string }[]): void;
  /** Notes what undo has to put back; gives the action's number. */
  recordAction(action: Omit<LabelAction, 'id' | 'sentBack'> & { userId: string; sentBack?: boolean }): number;
  /** The person's actions that were not taken back, newest first; of one station, or of all. */
  openActions(userId: string, limit: number, stationId?: string): LabelAction[];
  setUndone(actionId: number): void;
  /** Rewrites the boxes of a station's labels, those that undo would bring back too. */
  turnBoxes(stationId: string, turn: TurnBox): void;
  /** Takes an image out of every action, so that undo cannot bring a forgotten label back. */
  forgetInActions(stationId: string, imageSha: string): void;
}

export interface LabelAction {
  id: number;
  at: string;
  /** A skip that names a class took the labels of its parts away. */
  kind: 'label' | 'skip';
  /** null: skipped, or noted before classes were. */
  classId: string | null;
  /** Of labels that were taken away: the parts came into the queue. */
  sentBack: boolean;
  changes: LabelChange[];
}

/** The classes first: they are few, and only the defects among them are looked at, by the index of labels without a box. */
export const WITHOUT_PLACE = `
  SELECT count(*) FROM classes c
  CROSS JOIN labels l INDEXED BY labels_without_box ON l.station_id = ? AND l.class_id = c.id AND l.box_x IS NULL
  LEFT JOIN parts p ON p.id = l.part_id
  WHERE c.is_ok = 0 AND (p.tile_x IS NULL OR p.verdict = 'ok')`;

/** An action that no part is left of cannot be taken back. */
export const CLOSE_IF_EMPTY = `
  UPDATE label_actions SET undone = 1
  WHERE id = ? AND undone = 0 AND NOT EXISTS (SELECT 1 FROM label_action_parts c WHERE c.action_id = label_actions.id)`;

/** Parts that show a picture, found by the picture: actions are too many to be looked through for each one that is forgotten. */
export const ACTION_PARTS_OF_IMAGE = 'station_id = ? AND part_id IN (SELECT id FROM parts WHERE image_sha = ?)';

/** Takes parts out of the actions that name them, and closes the actions that none is left of. @param which condition on `label_action_parts` */
export const createForgetInActions = (db: Database, which: string): ((...bound: string[]) => void) => {
  const forget = db.prepare(`DELETE FROM label_action_parts WHERE ${which} RETURNING action_id`).pluck();
  const closeIfEmpty = db.prepare(CLOSE_IF_EMPTY);
  return (...bound) => {
    for (const actionId of new Set(forget.all(...bound))) closeIfEmpty.run(actionId);
  };
};

/** @param which condition on `labels` */
export const recentSql = (which: string): string =>
  `SELECT * FROM labels WHERE ${which} AND (at, part_id) < (@at, @partId) ORDER BY at DESC, part_id DESC LIMIT @limit`;
/** After any time. */
const NEWEST = { at: '~', partId: 0 };

interface Row {
  station_id: string;
  image_sha: string;
  class_id: string;
  box_x: number | null;
  box_y: number | null;
  box_width: number | null;
  box_height: number | null;
  more_boxes: string | null;
  part_id: number;
  user_id: string;
  at: string;
  learnt_class_id: string | null;
  confirmed: number;
}

const moreBoxes = ({ more_boxes: text }: Row): Region[] =>
  text === null ? [] : z.array(regionSchema).parse(JSON.parse(text));

const toLabel = (row: Row): Label => ({
  stationId: row.station_id,
  imageSha: row.image_sha,
  classId: row.class_id,
  boxes:
    row.box_x === null || row.box_y === null || row.box_width === null || row.box_height === null
      ? []
      : [{ x: row.box_x, y: row.box_y, width: row.box_width, height: row.box_height }, ...moreBoxes(row)],
  partId: row.part_id,
  userId: row.user_id,
  at: row.at,
  learntClassId: row.learnt_class_id,
  confirmed: row.confirmed === 1,
});

interface ChangeRow {
  part_id: number;
  station_id: string;
  image_sha: string | null;
  label_before: string | null;
  queue_state_before: QueueState | null;
}
/** As it was written beside an action; before there were several boxes it named one, or none. */
export const labelOf = (text: string): Label => {
  const { box = null, ...label } = JSON.parse(text) as Omit<Label, 'boxes'> & {
    box?: Region | null;
    boxes?: Region[];
  };
  return { ...label, boxes: label.boxes ?? (box === null ? [] : [box]) };
};
const toChange = (row: ChangeRow): LabelChange => ({
  partId: row.part_id,
  stationId: row.station_id,
  imageSha: row.image_sha,
  labelBefore: row.label_before === null ? null : labelOf(row.label_before),
  queueStateBefore: row.queue_state_before,
});

export const createLabels = (db: Database): Labels => {
  const one = db.prepare('SELECT * FROM labels WHERE station_id = ? AND image_sha = ?');
  const all = db.prepare('SELECT * FROM labels WHERE station_id = ? ORDER BY image_sha');
  const unlearnt = db.prepare(
    'SELECT * FROM labels WHERE station_id = ? AND learnt_class_id IS NULL ORDER BY image_sha',
  );
  const recent = db.prepare(recentSql('station_id = @stationId'));
  const recentOf = db.prepare(recentSql('station_id = @stationId AND class_id = @classId'));
  const upsert = db.prepare(`
    INSERT INTO labels (station_id, image_sha, class_id, box_x, box_y, box_width, box_height, more_boxes, part_id, user_id, at, learnt_class_id,
      confirmed)
    VALUES (@stationId, @imageSha, @classId, @x, @y, @width, @height, @moreBoxes, @partId, @userId, @at, @learntClassId, @confirmed)
    ON CONFLICT (station_id, image_sha) DO UPDATE SET class_id = excluded.class_id, box_x = excluded.box_x, box_y = excluded.box_y,
      box_width = excluded.box_width, box_height = excluded.box_height, more_boxes = excluded.more_boxes, part_id = excluded.part_id, user_id = excluded.user_id,
      at = excluded.at, learnt_class_id = excluded.learnt_class_id, confirmed = excluded.confirmed`);
  const remove = db.prepare('DELETE FROM labels WHERE station_id = ? AND image_sha = ?');
  const perClass = db.prepare(`
    SELECT class_id AS classId, count(*) AS labelled,
      sum(CASE WHEN learnt_class_id IS NULL OR learnt_class_id <> class_id THEN 1 ELSE 0 END) AS fresh
    FROM labels WHERE station_id = ? GROUP BY class_id ORDER BY class_id`);
  const withoutPlace = db.prepare(WITHOUT_PLACE).pluck();
  const byUser = db.prepare(`
    SELECT user_id AS userId, count(*) AS n FROM labels WHERE station_id = ? AND learnt_class_id IS NOT NULL GROUP BY user_id`);
  const clearLearnt = db.prepare('UPDATE labels SET learnt_class_id = NULL WHERE station_id = ?');
  const setLearnt = db.prepare('UPDATE labels SET learnt_class_id = ? WHERE station_id = ? AND image_sha = ?');
  const insertAction = db.prepare(
    'INSERT INTO label_actions (user_id, at, kind, class_id, sent_back) VALUES (?, ?, ?, ?, ?)',
  );
  const insertChange = db.prepare(`
    INSERT INTO label_action_parts (action_id, part_id, station_id, image_sha, label_before, queue_state_before)
    VALUES (?, ?, ?, ?, ?, ?)`);
  const openActions = db.prepare(`
    SELECT id, at, kind, class_id AS classId, sent_back FROM label_actions a WHERE user_id = @userId AND undone = 0 AND (@stationId IS NULL OR EXISTS (
      SELECT 1 FROM label_action_parts c WHERE c.action_id = a.id AND c.station_id = @stationId))
    ORDER BY id DESC LIMIT @limit`);
  const changesOf = db.prepare('SELECT * FROM label_action_parts WHERE action_id = ? ORDER BY part_id');
  const boxed = db.prepare('SELECT * FROM labels WHERE station_id = ? AND box_x IS NOT NULL');
  const noted = db.prepare(
    'SELECT action_id, part_id, label_before FROM label_action_parts WHERE station_id = ? AND label_before IS NOT NULL',
  );
  const setNoted = db.prepare('UPDATE label_action_parts SET label_before = ? WHERE action_id = ? AND part_id = ?');
  const setUndone = db.prepare('UPDATE label_actions SET undone = 1 WHERE id = ?');
  const set: Labels['set'] = ({ boxes, confirmed, ...label }) => {
    const [box, ...more] = boxes;
    upsert.run({
      ...label,
      // An action noted before there was such a thing.
      confirmed: confirmed === true ? 1 : 0,
      x: box?.x ?? null,
      y: box?.y ?? null,
      width: box?.width ?? null,
      height: box?.height ?? null,
      moreBoxes: more.length > 0 ? JSON.stringify(more) : null,
    });
  };
  return {
    get(stationId, imageSha) {
      const row = one.get(stationId, imageSha) as Row | undefined;
      return row === undefined ? null : toLabel(row);
    },
    list: (stationId) => (all.all(stationId) as Row[]).map(toLabel),
    unlearnt: (stationId) => (unlearnt.all(stationId) as Row[]).map(toLabel),
    recent(stationId, { classId, limit, before = NEWEST }) {
      const bound = { stationId, limit, at: before.at, partId: before.partId };
      const found = classId === undefined ? recent.all(bound) : recentOf.all({ ...bound, classId });
      return (found as Row[]).map(toLabel);
    },
    set,
    remove: (stationId, imageSha) => remove.run(stationId, imageSha).changes > 0,
    perClass: (stationId) => perClass.all(stationId) as { classId: string; labelled: number; fresh: number }[],
    countWithoutPlace: (stationId) => withoutPlace.get(stationId) as number,
    learntByUser: (stationId) =>
      new Map((byUser.all(stationId) as { userId: string; n: number }[]).map(({ userId, n }) => [userId, n])),
    setLearnt(stationId, learnt) {
      clearLearnt.run(stationId);
      for (const { imageSha, classId } of learnt) setLearnt.run(classId, stationId, imageSha);
    },
    recordAction({ userId, at, kind, classId, sentBack = false, changes }) {
      const id = Number(insertAction.run(userId, at, kind, classId, Number(sentBack)).lastInsertRowid);
      for (const change of changes) {
        const before = change.labelBefore === null ? null : JSON.stringify(change.labelBefore);
        insertChange.run(id, change.partId, change.stationId, change.imageSha, before, change.queueStateBefore);
      }
      return id;
    },
    openActions(userId, limit, stationId) {
      const found = openActions.all({ userId, limit, stationId: stationId ?? null }) as (Omit<
        LabelAction,
        'changes' | 'sentBack'
      > & { sent_back: number })[];
      return found.map(({ sent_back: sentBack, ...action }) => ({
        ...action,
        sentBack: sentBack === 1,
        changes: (changesOf.all(action.id) as ChangeRow[]).map(toChange),
      }));
    },
    turnBoxes(stationId, turn) {
      for (const row of boxed.all(stationId) as Row[]) set(withTurnedBoxes(toLabel(row), turn));
      for (const row of noted.all(stationId) as { action_id: number; part_id: number; label_before: string }[]) {
        const turned = withTurnedBoxes(labelOf(row.label_before), turn);
        setNoted.run(JSON.stringify(turned), row.action_id, row.part_id);
      }
    },
    setUndone: (actionId) => void setUndone.run(actionId),
    forgetInActions: createForgetInActions(db, ACTION_PARTS_OF_IMAGE),
  };
};
