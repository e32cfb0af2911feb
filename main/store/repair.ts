import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import Sqlite, { type Database } from 'better-sqlite3';
import { AppError, problemOf } from '../contract/errors.ts';
import { checkDatabase } from './check.ts';
import { diskError, diskFullOr, keepFromOthers, nodeFiles, writeDurably } from './files.ts';
import { databaseFile } from './home.ts';
import { migrate, schemaVersion } from './migrate.ts';

/*
 * A damaged database, made readable again as far as it can be read: every row that can still be read goes into a new database of the same version, with its indexes built anew. The damaged file
 * stays beside it, byte for byte. What could not be read is told per table, and the next start writes all of it into the trail, which shows itself whether an entry is missing.
 */

export interface RepairReport {
  /** What was wrong, in SQLite's words. */
  problems: string[];
  /** Rows per table that were read, where not all of it could be; and rows left out since they name one that is gone. */
  tables: { name: string; read: number; unreadable: boolean; dangling: number }[];
  /** Folder with the damaged file; null: nothing was done. */
  kept: string | null;
  /** Who asked for it in the window; absent: the command line. */
  by?: string;
}

export const repairedFile = (home: string): string => join(home, 'repaired.json');
/** Folder with the damaged file, at the first start after a repair; null: it was not repaired just now. */
export const keptByRepair = async (home: string): Promise<string | null> => {
  const note = await readFile(repairedFile(home), 'utf8').catch(() => null);
  const kept = note && (JSON.parse(note) as RepairReport).kept;
  // By its name: the home may lie elsewhere by now.
  return kept && join(home, basename(kept));
};

const isCorrupt = (error: unknown): boolean =>
  /^SQLITE_(CORRUPT|NOTADB|IOERR)/.test(String((error as { code?: string }).code));

interface Table {
  name: string;
  columns: string;
  /** Names of the primary key's columns. */
  key: string[];
  hasRowid: boolean;
}

const tablesOf = (db: Database): Table[] =>
  (db.pragma('table_list') as { schema: string; name: string; type: string; wr: number }[])
    .filter(({ schema, name, type }) => schema === 'main' && type === 'table' && !name.startsWith('sqlite_'))
    .map(({ name, wr }) => {
      const columns = db.pragma(`table_info("${name}")`) as { name: string; pk: number }[];
      return {
        name,
        columns: columns.map((column) => `"${column.name}"`).join(', '),
        key: columns
          .filter(({ pk }) => pk > 0)
          .sort((a, b) => a.pk - b.pk)
          .map((column) => column.name),
        hasRowid: wr === 0,
      };
    });

/** Statements of a schema in the order: tables first, then what watches and finds their rows. */
const schemaAt = (version: number): { tables: string[]; rest: string[] } => {
  const empty = new Sqlite(':memory:');
  try {
    migrate(empty, version);
    const all = empty
      .prepare(`SELECT type, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid`)
      .all() as { type: string; sql: string }[];
    return {
      tables: all.filter(({ type }) => type === 'table').map(({ sql }) => sql),
      rest: all.filter(({ type }) => type !== 'table').map(({ sql }) => sql),
    };
  } finally {
    empty.close();
  }
};

type Row = unknown[];
interface Target {
  insert(row: Row): void;
}

/** Numbers that are tried one by one, at most, where a stretch cannot be read. */
const TRIED = 65_536;
/** As many where nothing behind can be read any more. */
const TRIED_AT_END = 4_096;
/** Numbers beyond it are nobody's: no row of ours ever had one, and JavaScript cannot name them. */
const LAST_NUMBER = Number.MAX_SAFE_INTEGER - 1;

