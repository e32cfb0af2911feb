import type { Database } from 'better-sqlite3';
import { createForgetInActions } from './labels.ts';

/** A part of the line that is not ok and has a picture. */
export interface PicturedPart {
  id: number;
  at: string;
  imageSha: string;
}

export interface RecordRow {
  id: number;
  at: string;
  imageSha: string | null;
  /** In the database, about. */
  bytes: number;
  /** A label, the queue, an alarm, a study or an undo names it, or its picture is labelled or golden. */
  isNamed: boolean;
  /** Not ok, with its picture: that is not this list's to remove. */
  isPictured: boolean;
}

/** What retention reads and removes. Removing is within the caller's transaction, and a picture's file goes after it (`toRemove`). */
export interface RetentionRows {
  /** In the order in which they were stored, after a part's id. */
  pictured(stationId: string, after: number, limit: number): PicturedPart[];
  /**
   * Somebody still names the picture: labelled (also once, and not taken back), learnt, golden, in a study, open in the queue, or of a part of another station or not before
   * the given time.
   */
  isPictureNeeded(imageSha: string, stationId: string, before: string): boolean;
  /** The same of what can have changed since nobody did, without a look at each of the parts that may share the picture. */
  isPictureNamed(imageSha: string, before: string): boolean;
  /**
   * Parts stay, without their picture; a skip that undo would open again without it is forgotten. Of so many parts at once: a camera that stood still gave one picture to a million.
   * @returns false: parts are left that have it
   */
  removePicture(imageSha: string): boolean;
  records(stationId: string, after: number, limit: number): RecordRow[];
  /** A picture that nothing else names goes with it; gives whether one did. */
  removeRecord(record: Pick<RecordRow, 'id' | 'imageSha'>): boolean;
  /** Parts that the charts of the station's model compare with, ids; null: there are none. */
  reference(stationId: string, parts: number): { first: number; last: number } | null;
  /** Pictures of parts that people imported. */
  imported(): Iterable<string>;
  /** Pictures whose rows are gone and whose files are to go. One that has come again since is no longer among them. */
  toRemove(limit: number): string[];
  removed(shas: readonly string[]): void;
  /** Of the parts after this id, in order, at most so many; `last`: the last one that was counted, null: none was. */
  count(
    kind: 'other' | 'records',
    stationId: string,
    after: number,
    limit: number,
  ): { count: number; last: number | null };
  /** Pictures that good parts of a span of ids name, newest first. `after` is not among them, `last` is. */
  okPictures(stationId: string, after: number, last: number): string[];
  /** The newest good part, its id; 0: there is none. */
  lastOk(stationId: string): number;
  /** Of a record in the database, on average. */
  recordBytes(stationId: string): number;
  /** Pictures of the newest parts that are not ok, to measure their files. */
  newestPictures(stationId: string, limit: number): string[];
}

/** Of a row beside its texts: the other columns and its places in the indexes. */
const ROW_BYTES = 260;
const RECORD_BYTES = `length(CAST(p.judgement AS BLOB)) + length(CAST(p.notes AS BLOB)) + ${ROW_BYTES}`;
const SAMPLED_RECORDS = 500;

const LINE = `p.station_id = @stationId AND p.origin = 'line'`;
const OTHER = `${LINE} AND p.verdict <> 'ok' AND p.image_sha IS NOT NULL`;
const OK = `${LINE} AND p.verdict = 'ok'`;

/** Found by the picture alone. */
const PICTURE_NAMED = `
  EXISTS (SELECT 1 FROM labels WHERE image_sha = @imageSha)
    OR EXISTS (SELECT 1 FROM features WHERE image_sha = @imageSha)
    OR EXISTS (SELECT 1 FROM golden WHERE image_sha = @imageSha)
    OR EXISTS (SELECT 1 FROM second_labels WHERE image_sha = @imageSha)
    OR EXISTS (SELECT 1 FROM study_parts WHERE image_sha = @imageSha)
    OR EXISTS (SELECT 1 FROM parts o WHERE o.id = (SELECT max(id) FROM parts WHERE image_sha = @imageSha) AND o.at >= @before)`;

