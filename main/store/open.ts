import { closeSync, existsSync, openSync, statSync } from 'node:fs';
import Sqlite, { type Database } from 'better-sqlite3';
import { AppError, assert, isAppError, problemOf } from '../contract/errors.ts';
import { createAlarms, type Alarms } from './alarms.ts';
import { createAuditEntries, type AuditEntries } from './audit-entries.ts';
import { createCandidates, type Candidates } from './candidates.ts';
import { createClasses, type Classes } from './classes.ts';
import { createFeatures, type Features } from './features.ts';
import { diskError, keepFromOthers, nodeFiles, type FilePort } from './files.ts';
import {
  databaseFile,
  giveUpReserve,
  keepReserve,
  prepareHome,
  readHomeMark,
  readLock,
  removeLock,
  restoreIsUnfinished,
  writeHomeMark,
  writeLock,
} from './home.ts';
import { createGolden, type Golden } from './golden.ts';
import { createImageFiles, type ImageFiles } from './images.ts';
import { createJobs, type Jobs } from './jobs.ts';
import { createKnowledge, type KnowledgeRows } from './knowledge.ts';
import { createLabels, type Labels } from './labels.ts';
import { migrate, schemaVersion } from './migrate.ts';
import { migrations } from './migrations/all.ts';
import { createParts, type Parts } from './parts.ts';
import { createQueue, type Queue } from './queue.ts';
import { createReports, type Reports } from './reports.ts';
import { createRetentionRows, type RetentionRows } from './retention.ts';
import { createSecondLabels, type SecondLabels } from './second-labels.ts';
import { createSettings, type Settings } from './settings.ts';
import { createSignInAttempts, type SignInAttempts } from './sign-in-attempts.ts';
import { createStudies, type Studies } from './studies.ts';
import { createStations, type Stations } from './stations.ts';
import { createUsers, type Users } from './users.ts';

export interface Store {
  home: string;
  /** From mekiki.json. */
  demo: boolean;
  /** True when this run made the home. */
  isNew: boolean;
  settings: Settings;
  users: Users;
  signInAttempts: SignInAttempts;
  stations: Stations;
  classes: Classes;
  parts: Parts;
  queue: Queue;
  alarms: Alarms;
  labels: Labels;
  secondLabels: SecondLabels;
  features: Features;
  knowledge: KnowledgeRows;
  golden: Golden;
  candidates: Candidates;
  audit: AuditEntries;
  reports: Reports;
  retention: RetentionRows;
  jobs: Jobs;
  studies: Studies;
  images: ImageFiles;
  /** All or nothing, durable when it returns; nested calls join the outer one. DISK_FULL when the disk has no room for it. */
  transaction<T>(work: () => T): T;
  /** Copies the database as it is at one moment into a new file, a few pages at a time: everybody goes on meanwhile. DISK_FULL. */
  snapshot(file: string, options: { signal?: AbortSignal; progress?(share: number): void }): Promise<void>;
  /** Marks an untouched home as a demo, for ever. */
  becomeDemo(): Promise<void>;
  /** Puts back the room that was given up while the disk was full. DISK_FULL. */
  keepReserve(): Promise<void>;
  /** Safe to call twice. */
  close(): void;
}

export interface OpenStoreOptions {
  home: string;
  /** Mark for a home that is new. An existing one keeps its own. */
  demo: boolean;
  now?: () => Date;
  files?: FilePort;
}

/** Above this size a database that was closed in order is not read through at start: it would take longer than the start may. */
const QUICK_CHECK_BYTES = 256 * 1024 * 1024;

/** Copied without a pause: about 4 MB, some milliseconds. */
const SNAPSHOT_PAGES = 1_000;

const isSqlite = (error: unknown): error is Error & { code: string } =>
  error instanceof Error && typeof (error as { code?: unknown }).code === 'string' && 'code' in error;

const inUse = (home: string, cause: unknown): AppError =>
  new AppError('HOME_IN_USE', { home, pid: readLock(home)?.pid ?? 0 }, { cause });

/** A failure to open as an expected one. */
const openError = (error: unknown, home: string): unknown => {
  if (error instanceof AppError || !isSqlite(error)) return error;
  if (error.code.startsWith('SQLITE_BUSY') || error.code.startsWith('SQLITE_LOCKED')) return inUse(home, error);
  if (error.code === 'SQLITE_NOTADB' || error.code.startsWith('SQLITE_CORRUPT')) {
    return new AppError('DATABASE_CORRUPT', { file: databaseFile(home), problem: problemOf(error) }, { cause: error });
  }
  return diskError(error, home);
};

/** Users, stations and parts. */
const usedBy = (db: Database): number =>
  db
    .prepare(`SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM stations) + (SELECT count(*) FROM parts)`)
    .pluck()
    .get() as number;

/**
 * Looks, and changes nothing: no write lock, no journal mode, no checkpoint. Gives whether nobody has used it yet.
 * HOME_IN_USE, DATABASE_CORRUPT, DATABASE_TOO_NEW.
 */
