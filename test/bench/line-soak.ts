import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { cli } from '../helpers/cli.ts';
import { record } from './record.ts';

/*
 * `soak` as a user runs it: a line process from the bundles, 20 parts/s, the trainer at work beside it, memory watched.
 *   node main/host/build/launch.mjs test/bench/line-soak.ts [minutes]
 * Asked: every trigger answered, none late (deadline 150 ms), memory flat, at most 350 MB.
 */

const minutes = process.argv[2] ?? '10';
const home = await mkdtemp(join(tmpdir(), 'mekiki-soak-'));
const load = () => loadavg()[0]! / cpus().length;
/** Runnable threads per core over the last minute; the run itself adds to that. */
const loadBefore = load();
const args = ['--minutes', minutes, '--rate', '20', '--trainer', 'busy', '--threads', '1'];
const run = await cli(['soak', '--demo', '--home', home, '--json', ...args]);
await rm(home, { recursive: true, force: true });
const result = run.json() as { unanswered?: number; late?: number; rssBytes?: number; error?: unknown };
if (result.error) throw new Error(JSON.stringify(result.error));
record('line-soak', `node main/host/build/launch.mjs test/bench/line-soak.ts ${minutes}`, {
  exitCode: run.code,
  ...result,
  asked: { unanswered: 0, late: 0, rssBytes: 350e6 },
  held: result.unanswered === 0 && result.late === 0 && (result.rssBytes ?? Infinity) <= 350e6,
  loadPerCore: { before: loadBefore, after: load() },
});
