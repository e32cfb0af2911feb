import { spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readSync, rmSync, statSync, readdirSync, writeSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openProducts } from '../../main/learning/dense.ts';
import { embed } from '../../main/learning/embedding.ts';
import { extractFeatures, openExtractor } from '../../main/learning/extract.ts';
import { solveStatistics } from '../../main/learning/knowledge.ts';
import { sampleOf } from '../../main/learning/selection.ts';
import { openStatistics, type LedgerMember } from '../../main/learning/statistics-cache.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { writeParts } from '../helpers/parts-on-disk.ts';
import { record } from './record.ts';

/*
 * Cost of an update by what was learnt before: synthetic features of the shipped backbone's shape, then 20 new images. Each case runs in a process of its own, so
 * that its peak memory is its own. The 20 images are extracted from files (rendered parts, PNG) in each case too; `updateSeconds` is from those files to new knowledge.
 * node main/host/build/launch.mjs test/bench/knowledge.ts [--large]
 */
const STAGES = [192, 384, 576, 960];
const WIDTH = 2112;
const NEW = 20;
interface Case {
  classes: number;
  parts: number;
}

/** xorshift: features >= 0 around a centre per class, half of them silent, as after a ReLU. */
function fill(out: Float32Array, classId: number, row: number): void {
  let state = (Math.imul(row + 1, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
  for (let j = 0; j < out.length; j += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const noise = (state >>> 0) / 2 ** 32;
    const centre = (Math.imul(classId * 7919 + j, 0x85ebca6b) >>> 0) / 2 ** 32;
    out[j] = Math.max(0, 0.7 * centre + noise - 0.6);
  }
}

/** Seconds from 20 files to their features, opening the backbone included. */
async function extractNew(dir: string): Promise<number> {
  const files: string[] = [];
  for (const list of (await writeParts(join(dir, 'new'), { perClass: NEW / 2, size: 512 })).values()) {
    files.push(...list);
  }
  const backbone = await ensureShippedBackbone();
  const started = performance.now();
  await using extractor = await openExtractor(backbone, { threads: 2 });
  const { features, failed } = await extractFeatures(
    extractor,
    files.slice(0, NEW).map((file) => ({ file, region: null })),
  );
  if (failed.length > 0 || features.length !== NEW * WIDTH) throw new Error('every new image has its features');
  return (performance.now() - started) / 1000;
}

async function runCase({ classes, parts }: Case) {
  const dir = mkdtempSync(join(tmpdir(), 'mekiki-bench-'));
  try {
    const extractSeconds = await extractNew(dir);
    const file = join(dir, 'features.f32');
    const handle = openSync(file, 'w+');
    const row = new Float32Array(WIDTH);
    const total = parts + NEW;
    for (let i = 0; i < total; i += 1) {
      fill(row, i % classes, i);
      writeSync(handle, new Uint8Array(row.buffer));
    }
    const ledger: LedgerMember[] = Array.from({ length: total }, (_, i) => ({
      classId: `c${i % classes}`,
      sha: (Math.imul(i + 1, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0').repeat(8),
      row: i,
    }));
    const readRows = async (rows: readonly number[]) => {
      const out = new Float32Array(rows.length * WIDTH);
      rows.forEach((at, i) => readSync(handle, new Uint8Array(out.buffer), i * WIDTH * 4, WIDTH * 4, at * WIDTH * 4));
      return out;
    };
    await using products = openProducts({ threads: 2 });
    const cache = { products, dir: join(dir, 'sums'), backboneSha256: 'f'.repeat(64), stages: STAGES, readRows };
    const before = performance.now();
    await (await openStatistics(ledger.slice(0, parts), cache)).save();
    const firstSeconds = (performance.now() - before) / 1000;
    const started = performance.now();
    const { statistics, work, save } = await openStatistics(ledger, cache);
    const sums = performance.now();
    await save();
    const sample = sampleOf(ledger);
    const picked = embed(await readRows(sample.rows), STAGES);
    const choosing = performance.now();
    const input = { statistics, ledger, sample, picked, stages: STAGES, okIds: new Set(['c0']) };
    await solveStatistics({ ...input, criteria: { maxEscape: 0.01, maxOverkill: 0.05 } }, { products });
    const done = performance.now();
    closeSync(handle);
    const stored = readdirSync(cache.dir).reduce((sum, name) => sum + statSync(join(cache.dir, name)).size, 0);
    return {
      classes,
      parts,
      firstSumsSeconds: firstSeconds,
      updateSeconds: extractSeconds + (done - started) / 1000,
      extractSeconds,
      sumsSeconds: (sums - started) / 1000,
      storeAndSampleSeconds: (choosing - sums) / 1000,
      choiceAndSolveSeconds: (done - choosing) / 1000,
      rowsReadForSums: work.rowsRead,
      imagesAddedToStoredSums: work.added,
      sampleRows: sample.rows.length,
      diskBytes: stored + statSync(file).size,
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
    };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const [asked] = process.argv.slice(2);
if (asked?.startsWith('{')) {
  process.stdout.write(JSON.stringify(await runCase(JSON.parse(asked) as Case)));
} else {
  const cases: Case[] = [
    { classes: 4, parts: 100 },
    { classes: 4, parts: 1_200 },
    { classes: 4, parts: 10_000 },
    { classes: 4, parts: 100_000 },
    ...(asked === '--large'
      ? [
          { classes: 50, parts: 50_000 },
          { classes: 200, parts: 50_000 },
        ]
      : []),
  ];
  const results = cases.map((each) => {
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [fileURLToPath(import.meta.url), JSON.stringify(each)],
      {
        encoding: 'utf8',
      },
    );
    if (status !== 0) throw new Error(stderr);
    process.stderr.write(`${stdout}\n`);
    return JSON.parse(stdout) as Awaited<ReturnType<typeof runCase>>;
  });
  record(
    'knowledge-update',
    `node main/host/build/launch.mjs test/bench/knowledge.ts${asked === '--large' ? ' --large' : ''}`,
    {
      stages: STAGES,
      newImages: NEW,
      cases: results,
    },
  );
}
