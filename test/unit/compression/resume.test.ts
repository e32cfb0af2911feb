import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compressDataset, type CompressDatasetOptions } from '../../../main/compression/dataset.ts';
import type { CompressReport } from '../../../main/compression/dataset-report.ts';
import { takeBackBegun } from '../../../main/compression/plan/begun.ts';
import { openLabelledImages } from '../../../main/compression/labelled-images.ts';
import { openCheckpoint } from '../../../main/compression/plan/checkpoint.ts';
import { openTrials, type TrialRecord } from '../../../main/compression/plan/trials.ts';
import { scanDataset } from '../../../main/learning/dataset.ts';
import { openProducts } from '../../../main/learning/dense.ts';
import { encodeModel } from '../../../main/onnx/index.ts';
import { smallBackbone } from './networks.ts';
import { fakeMeasure, smallBackboneFile, writeDataset } from './small-data.ts';

let folder: string;
let options: CompressDatasetOptions;
let whole: CompressReport;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-resume-'));
  await writeDataset(join(folder, 'set'), { train: 10, test: 4 });
  options = {
    dir: join(folder, 'set'),
    backbone: await smallBackboneFile(folder),
    strategy: 'auto',
    precision: 'auto',
    timeBudgetS: 100_000,
    maxDropPp: 5,
    seed: 1,
    threads: 1,
  };
  whole = await compressDataset(options, fakeMeasure);
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a report says apart from how long things took. */
const said = ({ tried, candidates, recommended, why, pareto }: CompressReport) => ({
  tried,
  candidates: candidates.map(({ id, accuracy, validation, bytes, offered, reason }) => ({
    id,
    accuracy,
    validation,
    bytes,
    offered,
    reason,
  })),
  recommended,
  why,
  pareto,
});

const isTrial = (line: string) => line.startsWith('trying ');

