import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { AppError, problemOf } from '../contract/errors.ts';
import { diskError, homeError, nodeFiles, syncFolder, writeDurably, type FilePort } from './files.ts';

/** mekiki.json: what kind of home this is. */
const homeMarkSchema = z.object({
  format: z.number().int(),
  /** Made by --demo, for ever: nothing of it is trusted by a real home. */
  demo: z.boolean(),
  createdAt: z.iso.datetime(),
});
export type HomeMark = z.infer<typeof homeMarkSchema>;

const FORMAT = 1;
const folders = [
  'secrets',
  'trust',
  'images',
  'features',
  'knowledge',
  'bundles',
  'spool',
  'logs',
  'backbones',
  // What jobs keep so that they can be taken up again: a folder per job.
  'work',
  // What layers take on this PC, as the cost model measured it.
  'costs',
];
/** What a host may have put into the folder before the core ever ran in it. */
const harmless = new Set(['logs', 'lock', 'spool', '.DS_Store', 'lost+found']);

export const databaseFile = (home: string): string => join(home, 'mekiki.sqlite');
/** Bytes of its path, but for Windows: SQLite takes 512 for that of the database with the ending of its journal, and is "unable to open" a longer one. */
const LONGEST_HOME = 490;
/** What a first start leaves that was killed before it wrote the mark. What is in its database, whoever opens that sees. */
const isBeginning = (home: string, name: string): boolean =>
  harmless.has(name) ||
  /^(mekiki\.sqlite(-wal|-shm|-journal)?|mekiki\.json\..*\.tmp|\.probe-\d+)$/.test(name) ||
  (folders.includes(name) && readdirSync(join(home, name)).length === 0);

/** False: it is there already. */
const madeFolder = (path: string): boolean => {
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST' && statSync(path).isDirectory()) return false;
    throw error;
  }
};

/**
 * mkdir -p. Node's own recursive form never returns where the system answers ENOENT below a folder that exists (as /proc does, and
 * some network drives), so the steps are taken here.
 */
const makeFolder = (path: string): void => {
  const parent = dirname(path);
  try {
    if (!madeFolder(path)) return;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' || parent === path || existsSync(parent)) throw error;
    makeFolder(parent);
    mkdirSync(path);
  }
  syncFolder(parent);
};

/** Makes the folder and its rooms. HOME_NOT_WRITABLE, DISK_FULL. `isNew`: nothing was in it but what a start begins with. */
export const prepareHome = (home: string): { isNew: boolean } => {
  try {
    if (process.platform !== 'win32' && Buffer.byteLength(home) > LONGEST_HOME)
      throw new AppError('HOME_NOT_WRITABLE', { home, problem: `its path has more than ${LONGEST_HOME} bytes` });
    makeFolder(home);
    const isNew = readdirSync(home).every((name) => isBeginning(home, name));
    // A dozen names in one folder: the disk is waited for once.
    const made = folders.map((folder) => madeFolder(join(home, folder)));
    if (made.includes(true)) syncFolder(home);
    chmodSync(join(home, 'secrets'), 0o700);
    // A mounted read-only or full disk lets folders be there and refuses this.
    const probe = join(home, `.probe-${process.pid}`);
    writeFileSync(probe, 'x');
    unlinkSync(probe);
    return { isNew };
  } catch (error) {
    throw homeError(error, home);
  }
};

/** Lies in a folder from the beginning of a restore to its end: what is there meanwhile is not a home. */
export const restoreMark = (home: string): string => join(home, 'restoring');
export const restoreIsUnfinished = (home: string): boolean => existsSync(restoreMark(home));

const namesIn = (home: string): string[] => {
  try {
    return readdirSync(home);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw diskError(error, home);
  }
};

/** Nothing is there, or nothing but what a host may have put there: a core would make a new home of it. HOME_NOT_WRITABLE. */
export const isFree = (home: string): boolean => namesIn(home).every((name) => harmless.has(name));

/** What a restore makes, as far as it came. */
const isOfRestore = (name: string): boolean =>
  harmless.has(name) ||
  folders.includes(name) ||
  /^(restoring|restored\.json|mekiki\.(json|sqlite))(-wal|-shm|-journal|\..*\.tmp)?$|^\.probe-\d+$/.test(name);