/** The cheap ones first: the last one looks at each part with this picture, once. */
const PICTURE_NEEDED = `
  SELECT ${PICTURE_NAMED}
    OR EXISTS (
      SELECT 1 FROM parts o WHERE o.image_sha = @imageSha AND (
        o.station_id <> @stationId OR o.at >= @before
        OR EXISTS (SELECT 1 FROM queue q WHERE q.part_id = o.id AND q.state = 'open')
        OR EXISTS (SELECT 1 FROM alarms a WHERE a.part_id = o.id)
        OR EXISTS (
          SELECT 1 FROM label_action_parts c JOIN label_actions a ON a.id = c.action_id
          WHERE c.part_id = o.id AND (c.label_before IS NOT NULL OR (a.kind = 'label' AND a.undone = 0)))))`;

/** Parts that lose their picture at once: some 10 ms. */
const PARTS_AT_ONCE = 1_000;
const PARTS_OF_IMAGE = `(SELECT id FROM parts WHERE image_sha = ? ORDER BY id LIMIT ${PARTS_AT_ONCE})`;

const RECORD_NAMED = `
  EXISTS (SELECT 1 FROM labels WHERE part_id = p.id)
  OR EXISTS (SELECT 1 FROM queue WHERE part_id = p.id)
  OR EXISTS (SELECT 1 FROM label_action_parts WHERE part_id = p.id)
  OR EXISTS (SELECT 1 FROM alarms WHERE part_id = p.id)
  OR EXISTS (SELECT 1 FROM study_parts WHERE part_id = p.id)
  OR EXISTS (SELECT 1 FROM study_ratings WHERE part_id = p.id)
  OR EXISTS (SELECT 1 FROM labels WHERE image_sha = p.image_sha)
  OR EXISTS (SELECT 1 FROM golden WHERE image_sha = p.image_sha)`;

/** One at a time: nobody walks through all pictures that there are. */
export const CAME_AGAIN = `
  DELETE FROM pictures_to_remove WHERE sha = @sha AND EXISTS (SELECT 1 FROM images WHERE sha = @sha)`;

