import { join } from 'node:path';
import { compressDataset } from '../../main/compression/dataset.ts';
import { residentBytes } from '../../main/host/cli/resident.ts';
import { backboneNamed } from './backbone.ts';
import { record } from './record.ts';

/*
 * `compress --strategy auto` with its defaults and a budget of ten minutes: what the search chooses on training folds, and what that is worth on images that it
 * never saw. `recommended` is what a user gets without a question asked.
 * node main/host/build/launch.mjs test/bench/compress-auto.ts [shipped|<backbone of MEKIKI_MODELS>] [--max-drop-pp p] [set ...]
 */
const { MEKIKI_DATA: data, MEKIKI_MODELS: models } = process.env;
if (!data || !models) {
  process.stderr.write('compress-auto: skipped, MEKIKI_DATA or MEKIKI_MODELS is not set\n');
  process.exit(0);
}
const BUDGET_S = 600;
const THREADS = 2;
const args = process.argv.slice(2);
const at = args.indexOf('--max-drop-pp');
const maxDropPp = at < 0 ? 1 : Number(args.splice(at, 2)[1]);
const [name = 'mobilenet_edgetpu_1.0_224', ...named] = args;
const backbone = await backboneNamed(name, models, THREADS);
const sets: Record<string, unknown> = {};
for (const set of named.length > 0 ? named : ['neu_steel', 'magnetic_tile', 'deeppcb_crops']) {
  const {
    reference,
    candidates,
    recommended,
    why,
    tried,
    skipped,
    outOfTime,
    similarity,
    images,
    seconds,
    costModel,
    operationsScore,
    energy,
  } = await compressDataset({
    dir: join(data, set),
    backbone,
    strategy: 'auto',
    precision: 'auto',
    timeBudgetS: BUDGET_S,
    maxDropPp,
    seed: 0,
    threads: THREADS,
    residentBytes: (model, inputSize) => residentBytes(model, inputSize, THREADS),
    onProgress: (line) => process.stderr.write(`${set}: ${line}\n`),
  });
  const told = ({
    validation,
    balancedAccuracy,
    interval,
    latencyMsP50,
    latencyMsCold,
    macs,
    bytes,
    rssBytes,
    energyMj,
    grouped,
  }: typeof reference) => ({
    rssBytes,
    energyMj,
    validation: validation.balancedAccuracy,
    test: balancedAccuracy,
    testInterval: interval,
    grouped,
    latencyMsP50,
    latencyMsCold,
    macs,
    bytes,
  });
  sets[set] = {
    recommended,
    why,
    reference: told(reference),
    candidates: candidates.map((candidate) => ({
      id: candidate.id,
      speedup: candidate.speedup,
      speedupInterval: candidate.speedupInterval,
      testDropPp: candidate.accuracyDropPp,
      offered: candidate.offered,
      reason: candidate.reason,
      ...told({ ...candidate, bwt: null }),
    })),
    tried,
    skipped,
    outOfTime,
    costModel,
    operationsScore,
    energy,
    similarity,
    images,
    seconds,
  };
}
// Sets that were named are kept beside the usual three.
const suffix = [name === 'shipped' ? 'shipped' : backbone.id, `${maxDropPp}pp`, ...named].join('-');
record(
  `compress-auto-${suffix}`,
  `node main/host/build/launch.mjs test/bench/compress-auto.ts ${process.argv.slice(2).join(' ')}`.trim(),
  {
    backbone: { id: backbone.id, sha256: backbone.sha256 },
    budgetS: BUDGET_S,
    maxDropPp,
    threads: THREADS,
    sets,
  },
);
