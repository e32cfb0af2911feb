import type { Database } from 'better-sqlite3';
import { defectClassSchema, type DefectClass } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';

export interface Classes {
  /** In the order in which they were made; retired ones too. */
  list(): DefectClass[];
  /** NOT_FOUND. */
  get(id: string): DefectClass;
  has(id: string): boolean;
  /** Classes of good parts. */
  okIds(): ReadonlySet<string>;
  /** A number per class for the line output, from 1 in the order in which they were made; never given to another. */
  codes(): Record<string, number>;
  insert(value: DefectClass, at: Date): void;
  rename(id: string, names: DefectClass['names']): void;
  /** No new labels from now on; the row and its id stay. */
  retire(id: string): void;
}

interface Row {
  id: string;
  name_en: string;
  name_ja: string;
  is_ok: number;
  color: number;
  hot_key: string | null;
  retired: number;
  position: number;
}

const toClass = (row: Row): DefectClass =>
  defectClassSchema.parse({
    id: row.id,
    names: { en: row.name_en, ja: row.name_ja },
    isOk: row.is_ok === 1,
    color: row.color,
    hotKey: row.hot_key,
    retired: row.retired === 1,
  });

export const createClasses = (db: Database): Classes => {
  const all = db.prepare('SELECT * FROM classes ORDER BY position');
  const byId = db.prepare('SELECT * FROM classes WHERE id = ?');
  const insert = db.prepare(`
    INSERT INTO classes (id, name_en, name_ja, is_ok, color, hot_key, retired, position, created_at)
    VALUES (@id, @en, @ja, @isOk, @color, @hotKey, @retired, (SELECT coalesce(max(position), 0) + 1 FROM classes), @at)`);
  const retire = db.prepare('UPDATE classes SET retired = 1, hot_key = NULL WHERE id = ?');
  const rename = db.prepare('UPDATE classes SET name_en = ?, name_ja = ? WHERE id = ?');
  const list = (): DefectClass[] => (all.all() as Row[]).map(toClass);
  return {
    list,
    okIds: () => new Set(list().flatMap(({ id, isOk }) => (isOk ? [id] : []))),
    get(id) {
      const row = byId.get(id) as Row | undefined;
      if (row === undefined) throw new AppError('NOT_FOUND', { kind: 'class', id });
      return toClass(row);
    },
    codes: () => Object.fromEntries((all.all() as Row[]).map((row) => [row.id, row.position])),
    has: (id) => byId.get(id) !== undefined,
    insert: (value, at) =>
      void insert.run({
        id: value.id,
        en: value.names.en,
        ja: value.names.ja,
        isOk: Number(value.isOk),
        color: value.color,
        hotKey: value.hotKey,
        retired: Number(value.retired),
        at: at.toISOString(),
      }),
    retire: (id) => void retire.run(id),
    rename: (id, names) => void rename.run(names.en, names.ja, id),
  };
};