describe('a search that was cut short', () => {
  it('goes on after kill -9 without measuring again, and leaves nothing but whole bundles', async () => {
    const out = join(folder, 'out');
    const work = join(out, '.search');
    const child = spawn(
      process.execPath,
      [
        fileURLToPath(new URL('./compress-child.ts', import.meta.url)),
        JSON.stringify({ ...options, out, work, resume: true }),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const ended = once(child, 'exit');
    let begun = 0;
    for await (const line of createInterface(child.stdout)) {
      if (!isTrial(line)) continue;
      begun += 1;
      if (begun === 4) child.kill('SIGKILL');
    }
    expect((await ended)[1]).toBe('SIGKILL');
    const [search] = await readdir(work);
    // Half-written when the power went.
    await writeFile(join(work, search!, 'size-64-int8.json.1.tmp'), '{"ms":');
    const timed: string[] = [];
    const report = await compressDataset({ ...options, out, work, resume: true }, (contenders, settings) => {
      timed.push(...contenders.map(({ name }) => name));
      return fakeMeasure(contenders, settings);
    });
    expect(report.resumedTrials).toBeGreaterThanOrEqual(3);
    expect(said(report)).toEqual(said(whole));
    // Finished models are timed once more, all against each other; what is no finalist was not timed again.
    const finalists = new Set(report.candidates.map(({ id }) => id));
    const again = report.tried.slice(0, 3).filter(({ id }) => !finalists.has(id));
    for (const { id } of again) expect(timed).not.toContain(id);
    expect((await readdir(out)).sort()).toEqual([...finalists].sort());
  }, 120_000);

  it('goes on after a cancel; other options or no --resume begin anew', async () => {
    const work = join(folder, 'work');
    const cut = async (more: Partial<CompressDatasetOptions>, after = 4, isStep = isTrial) => {
      const controller = new AbortController();
      let begun = 0;
      const onProgress = (line: string) => {
        if (isStep(line) && ++begun === after) controller.abort();
      };
      const run = compressDataset({ ...options, work, ...more, signal: controller.signal, onProgress }, fakeMeasure);
      await expect(run).rejects.toMatchObject({ code: 'CANCELLED' });
    };
    const named = { strategy: 'none', precision: 'fp32' } as const;
    await cut({});
    const other = await compressDataset({ ...options, ...named, work, resume: true }, fakeMeasure);
    expect(other.resumedTrials).toBe(0);
    const same = await compressDataset({ ...options, work, resume: true }, fakeMeasure);
    expect(same.resumedTrials).toBe(3);
    expect(said(same)).toEqual(said(whole));
    // Cut when all of them are made: each is taken for what it was.
    await cut({}, 1, (line) => line.startsWith('finishing '));
    const all = await compressDataset({ ...options, work, resume: true }, fakeMeasure);
    expect(all.resumedTrials).toBe(whole.tried.length + whole.skipped.length);
    expect(said(all)).toEqual(said(whole));
    await cut({});
    const anew = await compressDataset({ ...options, work }, fakeMeasure);
    expect(anew.resumedTrials).toBe(0);
    // Nothing is left when a search has ended.
    await expect(readdir(work)).rejects.toMatchObject({ code: 'ENOENT' });
  }, 120_000);

  it('compares in as many views as it began with, however much time there is now', async () => {
    const { backbone, dir } = options;
    const { train } = await scanDataset(dir);
    const { source, images, ledger } = await openLabelledImages(train, backbone, undefined);
    await using products = openProducts({ threads: 1 });
    const viewsWithin = async (budgetMs: number) => {
      const { views } = await openTrials({
        backbone,
        source,
        images,
        ledger,
        firstTask: images,
        products,
        threads: 1,
        seed: 1,
        maxDropPp: 5,
        measure: fakeMeasure,
        costs: null,
        budgetMs,
        bytes: await readFile(backbone.file),
        checkpoint: await openCheckpoint({ work: join(folder, 'views'), key: 'k', resume: true }),
      });
      return views;
    };
    expect(await viewsWithin(1)).toBe(1);
    expect(await viewsWithin(1e9)).toBe(1);
  });

  it('measures again what cannot be read', async () => {
    const work = join(folder, 'damaged');
    const settings = { work, key: 'k', resume: true };
    const checkpoint = await openCheckpoint(settings);
    await checkpoint.keep('size-64-fp32', { ms: 5, referenceMs: null, outcome: { problem: 'no such layer' } });
    expect((await checkpoint.take('size-64-fp32'))?.outcome).toEqual({ problem: 'no such layer' });
    const file = join(work, (await readdir(work))[0]!, 'size-64-fp32.json');
    await writeFile(file, (await readFile(file, 'utf8')).slice(0, 9));
    expect(await (await openCheckpoint(settings)).take('size-64-fp32')).toBeNull();
    expect(await checkpoint.take('size-96-fp32')).toBeNull();
  });

  it('knows of integers which network they were in floats', async () => {
    const checkpoint = await openCheckpoint({ work: join(folder, 'integers'), key: 'k', resume: true });
    const model = smallBackbone();
    const bytes = encodeModel(model);
    const made = { untouched: [], rule: null, careful: null, student: null, untaught: null, ratio: 0, model, bytes };
    const outcome: TrialRecord = {
      id: 'size-64-int8',
      variant: { strategy: 'none', ratio: 0, inputSize: 64, precision: 'int8' },
      balancedAccuracy: 1,
      loss: 0,
      lost: { accuracyPp: 0, accuracyUpperPp: 0, certaintyPp: 0, expectedPp: 0 },
      newDefects: null,
      latencyMs: 1,
      speedup: 1,
      bytes: bytes.length,
      unseen: null,
      predictedSpeedup: null,
      made: { ...made, float: model },
    };
    await checkpoint.keep(outcome.id, { ms: 5, referenceMs: 1, outcome });
    const float = createHash('sha256').update(bytes).digest('hex');
    expect(await checkpoint.take(outcome.id)).toMatchObject({ outcome: { made: { float, bytes } } });
  });

  it('leaves a variant alone with which the process ended three times', async () => {
    const settings = { work: join(folder, 'deadly'), key: 'k', resume: true };
    for (let run = 0; run < 3; run++)
      expect(await (await openCheckpoint(settings)).begin('size-64-fp32')).not.toBeNull();
    expect(await (await openCheckpoint(settings)).begin('size-64-fp32')).toBeNull();
    // What ended in order was not the variant's doing.
    await takeBackBegun(settings.work);
    expect(await (await openCheckpoint(settings)).begin('size-64-fp32')).not.toBeNull();
    expect(await (await openCheckpoint(settings)).begin('size-64-fp32')).toBeNull();
    await takeBackBegun(join(folder, 'not there'));
    // One that came to its end, whatever it was, starts from nothing.
    for (let run = 0; run < 4; run++) await (await (await openCheckpoint(settings)).begin('size-96-fp32'))!();
    // And the search says so instead of trying.
    const work = join(folder, 'deadly-search');
    const controller = new AbortController();
    const onProgress = (line: string) => void (isTrial(line) && controller.abort());
    const cut = compressDataset({ ...options, work, signal: controller.signal, onProgress }, fakeMeasure);
    await expect(cut).rejects.toMatchObject({ code: 'CANCELLED' });
    const [search] = await readdir(work);
    await writeFile(join(work, search!, 'size-64-int8.begun'), '3');
    const report = await compressDataset({ ...options, work, resume: true }, fakeMeasure);
    expect(report.skipped).toContainEqual({ id: 'size-64-int8', problem: expect.stringContaining('each time') });
    expect(report.tried.map(({ id }) => id)).not.toContain('size-64-int8');
  }, 120_000);
});
