import { closeSync, openSync, writeSync } from 'node:fs';
import Sqlite from 'better-sqlite3';

/** Writes over one leaf page of a table or index, as a failing disk does. The file must be closed. @param which in the order of its rows */
export function ruinPage(file: string, name: string, which: 'middle' | 'last' = 'middle'): void {
  const db = new Sqlite(file, { readonly: true });
  const size = db.pragma('page_size', { simple: true }) as number;
  const pages = db
    .prepare('SELECT pageno FROM dbstat WHERE name = ? AND pagetype = ? ORDER BY path')
    .pluck()
    .all(name, 'leaf') as number[];
  db.close();
  const page = which === 'last' ? pages.at(-1) : pages[pages.length >> 1];
  if (page === undefined) throw new Error(`${name} has no leaf page`);
  const handle = openSync(file, 'r+');
  writeSync(handle, Buffer.alloc(size, 0xa5), 0, size, (page - 1) * size);
  closeSync(handle);
}