const examine = (home: string): { unused: boolean } => {
  const file = databaseFile(home);
  // A kill between creating the file and its first page: SQLite treats it as new.
  if (!existsSync(file) || statSync(file).size === 0) return { unused: true };
  const cleanlyClosed = readLock(home) === null;
  const db = new Sqlite(file, { readonly: true, timeout: 0 });
  try {
    const found = schemaVersion(db);
    const known = migrations.at(-1)!.version;
    if (found > known) throw new AppError('DATABASE_TOO_NEW', { found, known });
    if (cleanlyClosed && statSync(file).size > QUICK_CHECK_BYTES) return { unused: false };
    const problems = db.pragma('quick_check(3)') as { quick_check: string }[];
    if (problems[0]?.quick_check !== 'ok') {
      throw new AppError('DATABASE_CORRUPT', { file, problem: problems.map((row) => row.quick_check).join('; ') });
    }
    if (found === 0) {
      const tables = db.prepare(`SELECT count(*) AS n FROM sqlite_master`).get() as { n: number };
      if (tables.n > 0)
        throw new AppError('DATABASE_CORRUPT', { file, problem: 'it is a database of another program' });
    }
    // A new database gets all steps of the schema or none.
    return { unused: found === 0 || (found === known && usedBy(db) === 0) };
  } finally {
    db.close();
  }
};

/** Opens for writing and takes the lock of the operating system, which lasts until close or the end of the process. */
const openForWriting = (home: string, now: Date): Database => {
  // People's locked keys and hashes of short codes are in it: on a copy of it passwords could be tried for as long as one likes.
  keepFromOthers(databaseFile(home));
  const db = new Sqlite(databaseFile(home), { timeout: 0 });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    assert(
      db.pragma('journal_mode = WAL', { simple: true }) === 'wal',
      'a database file on a disk can use a write-ahead log',
    );
    db.pragma('synchronous = FULL');
    assert(
      db.pragma('synchronous', { simple: true }) === 2,
      'synchronous=FULL was just set: records must survive a power cut',
    );
    db.pragma('foreign_keys = ON');
    db.pragma('temp_store = MEMORY');
    // The first write takes the exclusive lock; from here on nobody else gets in.
    db.exec('BEGIN EXCLUSIVE; COMMIT;');
    writeLock(home, now);
    migrate(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
};

/**
 * Opens (or makes) the home's database and files.
 * Errors: HOME_NOT_WRITABLE, DISK_FULL, HOME_IN_USE (with the other's pid), DATABASE_CORRUPT (left as it is), DATABASE_TOO_NEW,
 * HOME_NOT_DEMO (demo asked for, and the folder holds something else), RESTORE_UNFINISHED.
 */
export const openStore = async (options: OpenStoreOptions): Promise<Store> => {
  try {
    return await openOnce(options);
  } catch (error) {
    if (!isAppError(error, 'DISK_FULL') || !giveUpReserve(options.home)) throw error;
    return openOnce(options);
  }
};

const openOnce = async (options: OpenStoreOptions): Promise<Store> => {
  const { home, now = () => new Date(), files = nodeFiles } = options;
  if (restoreIsUnfinished(home)) throw new AppError('RESTORE_UNFINISHED', { home });
  const prepared = prepareHome(home);
  let isNew: boolean;
  let db: Database;
  try {
    isNew = examine(home).unused && prepared.isNew;
    const mark = readHomeMark(home);
    if (options.demo && !isNew && mark === null) throw new AppError('HOME_NOT_DEMO', { home });
    db = openForWriting(home, now());
  } catch (error) {
    throw openError(error, home);
  }
  try {
    let mark = readHomeMark(home);
    if (mark === null) {
      mark = { format: 1, demo: options.demo && isNew, createdAt: now().toISOString() };
      await writeHomeMark(home, mark);
    }
    return buildStore(db, { home, isNew, mark, now, files });
  } catch (error) {
    db.close();
    removeLock(home);
    throw openError(error, home);
  }
};

interface BuildOptions {
  home: string;
  isNew: boolean;
  mark: { demo: boolean; createdAt: string };
  now: () => Date;
  files: FilePort;
}

const buildStore = (db: Database, { home, isNew, mark, now, files }: BuildOptions): Store => {
  const store: Store = {
    home,
    demo: mark.demo,
    isNew,
    settings: createSettings(db),
    users: createUsers(db),
    signInAttempts: createSignInAttempts(db),
    alarms: createAlarms(db),
    stations: createStations(db),
    classes: createClasses(db),
    parts: createParts(db),
    queue: createQueue(db),
    labels: createLabels(db),
    secondLabels: createSecondLabels(db),
    features: createFeatures(db),
    knowledge: createKnowledge(db),
    golden: createGolden(db),
    candidates: createCandidates(db),
    audit: createAuditEntries(db, now),
    reports: createReports(db),
    retention: createRetentionRows(db),
    jobs: createJobs(db),
    studies: createStudies(db),
    images: createImageFiles(home, files),
    transaction(work) {
      const run = db.transaction(work);
      try {
        return run.immediate();
      } catch (error) {
        const known = diskError(error, databaseFile(home));
        // All of it was rolled back; an inner one is for the outer one to try again.
        if (!isAppError(known, 'DISK_FULL') || db.inTransaction || !giveUpReserve(home)) throw known;
      }
      try {
        return run.immediate();
      } catch (error) {
        throw diskError(error, databaseFile(home));
      }
    },
    keepReserve: () => keepReserve(home),
    async snapshot(file, { signal, progress }) {
      try {
        closeSync(openSync(file, 'wx', 0o600));
        await db.backup(file, {
          progress({ totalPages, remainingPages }) {
            signal?.throwIfAborted();
            if (totalPages > 0) progress?.(1 - remainingPages / totalPages);
            return SNAPSHOT_PAGES;
          },
        });
      } catch (error) {
        throw diskError(error, file);
      }
    },
    async becomeDemo() {
      if (store.demo) return;
      if (usedBy(db) > 0) throw new AppError('HOME_NOT_DEMO', { home });
      await writeHomeMark(home, { demo: true, createdAt: mark.createdAt });
      store.demo = true;
    },
    close() {
      if (!db.open) return;
      db.close();
      removeLock(home);
    },
  };
  return store;
};