/** Reads in the order of the row numbers, in smaller and smaller ranges of them around what cannot be read. Gives whether all could be. */
const copyByRowid = (damaged: Database, { name, columns }: Table, target: Target): boolean => {
  const rowsWhere = (where: string) =>
    damaged.prepare(`SELECT rowid, ${columns} FROM "${name}" NOT INDEXED WHERE ${where}`).raw();
  const upwards = rowsWhere('rowid > ? ORDER BY rowid');
  const between = rowsWhere('rowid BETWEEN ? AND ?');
  const after = damaged
    .prepare(`SELECT rowid FROM "${name}" NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT 1`)
    .pluck();
  const downwards = rowsWhere('rowid > ? ORDER BY rowid DESC');
  let whole = true;
  const attempt = <T>(work: () => T, otherwise: T): T => {
    try {
      return work();
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      whole = false;
      return otherwise;
    }
  };
  const isNumber = (row: Row): row is [number, ...unknown[]] => Math.abs(row[0] as number) <= LAST_NUMBER;
  const insert = (rows: Iterable<Row>): void => {
    for (const row of rows) {
      if (isNumber(row)) target.insert(row);
      else whole = false;
    }
  };
  const range = (from: number, to: number): void => {
    const rows = attempt(() => between.all(from, to) as Row[], null);
    if (rows !== null) return insert(rows);
    if (from >= to) return;
    const middle = Math.floor((from + to) / 2);
    range(from, middle);
    range(middle + 1, to);
  };
  /** The number after this one, null behind the last; `unreadable`: the page that would tell. */
  const numberAfter = (number: number) =>
    attempt<number | null | 'unreadable'>(() => (after.get(number) as number | undefined) ?? null, 'unreadable');
  const first = attempt(
    () => (damaged.prepare(`SELECT min(rowid) FROM "${name}"`).pluck().get() as number | null) ?? 1,
    1,
  );
  if (first < -LAST_NUMBER) whole = false;
  const start = Math.max(first, -LAST_NUMBER) - 1;
  let last = start;
  /** Up to the end, or to what cannot be read. */
  const goOn = (): boolean => {
    for (const row of upwards.iterate(last) as Iterable<Row>) {
      insert([row]);
      // A damaged number may lie between good ones: who comes after it counts.
      if (isNumber(row)) last = row[0];
    }
    return true;
  };
  for (let from = start; !attempt(goOn, false); from = last) {
    // Numbers out of order lead nobody back.
    last = Math.max(last, from);
    const next = numberAfter(last);
    if (next === null) break;
    if (next !== 'unreadable') {
      // A row whose rest lies elsewhere.
      last = Math.max(next, last + 1);
      continue;
    }
    let step = 1;
    while (last + step <= LAST_NUMBER && numberAfter(last + step) === 'unreadable') step *= 2;
    range(last + 1, last + Math.min(step, last + step > LAST_NUMBER ? TRIED_AT_END : TRIED));
    last += step;
    if (last > LAST_NUMBER) break;
  }
  // What lies behind a damaged number, or between damage and the end.
  if (!whole) attempt(() => insert(downwards.iterate(start) as Iterable<Row>), undefined);
  return whole;
};

/** A number that was given once is not given again, though its row is gone: the trail names it. */
const carryOnNumbers = (damaged: Database, db: Database): void => {
  const counting = db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'`);
  if (counting.get() === undefined) return;
  const given = new Map<string, number>();
  try {
    for (const { name, seq } of damaged.prepare('SELECT name, seq FROM sqlite_sequence').iterate() as Iterable<{
      name: string;
      seq: unknown;
    }>)
      if (typeof seq === 'number' && seq <= LAST_NUMBER) given.set(name, seq);
  } catch (error) {
    // The copied rows' own numbers are what is left to go by.
    if (!isCorrupt(error)) throw error;
  }
  const counts = db.prepare(`SELECT 1 FROM sqlite_master WHERE name = ? AND sql LIKE '%AUTOINCREMENT%'`);
  const seqOf = db.prepare('SELECT seq FROM sqlite_sequence WHERE name = ?').pluck();
  for (const [name, seq] of given) {
    const copied = seqOf.get(name) as number | undefined;
    if (counts.get(name) === undefined || seq <= (copied ?? 0)) continue;
    db.prepare('DELETE FROM sqlite_sequence WHERE name = ?').run(name);
    db.prepare('INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)').run(name, seq);
  }
};

/** From both ends towards the damage: these tables have no numbers to ask for. */
const copyInOrder = (damaged: Database, { name, columns, key }: Table, target: Target): boolean => {
  for (const direction of ['ASC', 'DESC']) {
    try {
      const order = key.map((column) => `"${column}" ${direction}`).join(', ');
      for (const row of damaged.prepare(`SELECT ${columns} FROM "${name}" ORDER BY ${order}`).raw().iterate())
        target.insert(row as Row);
      if (direction === 'ASC') return true;
    } catch (error) {
      if (!isCorrupt(error)) throw error;
    }
  }
  return false;
};

/** Takes out rows that name one that could not be read; entries of the trail name none. */
const removeDangling = (db: Database): Map<string, number> => {
  const removed = new Map<string, number>();
  for (;;) {
    const dangling = db.pragma('foreign_key_check') as { table: string; rowid: number | null }[];
    if (dangling.length === 0) return removed;
    for (const table of new Set(dangling.map((each) => each.table))) {
      const rows = dangling.filter((each) => each.table === table);
      const before = db.prepare(`SELECT count(*) FROM "${table}"`).pluck().get() as number;
      if (rows.every(({ rowid }) => rowid !== null)) {
        const remove = db.prepare(`DELETE FROM "${table}" WHERE rowid = ?`);
        for (const { rowid } of rows) remove.run(rowid);
      } else {
        const parents = db.pragma(`foreign_key_list("${table}")`) as { table: string; from: string; to: string }[];
        for (const { table: parent, from, to } of parents)
          db.exec(
            `DELETE FROM "${table}" WHERE "${from}" IS NOT NULL AND "${from}" NOT IN (SELECT "${to}" FROM "${parent}")`,
          );
      }
      const after = db.prepare(`SELECT count(*) FROM "${table}"`).pluck().get() as number;
      removed.set(table, (removed.get(table) ?? 0) + before - after);
    }
  }
};