export const createRetentionRows = (db: Database): RetentionRows => {
  const pictured = db.prepare(
    `SELECT p.id, p.at, p.image_sha AS imageSha FROM parts p WHERE ${OTHER} AND p.id > @after ORDER BY p.id LIMIT @limit`,
  );
  const pictureNeeded = db.prepare(PICTURE_NEEDED).pluck();
  const pictureNamed = db.prepare(`SELECT ${PICTURE_NAMED}`).pluck();
  const forgetSkips = createForgetInActions(db, `part_id IN ${PARTS_OF_IMAGE}`);
  const unqueue = db.prepare(`DELETE FROM queue WHERE part_id IN ${PARTS_OF_IMAGE}`);
  const withoutPicture = db.prepare(`UPDATE parts SET image_sha = NULL WHERE id IN ${PARTS_OF_IMAGE}`);
  const dropImage = db.prepare(`
    DELETE FROM images WHERE sha = @sha AND NOT EXISTS (SELECT 1 FROM parts WHERE image_sha = @sha)
      AND NOT EXISTS (SELECT 1 FROM labels WHERE image_sha = @sha) AND NOT EXISTS (SELECT 1 FROM features WHERE image_sha = @sha)
      AND NOT EXISTS (SELECT 1 FROM golden WHERE image_sha = @sha) AND NOT EXISTS (SELECT 1 FROM second_labels WHERE image_sha = @sha)
      AND NOT EXISTS (SELECT 1 FROM study_parts WHERE image_sha = @sha)`);
  const noteFile = db.prepare('INSERT INTO pictures_to_remove (sha) VALUES (?) ON CONFLICT (sha) DO NOTHING');
  const records = db.prepare(`
    SELECT p.id, p.at, p.image_sha AS imageSha, ${RECORD_BYTES} AS bytes, p.verdict <> 'ok' AND p.image_sha IS NOT NULL AS isPictured,
      ${RECORD_NAMED} AS isNamed
    FROM parts p WHERE ${LINE} AND p.id > @after ORDER BY p.id LIMIT @limit`);
  const removePart = db.prepare('DELETE FROM parts WHERE id = ?');
  const reference = db.prepare(`
    SELECT m.first_part_id AS first, max(
      coalesce((SELECT max(id) FROM (SELECT id FROM parts WHERE station_id = m.station_id AND origin = 'line' AND id >= m.first_part_id
        ORDER BY id LIMIT @parts)), 0),
      coalesce((SELECT max(id) FROM (SELECT id FROM parts WHERE station_id = m.station_id AND model_id = m.model_id AND origin = 'line'
        AND id >= m.first_part_id ORDER BY id LIMIT @parts)), 0)) AS last
    FROM monitors m WHERE m.station_id = @stationId AND m.model_id <> ''`);
  const imported = db
    .prepare(`SELECT image_sha FROM parts WHERE origin = 'import' AND station_id = ? AND image_sha IS NOT NULL`)
    .pluck();
  const stations = db.prepare('SELECT id FROM stations').pluck();
  const cameAgain = db.prepare(CAME_AGAIN);
  const toRemove = db.prepare('SELECT sha FROM pictures_to_remove ORDER BY sha LIMIT ?').pluck();
  const removed = db.prepare('DELETE FROM pictures_to_remove WHERE sha = ?');
  const counts = Object.fromEntries(
    Object.entries({ other: OTHER, records: LINE }).map(([kind, where]) => [
      kind,
      db.prepare(
        `SELECT count(*) AS count, max(id) AS last FROM (SELECT p.id FROM parts p WHERE ${where} AND p.id > @after ORDER BY p.id LIMIT @limit)`,
      ),
    ]),
  );
  const okPictures = db
    .prepare(
      `SELECT p.image_sha FROM parts p WHERE ${OK} AND p.image_sha IS NOT NULL AND p.id > @after AND p.id <= @last ORDER BY p.id DESC`,
    )
    .pluck();
  const lastOk = db.prepare(`SELECT coalesce(max(p.id), 0) FROM parts p WHERE ${OK}`).pluck();
  const recordBytes = db
    .prepare(
      `SELECT coalesce(avg(bytes), 0) FROM (SELECT ${RECORD_BYTES} AS bytes FROM parts p WHERE ${LINE} ORDER BY p.id DESC LIMIT ${SAMPLED_RECORDS})`,
    )
    .pluck();
  const newest = db.prepare(`SELECT p.image_sha FROM parts p WHERE ${OTHER} ORDER BY p.id DESC LIMIT @limit`).pluck();
  const drop = (sha: string): boolean => {
    if (dropImage.run({ sha }).changes === 0) return false;
    noteFile.run(sha);
    return true;
  };
  return {
    pictured: (stationId, after, limit) => pictured.all({ stationId, after, limit }) as PicturedPart[],
    isPictureNeeded: (imageSha, stationId, before) => pictureNeeded.get({ imageSha, stationId, before }) === 1,
    isPictureNamed: (imageSha, before) => pictureNamed.get({ imageSha, before }) === 1,
    removePicture(imageSha) {
      forgetSkips(imageSha);
      unqueue.run(imageSha);
      const all = withoutPicture.run(imageSha).changes < PARTS_AT_ONCE;
      if (all) drop(imageSha);
      return all;
    },
    records: (stationId, after, limit) =>
      (records.all({ stationId, after, limit }) as Record<string, unknown>[]).map((row) => ({
        ...(row as unknown as RecordRow),
        isNamed: row['isNamed'] === 1,
        isPictured: row['isPictured'] === 1,
      })),
    removeRecord({ id, imageSha }) {
      removePart.run(id);
      return imageSha !== null && drop(imageSha);
    },
    reference: (stationId, parts) =>
      (reference.get({ stationId, parts }) as { first: number; last: number } | undefined) ?? null,
    *imported() {
      for (const id of stations.all()) yield* imported.all(id) as string[];
    },
    toRemove(limit) {
      for (;;) {
        const page = toRemove.all(limit) as string[];
        const gone = page.filter((sha) => cameAgain.run({ sha }).changes === 0);
        // Of a page all of which came again none is left, and the next ones are not looked at yet.
        if (gone.length > 0 || page.length === 0) return gone;
      }
    },
    removed(shas) {
      for (const sha of shas) removed.run(sha);
    },
    count: (kind, stationId, after, limit) =>
      counts[kind]!.get({ stationId, after, limit }) as { count: number; last: number | null },
    okPictures: (stationId, after, last) => okPictures.all({ stationId, after, last }) as string[],
    lastOk: (stationId) => lastOk.get({ stationId }) as number,
    recordBytes: (stationId) => recordBytes.get({ stationId }) as number,
    newestPictures: (stationId, limit) => newest.all({ stationId, limit }) as string[],
  };
};
