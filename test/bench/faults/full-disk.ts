import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAppError, problemOf } from '../../../main/contract/errors.ts';
import { randomOf, startWorker, type Done, type Worker } from './acts.ts';
import { checkHome } from './check-home.ts';

/*
 * A disk that is full at every step of the loop: a home on a small tmpfs, filled before each act to a few kilobytes. The core's own guard for low space is told that there is enough, so that what
 * is tried is the write that fails. Needs the right to mount.
 */

const SIZE_MB = 96;
/** Room left for an act, bytes; from none to about what the largest writes. */
const ROOM = [0, 4_096, 16_384, 65_536, 262_144];

export interface FullDisk {
  rounds: number;
  /** Acts, and starts, that the disk had no room for; each was told by DISK_FULL. */
  refused: number;
  /** How they ended on a full disk: done, DISK_FULL, or the code by which the state refused them with or without a full disk. */
  outcomes: Record<string, Record<string, number>>;
  wrong: string[];
}

export const fullDisk = async (rounds: number, seed: number): Promise<FullDisk> => {
  const random = randomOf(seed);
  const result: FullDisk = { rounds: 0, refused: 0, outcomes: {}, wrong: [] };
  const base = mkdtempSync(join(tmpdir(), 'mekiki-full-'));
  const home = join(base, 'home');
  mkdirSync(home);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE_MB}m`, 'tmpfs', home]);
  let worker: Worker | null = null;
  try {
    const done: Done[] = [];
    // A name that may lie in a new folder.
    const filler = join(home, 'lost+found');
    const fill = (room: number) => {
      const { bavail, bsize } = statfsSync(home);
      appendFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - room)));
    };
    const enough = async () => ({ freeBytes: 1e12, totalBytes: 2e12 });
    const open = (round: number) =>
      startWorker(base, seed * 1000 + round, (each) => done.push(each), { freeSpace: enough });
    const note = (what: string, outcome: string) => {
      const row = (result.outcomes[what] ??= {});
      row[outcome] = (row[outcome] ?? 0) + 1;
      if (outcome === 'DISK_FULL') result.refused += 1;
    };
    const unexpected = (error: unknown): string => {
      const outcome = isAppError(error) ? error.code : String(error);
      // A full disk is told as that, whoever wrote; on anything else the reader would look for something else.
      if (outcome !== 'DISK_FULL') result.wrong.push(`round ${result.rounds}: ${outcome}: ${problemOf(error)}`);
      return outcome;
    };
    for (let round = 0; round < rounds; round += 1) {
      process.stderr.write(`full disk: ${round} of ${rounds}\n`);
      worker = await open(round);
      for (let n = 0; n < 3; n += 1) await worker.step();
      const room = ROOM[Math.floor(random() * ROOM.length)]!;
      for (let n = 0; n < 3; n += 1) {
        // Anew each time: what the core holds in reserve for the first time is not there for the second.
        fill(room);
        const at = done.length;
        const outcome = await worker.step().then(({ refused }) => refused ?? 'done', unexpected);
        const begun = done[at];
        note(begun?.act === 'begun' ? begun.what : '?', outcome);
      }
      rmSync(filler);
      await worker.world.core.close();
      worker = null;
      for (const problem of await checkHome(base, done)) result.wrong.push(`round ${round}: ${problem}`);
      // Also the start itself.
      fill(0);
      const started = await open(round).then(async (again) => {
        await again.world.core.close();
        return 'done';
      }, unexpected);
      note('start', started);
      rmSync(filler);
      result.rounds += 1;
      if (result.wrong.length > 20) break;
    }
  } finally {
    await worker?.world.core.close().catch(() => {});
    execFileSync('umount', ['-l', home]);
    rmSync(base, { recursive: true, force: true });
  }
  return result;
};
