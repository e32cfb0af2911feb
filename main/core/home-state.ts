import { statfs } from 'node:fs/promises';
import type { z } from 'zod';
import { AppError } from '../contract/errors.ts';
import type { homeStateSchema } from '../contract/methods.ts';
import { SET_BACK_MS } from '../store/audit-entries.ts';
import type { BackupService } from './backup.ts';
import type { CoreContext, HandlersOf } from './context.ts';
import { isKeyInFile } from './home-keys.ts';
import type { JobService } from './jobs.ts';
import type { Lines } from './lines.ts';

/*
 * What threatens the data folder as a whole: a disk that fills, a clock that was set back. A disk with little room stops learning first and the archive of pictures next. Verdicts, their line
 * output and their records are never given up by this; a disk that is full in spite of it is told by whoever writes (DISK_FULL), and the line goes on.
 */

export type HomeState = z.output<typeof homeStateSchema>;
type Space = HomeState['space'];

export interface FreeSpace {
  /** For this account, bytes. */
  freeBytes: number;
  totalBytes: number;
}
export const freeSpaceOf = async (home: string): Promise<FreeSpace> => {
  const { bavail, blocks, bsize } = await statfs(home);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
};

const MB = 1024 * 1024;
/** Below it the level is entered: so many bytes, or on a small disk this share of it. */
const LEVELS: readonly { space: Space; bytes: number; share: number }[] = [
  { space: 'very-low', bytes: 512 * MB, share: 0.03 },
  // A compression writes a few hundred megabytes, an import what it is given.
  { space: 'low', bytes: 2048 * MB, share: 0.1 },
];
/** A level is left when there is so much more than its limit: no flicker while something small is written and removed. */
const LEAVE_AT = 1.2;

export const spaceOf = ({ freeBytes, totalBytes }: FreeSpace, before: Space): Space => {
  const order: Space[] = ['very-low', 'low', 'enough'];
  for (const { space, bytes, share } of LEVELS) {
    const inIt = order.indexOf(before) <= order.indexOf(space);
    if (freeBytes < Math.min(bytes, share * totalBytes) * (inIt ? LEAVE_AT : 1)) return space;
  }
  return 'enough';
};

const LOOK_EVERY_MS = 5_000;
/** The newest time that was seen is stored so often: a clock that is set back while the program is off is noticed then. */
const NOTE_EVERY_MS = 10 * 60_000;
const NEWEST = 'clock.newest';

export interface HomeStateService {
  handlers: HandlersOf<'home.state'>;
  /** Looks once, then every few seconds. */
  start(): Promise<void>;
  close(): void;
}

interface Parts {
  jobs: Pick<JobService, 'hold'>;
  lines: Pick<Lines, 'refusePictures'>;
  backups: Pick<BackupService, 'last'>;
  /** The keychain was asked to keep the home's key. */
  keychainAsked?: boolean | undefined;
  freeSpace?: ((home: string) => Promise<FreeSpace>) | undefined;
}

export const createHomeState = (
  context: CoreContext,
  { jobs, lines, backups, keychainAsked = false, freeSpace = freeSpaceOf }: Parts,
): HomeStateService => {
  const { store, log, now } = context;
  let space: Space = 'enough';
  let free: FreeSpace = { freeBytes: 0, totalBytes: 0 };
  const stored = Date.parse(String(store.settings.get(NEWEST)));
  let newest = Math.max(Number.isNaN(stored) ? 0 : stored, Date.parse(store.audit.newestAt() ?? '') || 0);
  let notedAt = newest;
  let told = '';

  const behindSeconds = (): number => {
    const behind = newest - now().getTime();
    return behind > SET_BACK_MS ? Math.ceil(behind / 1000) : 0;
  };
  const state = (): HomeState => ({
    ...free,
    space,
    clockBehindSeconds: behindSeconds(),
    lastBackup: backups.last(),
    keyInFile: keychainAsked && isKeyInFile(store.home),
  });
  const lowError = (what: string): AppError =>
    new AppError('DISK_LOW', { path: store.home, free: Math.floor(free.freeBytes / MB), what });

  const lookAtClock = (): void => {
    const time = now().getTime();
    if (time <= newest) return;
    newest = time;
    if (time - notedAt < NOTE_EVERY_MS) return;
    notedAt = time;
    store.settings.set(NEWEST, new Date(time).toISOString());
  };
  const lookAtDisk = async (): Promise<void> => {
    free = await freeSpace(store.home);
    const next = spaceOf(free, space);
    if (next === 'enough') await store.keepReserve();
    if (next === space) return;
    log.warn('room on the disk', { space: next, before: space, freeBytes: free.freeBytes });
    space = next;
    jobs.hold(space === 'enough' ? null : lowError('nothing is learnt until there is more'));
    lines.refusePictures(space === 'very-low' ? lowError('no picture is stored until there is more') : null);
  };
  const look = async (): Promise<void> => {
    try {
      lookAtClock();
      await lookAtDisk();
      const { space: shown, clockBehindSeconds, lastBackup } = state();
      const facts = JSON.stringify([shown, clockBehindSeconds > 0, lastBackup]);
      if (facts !== told) context.emit('home.changed', state());
      told = facts;
    } catch (error) {
      // A disk that does not answer is told by whoever writes to it.
      log.warn('state of the data folder not found', { error });
    }
  };
  let looking: Promise<void> = Promise.resolve();
  const lookNext = (): Promise<void> => (looking = looking.then(look));
  const timer = setInterval(() => void lookNext(), LOOK_EVERY_MS);
  timer.unref();

  return {
    handlers: {
      async 'home.state'() {
        await lookNext();
        return state();
      },
    },
    start: lookNext,
    close() {
      clearInterval(timer);
      try {
        if (newest > 0) store.settings.set(NEWEST, new Date(newest).toISOString());
      } catch (error) {
        log.warn('newest time not noted', { error });
      }
    },
  };
};