const copyReadable = (from: string, to: string): RepairReport['tables'] => {
  keepFromOthers(to);
  // A connection of its own: what it stumbles over must not stop the other one's writing.
  const damaged = new Sqlite(from, { readonly: true, fileMustExist: true });
  const db = new Sqlite(to);
  try {
    const version = schemaVersion(damaged);
    const { tables, rest } = schemaAt(version);
    db.pragma('foreign_keys = OFF');
    db.pragma('synchronous = FULL');
    const read = db.transaction(() => {
      for (const sql of tables) db.exec(sql);
      return tablesOf(db).map((table) => {
        const columns = table.hasRowid ? `rowid, ${table.columns}` : table.columns;
        const places = columns.replace(/"[^"]+"|rowid/g, '?');
        const insert = db.prepare(`INSERT OR IGNORE INTO "${table.name}" (${columns}) VALUES (${places})`);
        const target = { insert: (row: Row) => void insert.run(...row) };
        const whole = table.hasRowid ? copyByRowid(damaged, table, target) : copyInOrder(damaged, table, target);
        return { name: table.name, unreadable: !whole };
      });
    })();
    db.transaction(() => carryOnNumbers(damaged, db))();
    const dangling = db.transaction(() => removeDangling(db))();
    for (const sql of rest) db.exec(sql);
    db.pragma(`user_version = ${version}`);
    return read.map(({ name, unreadable }) => ({
      name,
      unreadable,
      read: db.prepare(`SELECT count(*) FROM "${name}"`).pluck().get() as number,
      dangling: dangling.get(name) ?? 0,
    }));
  } finally {
    db.close();
    damaged.close();
  }
};

/** A new folder, never one that is there: what is in that may be the only copy of an earlier damage. HOME_NOT_WRITABLE, DISK_FULL. */
const makeAside = (aside: string): void => {
  try {
    mkdirSync(aside);
  } catch (error) {
    throw diskError(error, aside);
  }
};

/**
 * Copies the damaged file aside and reads what can be read into a new one beside the copy. What it leaves there when it fails is the caller's
 * to remove. DATABASE_CORRUPT, DATABASE_TOO_NEW, DISK_FULL.
 */
const rebuild = (file: string, aside: string): { work: string; tables: RepairReport['tables'] } => {
  const work = join(aside, 'repair.sqlite');
  try {
    for (const part of [file, `${file}-wal`]) if (existsSync(part)) copyFileSync(part, join(aside, basename(part)));
    const tables = copyReadable(join(aside, basename(file)), work);
    const left = checkDatabase(work);
    if (left.length > 0) throw new AppError('DATABASE_CORRUPT', { file, problem: left.join('; ') });
    return { work, tables: tables.filter(({ unreadable, dangling }) => unreadable || dangling > 0) };
  } catch (thrown) {
    // A disk that is full says nothing of the database: with room it may well be repaired.
    const cause = diskFullOr(thrown, file);
    if (cause instanceof AppError) throw cause;
    throw new AppError('DATABASE_CORRUPT', { file, problem: problemOf(cause) }, { cause });
  }
};

/** What a repair would bring back, tried on a copy that is removed again; the home stays as it is. Errors as of `repairDatabase`. */
export const tryRepair = (home: string): RepairReport => {
  const file = databaseFile(home);
  const problems = checkDatabase(file);
  if (problems.length === 0) return { problems, tables: [], kept: null };
  const aside = join(home, `repair-trial-${randomUUID().slice(0, 8)}`);
  makeAside(aside);
  try {
    return { problems, tables: rebuild(file, aside).tables, kept: null };
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
};

/**
 * Repairs the database of a home that nobody has open. `at` names the folder for the damaged file. What cannot be repaired stays as it is, and
 * no folder is left. DATABASE_CORRUPT: not even its head can be read, only a backup helps. DATABASE_TOO_NEW, DISK_FULL, HOME_NOT_WRITABLE.
 */
export const repairDatabase = async (home: string, at: Date, by?: string): Promise<RepairReport> => {
  const file = databaseFile(home);
  const problems = checkDatabase(file);
  if (problems.length === 0) return { problems, tables: [], kept: null };
  const kept = join(home, `damaged-${at.toISOString().replace(/[:.]/g, '-')}`);
  makeAside(kept);
  let work: string;
  let report: RepairReport;
  try {
    const rebuilt = rebuild(file, kept);
    work = rebuilt.work;
    report = { problems, tables: rebuilt.tables, kept, ...(by !== undefined && { by }) };
    await writeDurably(repairedFile(home), JSON.stringify(report));
  } catch (error) {
    // Until here the damaged file and its log are where they were; each try would leave one more copy of them.
    rmSync(kept, { recursive: true, force: true });
    throw error;
  }
  // The log belongs to the damaged file: on the repaired one it would be replayed.
  for (const end of ['-wal', '-shm']) rmSync(`${file}${end}`, { force: true });
  renameSync(work, file);
  for (const end of ['-wal', '-shm', '-journal']) rmSync(`${work}${end}`, { force: true });
  await nodeFiles.syncDirectory(home);
  return report;
};
