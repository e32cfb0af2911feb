import type { Database } from 'better-sqlite3';

/** Values of the home by name; JSON. */
export interface Settings {
  /** undefined: never set. The caller parses: what a row holds is not trusted. */
  get(key: string): unknown;
  set(key: string, value: unknown): void;
}

export const createSettings = (db: Database): Settings => {
  const select = db.prepare('SELECT value FROM settings WHERE key = ?');
  const upsert = db.prepare(
    'INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
  );
  return {
    get(key) {
      const row = select.get(key) as { value: string } | undefined;
      return row === undefined ? undefined : JSON.parse(row.value);
    },
    set: (key, value) => void upsert.run(key, JSON.stringify(value)),
  };
};