/**
 * Marks an empty folder as one that is restored; one that an earlier restore left half done, and nobody has put anything into since, is marked
 * already. HOME_NOT_EMPTY, HOME_NOT_WRITABLE, DISK_FULL.
 */
export const markRestore = async (home: string): Promise<void> => {
  const isLeft = restoreIsUnfinished(home) && namesIn(home).every(isOfRestore);
  if (!isFree(home) && !isLeft) throw new AppError('HOME_NOT_EMPTY', { home });
  prepareHome(home);
  // Whoever restores into it just now holds the lock of the file that lies there.
  if (!isLeft) await writeDurably(restoreMark(home), '');
};
/** Takes away what an earlier restore left; its rooms are empty then. HOME_NOT_WRITABLE. */
export const emptyForRestore = (home: string): void => {
  for (const name of readdirSync(home)) {
    if (name !== 'restoring' && !harmless.has(name)) rmSync(join(home, name), { recursive: true, force: true });
  }
  // Records that a line keeps there stay; of its pictures the backup brings lists of its own.
  const spool = join(home, 'spool');
  for (const name of readdirSync(spool)) if (name.endsWith('.ok-images')) rmSync(join(spool, name), { force: true });
  prepareHome(home);
};
/** After everything is on the disk for good. */
export const endRestore = async (home: string, files: FilePort = nodeFiles): Promise<void> => {
  await files.remove(restoreMark(home));
  await files.syncDirectory(home);
};

/** null: the home has no mark yet. DATABASE_CORRUPT, DATABASE_TOO_NEW, HOME_NOT_WRITABLE. */
export const readHomeMark = (home: string): HomeMark | null => {
  const file = join(home, 'mekiki.json');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw diskError(error, home);
  }
  let mark: HomeMark;
  try {
    mark = homeMarkSchema.parse(JSON.parse(text));
  } catch (cause) {
    // Guessing "real" or "demo" here would be guessing which approvals count.
    throw new AppError('DATABASE_CORRUPT', { file, problem: problemOf(cause) }, { cause });
  }
  if (mark.format > FORMAT) throw new AppError('DATABASE_TOO_NEW', { found: mark.format, known: FORMAT });
  return mark;
};

export const writeHomeMark = (home: string, mark: Omit<HomeMark, 'format'>): Promise<void> =>
  writeDurably(join(home, 'mekiki.json'), `${JSON.stringify({ format: FORMAT, ...mark }, null, 2)}\n`);

// ---------------------------------------------------------------- room for the worst day
/*
 * A file of zeros that is given up when the disk is full: the program can start, and records go on being stored for a while, whoever
 * it was that filled the disk.
 */
const RESERVE_BYTES = 32 * 1024 * 1024;
const reserveFile = (home: string): string => join(home, 'reserve');

/** false: there was none. */
export const giveUpReserve = (home: string): boolean => {
  try {
    unlinkSync(reserveFile(home));
    return true;
  } catch {
    return false;
  }
};

/** Makes it where it is missing. */
export const keepReserve = async (home: string): Promise<void> => {
  if (existsSync(reserveFile(home))) return;
  await writeDurably(reserveFile(home), Buffer.alloc(RESERVE_BYTES));
};

// ---------------------------------------------------------------- the lock file
/*
 * The lock itself is the operating system's, on the database (exclusive locking mode): it ends with the process, however that
 * ends, and no process number that was given out again can fake it. The file `lock` only tells who, and whether the last run
 * ended in order.
 */
const lockSchema = z.object({ pid: z.number().int(), since: z.string() });

export const readLock = (home: string): { pid: number } | null => {
  try {
    return lockSchema.parse(JSON.parse(readFileSync(join(home, 'lock'), 'utf8')));
  } catch {
    // Missing, or half written by a run that was killed: it locks nothing.
    return null;
  }
};

export const writeLock = (home: string, at: Date): void =>
  writeFileSync(join(home, 'lock'), `${JSON.stringify({ pid: process.pid, since: at.toISOString() })}\n`);

export const removeLock = (home: string): void => {
  try {
    unlinkSync(join(home, 'lock'));
  } catch {
    // Somebody tidied up: all that is lost is the knowledge that this run ended in order.
  }
};
