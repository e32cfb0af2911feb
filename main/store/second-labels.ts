import type { Database } from 'better-sqlite3';

export interface SecondLabel {
  stationId: string;
  imageSha: string;
  userId: string;
  classId: string;
  firstClassId: string;
  firstUserId: string;
  at: string;
}

export interface SecondLabels {
  /** Parts whose label somebody else gave, and that nobody has called a second time; the newest labels first. */
  waiting(stationId: string, userId: string, limit: number): number[];
  countWaiting(stationId: string, userId: string): number;
  /** One per person and picture; the first one stays. @returns whether it was new */
  add(label: SecondLabel): boolean;
  list(stationId: string): SecondLabel[];
  /** Calls of a picture that is forgotten. */
  remove(stationId: string, imageSha: string): void;
}

export const createSecondLabels = (db: Database): SecondLabels => {
  const WAITING = `FROM labels l WHERE l.station_id = ? AND l.user_id <> ?
    AND NOT EXISTS (SELECT 1 FROM second_labels s WHERE s.station_id = l.station_id AND s.image_sha = l.image_sha)`;
  const waiting = db.prepare(`SELECT l.part_id ${WAITING} ORDER BY l.at DESC, l.part_id DESC LIMIT ?`).pluck();
  const countWaiting = db.prepare(`SELECT count(*) ${WAITING}`).pluck();
  const add = db.prepare(`
    INSERT INTO second_labels (station_id, image_sha, user_id, class_id, first_class_id, first_user_id, at)
    VALUES (@stationId, @imageSha, @userId, @classId, @firstClassId, @firstUserId, @at) ON CONFLICT DO NOTHING`);
  const list = db.prepare(`
    SELECT station_id AS stationId, image_sha AS imageSha, user_id AS userId, class_id AS classId, first_class_id AS firstClassId,
      first_user_id AS firstUserId, at FROM second_labels WHERE station_id = ? ORDER BY at, image_sha, user_id`);
  const remove = db.prepare('DELETE FROM second_labels WHERE station_id = ? AND image_sha = ?');
  return {
    waiting: (stationId, userId, limit) => waiting.all(stationId, userId, limit) as number[],
    countWaiting: (stationId, userId) => countWaiting.get(stationId, userId) as number,
    add: (label) => add.run(label).changes > 0,
    list: (stationId) => list.all(stationId) as SecondLabel[],
    remove: (stationId, imageSha) => void remove.run(stationId, imageSha),
  };
};
