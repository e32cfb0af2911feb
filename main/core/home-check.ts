import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { AppError, isAppError } from '../contract/errors.ts';
import { checkDatabase, countPictures, picturesOf } from '../store/check.ts';
import { databaseFile, readLock, restoreIsUnfinished } from '../store/home.ts';
import { imageFile } from '../store/images.ts';
import { openStore } from '../store/open.ts';
import { repairDatabase, type RepairReport } from '../store/repair.ts';

export interface HomeCheck {
  whole: boolean;
  /** Of the database as it was found. */
  problems: string[];
  /** null: nothing was repaired. */
  repair: RepairReport | null;
  /** `damaged`: names of the first TOLD of them. null: none was read, for a damaged database would have named them. */
  pictures: { whole: number; missing: number; damaged: string[]; damagedInAll: number } | null;
}

export interface HomeCheckOptions {
  home: string;
  repair: boolean;
  signal?: AbortSignal;
  progress?(done: number, of: number): void;
}

/** Names of damaged pictures that are told. */
const TOLD = 100;

/**
 * Reads a home that nobody has open: the whole database, and every picture that it knows. NOT_FOUND: there is none. RESTORE_UNFINISHED, HOME_IN_USE; with `repair`
 * what `repairDatabase` throws.
 */
export const checkHome = async ({ home, repair, signal, progress }: HomeCheckOptions): Promise<HomeCheck> => {
  const file = databaseFile(home);
  // Its database may be whole by now, and most of its pictures missing.
  if (restoreIsUnfinished(home)) throw new AppError('RESTORE_UNFINISHED', { home });
  if (!existsSync(file)) throw new AppError('NOT_FOUND', { kind: 'data folder', id: home });
  await refuseInUse(home);
  const problems = checkDatabase(file);
  const mended = problems.length > 0 && repair ? await repairDatabase(home, new Date()) : null;
  if (problems.length > 0 && mended === null) return { whole: false, problems, repair: null, pictures: null };
  const pictures = { whole: 0, missing: 0, damaged: [] as string[], damagedInAll: 0 };
  const all = countPictures(file);
  let done = 0;
  for await (const { sha, files } of picturesOf(file, home)) {
    signal?.throwIfAborted();
    progress?.(done, all);
    done += 1;
    const found = files.has('png') ? await shaOf(imageFile(home, sha)) : null;
    if (found === sha) pictures.whole += 1;
    else if (found === null) pictures.missing += 1;
    else {
      pictures.damagedInAll += 1;
      if (pictures.damaged.length < TOLD) pictures.damaged.push(sha);
    }
  }
  return { whole: pictures.damagedInAll === 0, problems, repair: mended, pictures };
};

/** The lock is the operating system's, and taking it is how to ask for it; a damaged database is told by what comes after. */
export const refuseInUse = async (home: string): Promise<void> => {
  if (readLock(home) === null) return;
  try {
    (await openStore({ home, demo: false })).close();
  } catch (error) {
    if (isAppError(error, 'HOME_IN_USE')) throw error;
  }
};

/** null: it is not there. 'unreadable': nothing can be read of it, as of a disk that begins to fail. */
const shaOf = async (file: string): Promise<string | null> => {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(file), hash);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? null : 'unreadable';
  }
  return hash.digest('hex');
};
