import type { Database } from 'better-sqlite3';
import { labelOf, withTurnedBoxes, type Label, type TurnBox } from './labels.ts';

export interface GoldenImage {
  sha: string;
  classId: string;
}

export interface NewGoldenImage extends GoldenImage {
  width: number;
  height: number;
  /** Perceptual hash; null: the picture is flat, or was not looked at. */
  look: string | null;
  /** The label that it was; null: it came from a folder. */
  label: Label | null;
}

/** Images that judge. A retired set judges no more: of it only that it was one is known. */
export interface Golden {
  /** In the order of the hashes. */
  list(stationId: string): (GoldenImage & { look: string | null; label: Label | null })[];
  has(stationId: string, sha: string): boolean;
  /** Images that were in a set of the station once. */
  retired(stationId: string): ReadonlySet<string>;
  /** Of each retired set the hash that it had when it was retired. */
  retiredSets(stationId: string): ReadonlySet<string>;
  /** Adds images that were in no set yet; gives how many. */
  add(stationId: string, images: readonly NewGoldenImage[], by: { userName: string; at: string }): number;
  /** Rewrites the boxes of the labels that images of the set were, which a refresh brings back. */
  turnBoxes(stationId: string, turn: TurnBox): void;
  /** Who added to it last, and how often it was used; null: there is no set. */
  facts(stationId: string): { by: string; at: string; uses: number } | null;
  /** Gives the number of this use, from 1. */
  recordUse(use: { stationId: string; candidateId: string; setSha256: string; userName: string; at: string }): number;
  /** The set judges no more, and uses are counted anew. */
  retire(stationId: string, by: { setSha256: string; userName: string; at: string }): void;
}

interface Row extends GoldenImage {
  look: string | null;
  label: string | null;
}

export const createGolden = (db: Database): Golden => {
  const list = db.prepare(`
    SELECT image_sha AS sha, class_id AS classId, look, label FROM golden WHERE station_id = ? AND retirement IS NULL ORDER BY image_sha`);
  const has = db.prepare('SELECT 1 FROM golden WHERE station_id = ? AND image_sha = ? AND retirement IS NULL');
  const retired = db.prepare('SELECT image_sha FROM golden WHERE station_id = ? AND retirement IS NOT NULL').pluck();
  const retiredSets = db.prepare('SELECT set_sha256 FROM golden_retirements WHERE station_id = ?').pluck();
  const image = db.prepare(
    'INSERT INTO images (sha, width, height, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (sha) DO NOTHING',
  );
  const add = db.prepare(`
    INSERT INTO golden (station_id, image_sha, class_id, user_name, at, look, label) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (station_id, image_sha) DO NOTHING`);
  const last = db.prepare(`
    SELECT user_name AS "by", at FROM golden WHERE station_id = ? AND retirement IS NULL ORDER BY at DESC, image_sha LIMIT 1`);
  const uses = db
    .prepare(
      `SELECT count(*) FROM golden_uses WHERE station_id = @stationId
        AND id > (SELECT coalesce(max(last_use), 0) FROM golden_retirements WHERE station_id = @stationId)`,
    )
    .pluck();
  const use = db.prepare(`
    INSERT INTO golden_uses (station_id, candidate_id, set_sha256, user_name, at)
    VALUES (@stationId, @candidateId, @setSha256, @userName, @at)`);
  const retirement = db.prepare(`
    INSERT INTO golden_retirements (station_id, set_sha256, last_use, user_name, at)
    VALUES (@stationId, @setSha256, (SELECT coalesce(max(id), 0) FROM golden_uses WHERE station_id = @stationId), @userName, @at)`);
  const retire = db.prepare('UPDATE golden SET retirement = ? WHERE station_id = ? AND retirement IS NULL');
  const setLabel = db.prepare('UPDATE golden SET label = ? WHERE station_id = ? AND image_sha = ?');
  const listed: Golden['list'] = (stationId) =>
    (list.all(stationId) as Row[]).map(({ label, ...row }) => ({
      ...row,
      label: label === null ? null : labelOf(label),
    }));
  return {
    list: listed,
    has: (stationId, sha) => has.get(stationId, sha) !== undefined,
    retired: (stationId) => new Set(retired.all(stationId) as string[]),
    retiredSets: (stationId) => new Set(retiredSets.all(stationId) as string[]),
    add(stationId, images, { userName, at }) {
      let added = 0;
      for (const { sha, classId, width, height, look, label } of images) {
        image.run(sha, width, height, at);
        const told = label === null ? null : JSON.stringify(label);
        added += add.run(stationId, sha, classId, userName, at, look, told).changes;
      }
      return added;
    },
    turnBoxes(stationId, turn) {
      for (const { sha, label } of listed(stationId))
        if (label !== null && label.boxes.length > 0)
          setLabel.run(JSON.stringify(withTurnedBoxes(label, turn)), stationId, sha);
    },
    facts(stationId) {
      const row = last.get(stationId) as { by: string; at: string } | undefined;
      return row === undefined ? null : { ...row, uses: uses.get({ stationId }) as number };
    },
    recordUse(value) {
      use.run(value);
      return uses.get({ stationId: value.stationId }) as number;
    },
    retire(stationId, by) {
      retire.run(retirement.run({ stationId, ...by }).lastInsertRowid, stationId);
    },
  };
};
