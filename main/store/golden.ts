import type { Database } from 'better-sqlite3';

export interface GoldenImage {
  sha: string;
  classId: string;
}

export interface Golden {
  /** In the order of the hashes. */
  list(stationId: string): GoldenImage[];
  has(stationId: string, sha: string): boolean;
  /** Adds images that are not in the set yet; gives how many. */
  add(
    stationId: string,
    images: readonly (GoldenImage & { width: number; height: number })[],
    by: { userName: string; at: string },
  ): number;
  /** Who added to it last, and how often it was used; null: there is no set. */
  facts(stationId: string): { by: string; at: string; uses: number } | null;
  /** Gives the number of this use, from 1. */
  recordUse(use: { stationId: string; candidateId: string; setSha256: string; userName: string; at: string }): number;
}

export const createGolden = (db: Database): Golden => {
  const list = db.prepare(
    'SELECT image_sha AS sha, class_id AS classId FROM golden WHERE station_id = ? ORDER BY image_sha',
  );
  const has = db.prepare('SELECT 1 FROM golden WHERE station_id = ? AND image_sha = ?');
  const image = db.prepare(
    'INSERT INTO images (sha, width, height, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (sha) DO NOTHING',
  );
  const add = db.prepare(`
    INSERT INTO golden (station_id, image_sha, class_id, user_name, at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (station_id, image_sha) DO NOTHING`);
  const last = db.prepare(
    'SELECT user_name AS "by", at FROM golden WHERE station_id = ? ORDER BY at DESC, image_sha LIMIT 1',
  );
  const uses = db.prepare('SELECT count(*) FROM golden_uses WHERE station_id = ?').pluck();
  const use = db.prepare(`
    INSERT INTO golden_uses (station_id, candidate_id, set_sha256, user_name, at)
    VALUES (@stationId, @candidateId, @setSha256, @userName, @at)`);
  return {
    list: (stationId) => list.all(stationId) as GoldenImage[],
    has: (stationId, sha) => has.get(stationId, sha) !== undefined,
    add(stationId, images, { userName, at }) {
      let added = 0;
      for (const { sha, classId, width, height } of images) {
        image.run(sha, width, height, at);
        added += add.run(stationId, sha, classId, userName, at).changes;
      }
      return added;
    },
    facts(stationId) {
      const row = last.get(stationId) as { by: string; at: string } | undefined;
      return row === undefined ? null : { ...row, uses: uses.get(stationId) as number };
    },
    recordUse(value) {
      use.run(value);
      return uses.get(value.stationId) as number;
    },
  };
};
