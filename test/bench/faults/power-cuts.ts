import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomOf, type Done } from './acts.ts';
import { checkHome } from './check-home.ts';
import { createTracedDisk, parseTrace } from './traced-disk.ts';

/*
 * Power cuts by replay: a core works under strace; from what it wrote, flushed and renamed, disks are made as a power cut at any moment could have left them, and each is looked at as a home.
 */

const child = fileURLToPath(new URL('./power-child.ts', import.meta.url));
const CALLS =
  'openat,write,writev,pwrite64,pwritev,ftruncate,truncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat';

/** What of the changes that are not on the disk for good survives: all (as kill -9), none, names without data, data without names, or each by chance. */
const fates = {
  all: () => () => true,
  none: () => () => false,
  namesOnly: () => (what: 'name' | 'data') => what === 'name',
  dataOnly: () => (what: 'name' | 'data') => what === 'data',
  chance: (random: () => number) => () => random() < 0.5,
} as const;

export interface PowerCuts {
  calls: number;
  acts: number;
  states: number;
  byFate: Record<string, number>;
  /** Changes open at the moment of the cut, on average. */
  openChanges: number;
  wrong: string[];
}

export const powerCuts = async (runs: number, steps: number, states: number, seed: number): Promise<PowerCuts> => {
  const random = randomOf(seed);
  const result: PowerCuts = { calls: 0, acts: 0, states: 0, byFate: {}, openChanges: 0, wrong: [] };
  for (let run = 0; run < runs; run += 1) {
    const work = mkdtempSync(join(tmpdir(), 'mekiki-power-'));
    const base = join(work, 'base');
    // Whoever keeps backups has a folder for them.
    for (const name of ['backups', 'pictures']) mkdirSync(join(base, name), { recursive: true });
    const trace = join(work, 'trace');
    const traced = spawnSync(
      'strace',
      [
        '-f',
        '-y',
        '-xx',
        '-s',
        '16777216',
        '-e',
        `trace=${CALLS}`,
        '-o',
        trace,
        process.execPath,
        child,
        base,
        String(seed + run),
        String(steps),
      ],
      { encoding: 'utf8', maxBuffer: 1e8 },
    );
    if (traced.status !== 0) throw new Error(`the traced core failed: ${traced.stderr.slice(-2_000)}`);
    const calls = parseTrace(readFileSync(trace, 'utf8'));
    result.calls += calls.length;
    const perCall = states / runs / calls.length;
    const disk = createTracedDisk(base, ['backups', 'pictures']);
    const done: Done[] = [];
    let text = '';
    let due = 0;
    for (const call of calls) {
      text += disk.take(call) ?? '';
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) done.push(JSON.parse(line) as Done);
      due += perCall;
      for (; due >= random(); due -= 1) {
        const names = Object.keys(fates) as (keyof typeof fates)[];
        const fate = names[Math.floor(random() * names.length)]!;
        const left = join(work, 'left');
        disk.writeTo(left, fates[fate](random), random);
        result.states += 1;
        result.byFate[fate] = (result.byFate[fate] ?? 0) + 1;
        result.openChanges += disk.pending();
        const last = done.at(-1);
        const moment = `run ${run}, ${fate}, at ${last === undefined ? 'start' : last.act === 'begun' ? last.what : `after ${last.act}`}`;
        // Backups are named by the path at which they were made.
        const moved = done.map((each) =>
          each.act === 'backup' ? { ...each, file: each.file.replace(base, left) } : each,
        );
        for (const problem of await checkHome(left, moved).catch((error: unknown) => [String(error)]))
          result.wrong.push(`${moment}: ${problem}`);
        rmSync(left, { recursive: true, force: true });
      }
    }
    result.acts += done.filter(({ act }) => act === 'begun').length;
    rmSync(work, { recursive: true, force: true });
  }
  result.openChanges /= Math.max(1, result.states);
  return result;
};
