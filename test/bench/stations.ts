import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { modelCardSchema } from '../../main/contract/domain.ts';
import { driveLines, type LineResult } from '../../main/host/line-bench/drive-line.ts';
import { cli } from '../helpers/cli.ts';
import { createLineHome } from '../process/line-home.ts';
import { record } from './record.ts';

/*
 * Two stations on one PC, each a line process with its own budget of threads (main/host/line-bench), with and without the trainer at work,
 * and one station alone to compare with. The model is that of the demo, with the shipped backbone.
 *   node main/host/build/launch.mjs test/bench/stations.ts [seconds of each run] [parts per second and station]
 * Asked: each trigger answered, none late (deadline 150 ms), and the latency kept while the trainer runs.
 */

const seconds = Number(process.argv[2] ?? '60');
const rate = Number(process.argv[3] ?? '10');
const THREADS = 1;
const DEADLINE_MS = 150;
const load = () => loadavg()[0]! / cpus().length;

async function demoModel() {
  const home = await mkdtemp(join(tmpdir(), 'mekiki-stations-'));
  try {
    const made = await cli(['inspect', home, '--demo', '--home', home, '--json']);
    const [bundle] = await readdir(join(home, 'bundles')).catch(() => []);
    if (bundle === undefined) throw new Error(`no demo model: ${JSON.stringify(made.json())}`);
    const card = modelCardSchema.parse(JSON.parse(await readFile(join(home, 'bundles', bundle, 'model.json'), 'utf8')));
    return { card, bytes: new Uint8Array(await readFile(join(home, 'bundles', bundle, 'model.onnx'))) };
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

const { card, bytes } = await demoModel();
const before = load();
async function run(count: number, trainer: 'idle' | 'busy') {
  using at = await createLineHome({ demo: true });
  const stations = [];
  for (const stationId of ['st-1', 'st-2'].slice(0, count)) {
    const bundleDir = await at.bundle(`m-${stationId}`, { stationId, model: { bytes, card: { ...card, stationId } } });
    stations.push({ stationId, bundleDir, threads: THREADS });
  }
  const result = await driveLines(
    {
      home: at.home,
      rate,
      seconds,
      trainer,
      trainerThreads: Math.max(1, availableParallelism() - count * THREADS),
      deadlineMs: DEADLINE_MS,
      size: 512,
      signal: new AbortController().signal,
    },
    stations,
  );
  process.stderr.write(`${count} stations, trainer ${trainer}: ${result.lines.map(brief).join('; ')}\n`);
  return { stations: count, ...result };
}
const brief = (line: LineResult) =>
  `p50 ${line.latencyMsP50.toFixed(1)}, p99 ${line.latencyMsP99.toFixed(1)} ms, ${line.late} late of ${line.parts}`;

const alone = await run(1, 'idle');
const idle = await run(2, 'idle');
const busy = await run(2, 'busy');
const worst = (lines: readonly LineResult[], key: 'latencyMsP50' | 'latencyMsP99') =>
  Math.max(...lines.map((line) => line[key]));
const ratio = (key: 'latencyMsP50' | 'latencyMsP99') => worst(busy.lines, key) / worst(idle.lines, key);
const all = [...alone.lines, ...idle.lines, ...busy.lines];
record('stations', `node main/host/build/launch.mjs test/bench/stations.ts ${seconds} ${rate}`, {
  ratePerStation: rate,
  secondsEach: seconds,
  threadsPerStation: THREADS,
  deadlineMs: DEADLINE_MS,
  runs: { alone, idle, busy },
  /** The slower station with the trainer at work over the slower one without. */
  trainerSlowsBy: { p50: ratio('latencyMsP50'), p99: ratio('latencyMsP99') },
  asked: { unanswered: 0, late: 0 },
  held: all.every((line) => line.unanswered === 0 && line.late === 0),
  loadPerCore: { before, after: load() },
});
