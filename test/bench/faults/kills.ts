import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { randomOf, type Done } from './acts.ts';
import { checkHome } from './check-home.ts';

/* kill -9 of a core at random moments; after each the folder is checked, and the next run starts on it. */

/** A folder is used for so many kills: long enough to grow old, short enough that checking stays quick. */
const PER_HOME = 25;
/** Share of the kills that come while the core starts; the others come within so many ms of its readiness. */
const WHILE_STARTING = 0.15;
const STARTING_MS = 1_500;
const WORKING_MS = 1_000;

const child = fileURLToPath(new URL('./kill-child.ts', import.meta.url));

/** Runs until it is killed; gives what it answered, and what it was at. */
const runAndKill = (base: string, seed: number, random: () => number): Promise<{ done: Done[]; at: string }> =>
  new Promise((resolve, reject) => {
    const worker = spawn(process.execPath, [child, base, String(seed)], { stdio: ['ignore', 'pipe', 'pipe'] });
    const done: Done[] = [];
    let stderr = '';
    let timer: NodeJS.Timeout | null = null;
    let killed = false;
    const killIn = (ms: number) => {
      timer = setTimeout(() => {
        killed = true;
        worker.kill('SIGKILL');
      }, ms);
    };
    const starting = random() < WHILE_STARTING;
    const delay = random();
    if (starting) killIn(delay * STARTING_MS);
    const lines = createInterface({ input: worker.stdout });
    lines.on('line', (line) => {
      const each = JSON.parse(line) as Done;
      done.push(each);
      if (each.act === 'ready' && timer === null) killIn(delay * WORKING_MS);
    });
    worker.stderr.on('data', (text) => (stderr += String(text)));
    // Not `exit`: what it said before it died comes first.
    worker.on('close', (code) => {
      if (!killed) {
        reject(new Error(`the core ended by itself (${code}): ${stderr.slice(-2_000)}`));
        return;
      }
      const last = done.at(-1);
      resolve({ done, at: last === undefined ? 'start' : last.act === 'begun' ? last.what : 'between' });
    });
  });

export interface Killed {
  kills: number;
  /** What the core was at when it died; `between`: an act had just been answered. */
  during: Record<string, number>;
  answered: Record<string, number>;
  wrong: string[];
}

export const killed = async ({ kills, seed }: { kills: number; seed: number }): Promise<Killed> => {
  const random = randomOf(seed);
  const result: Killed = { kills: 0, during: {}, answered: {}, wrong: [] };
  const { during, answered, wrong } = result;
  let base = '';
  let all: Done[] = [];
  for (let n = 0; n < kills; n += 1) {
    if (n % PER_HOME === 0) {
      if (base !== '') rmSync(base, { recursive: true, force: true });
      base = mkdtempSync(join(tmpdir(), 'mekiki-faults-'));
      all = [];
    }
    const { done, at } = await runAndKill(base, seed * 100_000 + n, random);
    all.push(...done);
    result.kills += 1;
    during[at] = (during[at] ?? 0) + 1;
    for (const { act } of done) if (act !== 'begun' && act !== 'ready') answered[act] = (answered[act] ?? 0) + 1;
    for (const problem of await checkHome(base, all)) wrong.push(`kill ${n} (${at}): ${problem}`);
    if (wrong.length > 0) {
      process.stderr.write(`${wrong.join('\n')}\n${base} is left as it was.\n`);
      return result;
    }
    if (n % 20 === 19) process.stderr.write(`${n + 1} of ${kills}: ${JSON.stringify(during)}\n`);
  }
  rmSync(base, { recursive: true, force: true });
  return result;
};
