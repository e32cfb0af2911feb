import type { Database } from 'better-sqlite3';
import { partSchema, type Judgement, type Part, type Verdict } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';

export type PartOrigin = 'line' | 'import';

export interface NewPart {
  stationId: string;
  origin: PartOrigin;
  /** 0 for an imported image. */
  seq: number;
  at: string;
  imageSha: string | null;
  width: number;
  height: number;
  judgement: Judgement;
  notes: string[];
  source: string | null;
}

export interface Parts {
  /** Adds the part and its image's row; gives the part's id. */
  insert(part: NewPart): number;
  /** NOT_FOUND, NO_LONGER_KEPT. */
  get(id: number): Part;
  find(id: number): Part | null;
  /** Parts of the line, newest first; `before`: ids below it. */
  recent(stationId: string, options: { limit: number; before?: number; verdict?: Verdict }): Part[];
  /** Newest part of the station that shows this image. */
  byImage(stationId: string, sha: string): Part | null;
  /** Pictures of the station, the newest first, each once. */
  archived(stationId: string, limit: number): string[];
  imageSize(sha: string): { width: number; height: number };
}

/** What `toPart` reads of parts `p` and of the label `l` that the part's image has now. */
export const PART_COLUMNS = `p.id, p.station_id, p.seq, p.at, p.image_sha, p.width, p.height, p.judgement, p.notes,
  l.class_id AS label_class, l.user_id AS label_user, l.at AS label_at`;
export const WITH_LABEL = `LEFT JOIN labels l ON l.station_id = p.station_id AND l.image_sha = p.image_sha`;
const SELECT = `SELECT ${PART_COLUMNS} FROM parts p ${WITH_LABEL}`;

/** The newest first, by an index: who wants few of them does not wait for millions. */
export const PICTURES = `
  SELECT id, image_sha FROM parts WHERE station_id = @stationId AND origin = 'line' AND image_sha IS NOT NULL
  UNION ALL SELECT id, image_sha FROM parts WHERE station_id = @stationId AND origin = 'import' AND image_sha IS NOT NULL
  ORDER BY id DESC`;

export interface PartRow {
  id: number;
  station_id: string;
  seq: number;
  at: string;
  image_sha: string | null;
  width: number;
  height: number;
  judgement: string;
  notes: string;
  label_class: string | null;
  label_user: string | null;
  label_at: string | null;
}

export const toPart = (row: PartRow): Part =>
  partSchema.parse({
    id: row.id,
    stationId: row.station_id,
    seq: row.seq,
    at: row.at,
    imageSha: row.image_sha,
    width: row.width,
    height: row.height,
    judgement: JSON.parse(row.judgement),
    notes: JSON.parse(row.notes),
    label: row.label_class === null ? null : { classId: row.label_class, by: row.label_user, at: row.label_at },
  });

export const createParts = (db: Database): Parts => {
  const insertImage = db.prepare(
    'INSERT INTO images (sha, width, height, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (sha) DO NOTHING',
  );
  const insert = db.prepare(`
    INSERT INTO parts (station_id, origin, seq, at, image_sha, width, height, verdict, class_id, model_id,
      tile_index, tile_count, tile_x, tile_y, tile_width, tile_height, judgement, notes, source)
    VALUES (@stationId, @origin, @seq, @at, @imageSha, @width, @height, @verdict, @classId, @modelId,
      @tileIndex, @tileCount, @tileX, @tileY, @tileWidth, @tileHeight, @judgement, @notes, @source)`);
  const byId = db.prepare(`${SELECT} WHERE p.id = ?`);
  const recent = db.prepare(`
    ${SELECT} WHERE p.station_id = ? AND p.origin = 'line' AND p.id < ? ORDER BY p.id DESC LIMIT ?`);
  const recentOf = db.prepare(`
    ${SELECT} WHERE p.station_id = ? AND p.origin = 'line' AND p.verdict = ? AND p.id < ? ORDER BY p.id DESC LIMIT ?`);
  const byImage = db.prepare(`${SELECT} WHERE p.image_sha = ? AND p.station_id = ? ORDER BY p.id DESC LIMIT 1`);
  const imageSize = db.prepare('SELECT width, height FROM images WHERE sha = ?');
  const pictures = db.prepare(PICTURES);
  const lastGiven = db.prepare(`SELECT seq FROM sqlite_sequence WHERE name = 'parts'`).pluck();
  const find = (id: number): Part | null => {
    const row = byId.get(id) as PartRow | undefined;
    return row === undefined ? null : toPart(row);
  };
  return {
    insert(part) {
      const { judgement } = part;
      const { tile } = judgement;
      if (part.imageSha !== null) insertImage.run(part.imageSha, part.width, part.height, part.at);
      const result = insert.run({
        stationId: part.stationId,
        origin: part.origin,
        seq: part.seq,
        at: part.at,
        imageSha: part.imageSha,
        width: part.width,
        height: part.height,
        verdict: judgement.verdict,
        classId: judgement.classId,
        modelId: judgement.modelId,
        tileIndex: tile?.index ?? null,
        tileCount: tile?.count ?? null,
        tileX: tile?.x ?? null,
        tileY: tile?.y ?? null,
        tileWidth: tile?.width ?? null,
        tileHeight: tile?.height ?? null,
        judgement: JSON.stringify(judgement),
        notes: JSON.stringify(part.notes),
        source: part.source,
      });
      return Number(result.lastInsertRowid);
    },
    find,
    get(id) {
      const part = find(id);
      if (part !== null) return part;
      // Numbers are never given twice, and nothing but retention takes a part away.
      const wasThere = id <= ((lastGiven.get() as number | undefined) ?? 0);
      throw new AppError(wasThere ? 'NO_LONGER_KEPT' : 'NOT_FOUND', { kind: 'part', id });
    },
    recent(stationId, { limit, before = Number.MAX_SAFE_INTEGER, verdict }) {
      const rows =
        verdict === undefined ? recent.all(stationId, before, limit) : recentOf.all(stationId, verdict, before, limit);
      return (rows as PartRow[]).map(toPart);
    },
    byImage(stationId, sha) {
      const row = byImage.get(sha, stationId) as PartRow | undefined;
      return row === undefined ? null : toPart(row);
    },
    archived(stationId, limit) {
      const found = new Set<string>();
      for (const { image_sha: sha } of pictures.iterate({ stationId }) as Iterable<{ image_sha: string }>) {
        if (found.size === limit) break;
        found.add(sha);
      }
      return [...found];
    },
    imageSize(sha) {
      const row = imageSize.get(sha) as { width: number; height: number } | undefined;
      if (row === undefined) throw new AppError('NOT_FOUND', { kind: 'image', id: sha });
      return row;
    },
  };
};
