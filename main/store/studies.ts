import type { Database } from 'better-sqlite3';
import { AppError } from '../contract/errors.ts';

export interface StudyRow {
  id: string;
  stationId: string;
  name: string;
  createdAt: string;
  userId: string;
  rounds: number;
  closedAt: string | null;
}
export interface StudyPartRow {
  partId: number;
  imageSha: string;
  classId: string;
  labelledBy: string;
}
export interface RatingRow {
  userId: string;
  round: number;
  partId: number;
  good: boolean;
  at: string;
}

export interface Studies {
  insert(study: Omit<StudyRow, 'closedAt'>, parts: readonly StudyPartRow[]): void;
  /** NOT_FOUND. */
  get(id: string): StudyRow;
  /** Newest first. */
  list(stationId: string): StudyRow[];
  parts(studyId: string): StudyPartRow[];
  ratings(studyId: string): RatingRow[];
  rate(studyId: string, rating: RatingRow): void;
  removeRating(studyId: string, rating: Pick<RatingRow, 'userId' | 'round' | 'partId'>): void;
  close(studyId: string, at: string): void;
}

const COLUMNS =
  'id, station_id AS stationId, name, created_at AS createdAt, user_id AS userId, rounds, closed_at AS closedAt';

export const createStudies = (db: Database): Studies => {
  const insert = db.prepare(
    'INSERT INTO studies (id, station_id, name, created_at, user_id, rounds) VALUES (@id, @stationId, @name, @createdAt, @userId, @rounds)',
  );
  const insertPart = db.prepare('INSERT INTO study_parts VALUES (?, ?, ?, ?, ?)');
  const one = db.prepare(`SELECT ${COLUMNS} FROM studies WHERE id = ?`);
  const list = db.prepare(`SELECT ${COLUMNS} FROM studies WHERE station_id = ? ORDER BY created_at DESC, id`);
  const parts = db.prepare(`
    SELECT part_id AS partId, image_sha AS imageSha, class_id AS classId, labelled_by AS labelledBy
    FROM study_parts WHERE study_id = ? ORDER BY part_id`);
  const ratings = db.prepare(`
    SELECT user_id AS userId, round, part_id AS partId, good, at FROM study_ratings WHERE study_id = ? ORDER BY user_id, round, at`);
  const rate = db.prepare('INSERT INTO study_ratings VALUES (?, ?, ?, ?, ?, ?)');
  const removeRating = db.prepare(
    'DELETE FROM study_ratings WHERE study_id = ? AND user_id = ? AND round = ? AND part_id = ?',
  );
  const close = db.prepare('UPDATE studies SET closed_at = ? WHERE id = ?');
  return {
    insert(study, of) {
      insert.run(study);
      for (const { partId, imageSha, classId, labelledBy } of of)
        insertPart.run(study.id, partId, imageSha, classId, labelledBy);
    },
    get(id) {
      const row = one.get(id) as StudyRow | undefined;
      if (row === undefined) throw new AppError('NOT_FOUND', { kind: 'study', id });
      return row;
    },
    list: (stationId) => list.all(stationId) as StudyRow[],
    parts: (studyId) => parts.all(studyId) as StudyPartRow[],
    ratings: (studyId) =>
      (ratings.all(studyId) as (Omit<RatingRow, 'good'> & { good: number })[]).map((row) => ({
        ...row,
        good: row.good === 1,
      })),
    rate: (studyId, { userId, round, partId, good, at }) =>
      void rate.run(studyId, userId, round, partId, good ? 1 : 0, at),
    removeRating: (studyId, { userId, round, partId }) => void removeRating.run(studyId, userId, round, partId),
    close: (studyId, at) => void close.run(at, studyId),
  };
};
