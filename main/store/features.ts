import { createHash } from 'node:crypto';
import type { Database } from 'better-sqlite3';
import type { Recipe, Region } from '../contract/domain.ts';

/** Which row of features/<backbone>.f32 holds the features of which view of an image. */
export interface Features {
  /** -1: not extracted yet. */
  row(backboneId: string, imageSha: string, view: string): number;
  /** The newest row of any view of the image; -1: none was extracted yet. */
  rowOfImage(backboneId: string, imageSha: string): number;
  insert(backboneId: string, imageSha: string, view: string, row: number): void;
  /** Takes all views of an image out; gives their rows. */
  removeImage(imageSha: string): { backboneId: string; row: number }[];
  /** Rows that the file must have for what is known: the greatest row + 1. */
  length(backboneId: string): number;
}

/** A view: rotation of the frame, and region of the part in it. Another rotation, region or way to find the part: other features. */
export const viewOf = ({ rotation, finder }: Pick<Recipe, 'rotation' | 'finder'>, region: Region | null): string => {
  if (region === null) return `${rotation}:frame`;
  const place = `${rotation}:${region.x},${region.y},${region.width},${region.height}`;
  if (finder.kind === 'fixed') return place;
  return `${place}:${createHash('sha256').update(JSON.stringify(finder)).digest('hex').slice(0, 16)}`;
};

export const createFeatures = (db: Database): Features => {
  const row = db.prepare('SELECT row FROM features WHERE backbone_id = ? AND image_sha = ? AND view = ?');
  const rowOfImage = db
    .prepare('SELECT coalesce(max(row), -1) FROM features WHERE backbone_id = ? AND image_sha = ?')
    .pluck();
  const insert = db.prepare('INSERT INTO features (backbone_id, image_sha, view, row) VALUES (?, ?, ?, ?)');
  const ofImage = db.prepare('SELECT backbone_id AS backboneId, row FROM features WHERE image_sha = ?');
  const remove = db.prepare('DELETE FROM features WHERE image_sha = ?');
  const length = db.prepare('SELECT coalesce(max(row), -1) + 1 AS n FROM features WHERE backbone_id = ?');
  return {
    row: (backboneId, imageSha, view) =>
      (row.get(backboneId, imageSha, view) as { row: number } | undefined)?.row ?? -1,
    rowOfImage: (backboneId, imageSha) => rowOfImage.get(backboneId, imageSha) as number,
    insert: (backboneId, imageSha, view, at) => void insert.run(backboneId, imageSha, view, at),
    removeImage(imageSha) {
      const rows = ofImage.all(imageSha) as { backboneId: string; row: number }[];
      remove.run(imageSha);
      return rows;
    },
    length: (backboneId) => (length.get(backboneId) as { n: number }).n,
  };
};
