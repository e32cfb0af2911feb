import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { residentBytes } from '../../../main/host/cli/resident.ts';
import { compressDataset, type CompressDatasetOptions } from '../../../main/compression/dataset.ts';
import { evidenceSchema, modelCardSchema, type Backbone } from '../../../main/contract/domain.ts';
import { openInspector } from '../../../main/inspection/inspector.ts';
import { decodeImage } from '../../../main/vision/decode.ts';
import { olderBackbone } from './networks.ts';
import { CLASSES, fakeMeasure, smallBackboneFile, smallSearch, texture, writeDataset } from './small-data.ts';

let folder: string;
let backbone: Backbone;
/** A whole search on the clean set, for the tests that look at one; its bundles lie in `out`. */
let clean: Awaited<ReturnType<typeof compressDataset>>;
let out: string;
const lines: string[] = [];
const options = (dir: string, more: Partial<CompressDatasetOptions> = {}): CompressDatasetOptions => ({
  dir: join(folder, dir),
  backbone,
  strategy: 'auto',
  precision: 'auto',
  ...smallSearch,
  ...more,
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-compress-'));
  backbone = await smallBackboneFile(folder);
  await writeDataset(join(folder, 'clean'), { train: 12, test: 8 });
  // Test labels are noise: each image lies in the folder of another class, by chance of its number.
  await writeDataset(join(folder, 'noisy'), { train: 12, test: 8, testClassOf: (kind, i) => (kind + i) % 3 });
  out = join(folder, 'out');
  clean = await compressDataset(
    options('clean', {
      out,
      onProgress: (line) => lines.push(line),
      residentBytes: (model, inputSize) => residentBytes(model, inputSize, 1),
    }),
    fakeMeasure,
  );
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('compressDataset', () => {
  it('reports every key of the command line, and bundles that an inspector loads', async () => {
    const report = clean;
    expect(report.candidates.length).toBeGreaterThan(1);
    for (const item of [report.reference, ...report.candidates]) {
      for (const key of [
        'accuracy',
        'balancedAccuracy',
        'latencyMsP50',
        'latencyMsP99',
        'macs',
        'params',
        'bytes',
      ] as const) {
        expect(item[key], key).toEqual(expect.any(Number));
      }
      expect(item.interval[0]).toBeLessThanOrEqual(item.balancedAccuracy);
      expect(item.interval[1]).toBeGreaterThanOrEqual(item.balancedAccuracy);
      expect(Object.keys(item.perClass)).toEqual([...CLASSES]);
      // Node and the runtime alone hold tens of megabytes.
      expect(item.rssBytes).toBeGreaterThan(20e6);
    }
    const best = report.candidates.find(({ id }) => id === report.recommended)!;
    expect(best.offered).toBe(true);
    expect(best.speedup).toBeGreaterThan(1.05);
    expect(report.pareto).toContain(best.id);
    expect(report.why).toContain('times as fast');
    expect(report.operationsScore!.value).toBeGreaterThan(0);
    expect(report.costModel).toBeNull();
    expect(report.normalisation).toEqual({ mean: backbone.mean, std: backbone.std, from: 'description' });
    expect(lines.length).toBeGreaterThan(3);
    const pruned = report.candidates.filter(({ ratio }) => ratio > 0);
    for (const item of pruned) expect(item.macs).toBeLessThan(report.reference.macs);
    expect((await readdir(out)).sort()).toEqual(report.candidates.map(({ id }) => id).sort());
    const dir = join(out, best.id);
    const card = modelCardSchema.parse(JSON.parse(await readFile(join(dir, 'model.json'), 'utf8')));
    evidenceSchema.parse(JSON.parse(await readFile(join(dir, 'evidence.json'), 'utf8')));
    expect(card.classes.map(({ id }) => id)).toEqual([...CLASSES]);
    await using inspector = await openInspector({ bundleDir: dir, threads: 1 });
    const { image } = await decodeImage(await texture(1, 7777), { name: 'new', maxPixels: 1e6 });
    expect((await inspector.inspect(image)).classId).toBe('fine');
    for (const { parity } of report.candidates) {
      expect(parity.equal).toBe(parity.images);
      expect(parity.maxLogitDifference).toBeLessThan(1e-2);
    }
  }, 120_000);

  it('chooses the same whatever the test labels are', async () => {
    const noisy = await compressDataset(options('noisy', { out: join(folder, 'noisy-out') }), fakeMeasure);
    const chosen = (report: typeof clean) => ({
      tried: report.tried,
      candidates: report.candidates.map(
        ({ id, ratio, inputSize, precision, offered, reason, validation, ...rest }) => ({
          id,
          ratio,
          inputSize,
          precision,
          offered,
          reason,
          validation,
          bytes: rest.bytes,
          speedup: rest.speedup,
          untouched: rest.untouched,
        }),
      ),
      skipped: report.skipped,
      tasks: report.tasks,
      pareto: report.pareto,
      recommended: report.recommended,
      why: report.why,
      similarity: report.similarity,
    });
    expect(chosen(noisy)).toEqual(chosen(clean));
    // Weights, thresholds and temperature of every candidate: the files themselves.
    for (const { id } of clean.candidates) {
      const [a, b] = [out, join(folder, 'noisy-out')].map((place) => join(place, id));
      expect((await readFile(join(a!, 'model.onnx'))).equals(await readFile(join(b!, 'model.onnx')))).toBe(true);
      const [one, other] = await Promise.all(
        [a, b].map(async (dir) => modelCardSchema.parse(JSON.parse(await readFile(join(dir!, 'model.json'), 'utf8')))),
      );
      expect({ ...other, createdAt: '' }).toEqual({ ...one, createdAt: '' });
    }
    expect(clean.recommended).not.toBeNull();
    // The noise was there.
    expect(noisy.reference.accuracy).toBeLessThan(clean.reference.accuracy - 0.3);
  }, 240_000);

  it('a named strategy with a ratio gives that candidate', async () => {
    const run = (strategy: 'pre-prune' | 'post-prune' | 'distill') =>
      compressDataset(
        options('clean', { strategy, precision: 'fp32', ratio: 0.3, tasks: 3, student: 'pruned', teach: 'auto' }),
        fakeMeasure,
      );
    const [pre, post] = [await run('pre-prune'), await run('post-prune')];
    expect(pre.candidates.map(({ id }) => id)).toEqual(['pre-prune-30-96-fp32']);
    expect(post.candidates.map(({ id }) => id)).toEqual(['post-prune-30-96-fp32']);
    expect(pre.candidates[0]!.ratio).toBeGreaterThanOrEqual(0.3);
    const taught = await run('distill');
    expect(taught.candidates.map(({ id }) => id)).toEqual(['distill-30-96-fp32']);
    expect(taught.candidates[0]!.macs).toBe(post.candidates[0]!.macs);
    // With and without the class losses of each task, told apart by a fold that neither was taught with.
    const { student } = taught.candidates[0]!;
    expect(student!.start).toBe('pruned');
    expect(student!.compared.map(({ curriculum }) => curriculum)).toEqual(['features', 'tasks']);
    const [features, labelled] = student!.compared.map(({ heldOutLossPp }) => heldOutLossPp);
    expect(student!.curriculum).toBe(labelled! < features! ? 'tasks' : 'features');
    expect(taught.candidates[0]!.grouped === null).toBe(student!.curriculum === 'tasks');
    expect(post.candidates[0]!.student).toBeNull();
    expect(pre.tasks).toEqual([['coarse'], ['fine'], ['plain']]);
    expect(pre.candidates[0]!.bwt).not.toBeNull();
  }, 300_000);

  it('knows the folder of good parts by its name: a candidate that is tried calls none of them ng', async () => {
    await cp(join(folder, 'clean'), join(folder, 'good'), { recursive: true });
    for (const part of ['train', 'test'])
      await rename(join(folder, 'good', part, 'plain'), join(folder, 'good', part, 'OK'));
    const into = join(folder, 'good-out');
    const more = { strategy: 'pre-prune', precision: 'fp32', ratio: 0.3, out: into } as const;
    const { candidates } = await compressDataset(options('good', more), fakeMeasure);
    const card = JSON.parse(await readFile(join(into, candidates[0]!.id, 'model.json'), 'utf8')) as unknown;
    const good = modelCardSchema.parse(card).classes.filter(({ isOk }) => isOk);
    expect(good.map(({ id }) => id)).toEqual(['OK']);
  }, 60_000);

  it('prunes by the measures asked for, the head of the learnt classes among them', async () => {
    const prunedBy = async (importance: CompressDatasetOptions['importance'], name: string) => {
      const out = join(folder, name);
      const named = { strategy: 'post-prune', precision: 'fp32', ratio: 0.3, maxDropPp: 100, importance, out } as const;
      const { candidates } = await compressDataset(options('clean', named), fakeMeasure);
      expect(candidates[0]!.ratio).toBeGreaterThanOrEqual(0.3);
      return readFile(join(out, candidates[0]!.id, 'model.onnx'));
    };
    const usual = await prunedBy(undefined, 'usual');
    expect((await prunedBy({ measures: ['reconstruction'], hedge: 0 }, 'named')).equals(usual)).toBe(true);
    expect((await prunedBy({ measures: ['head'] }, 'head')).equals(usual)).toBe(false);
  }, 240_000);

  it('does not offer what is not faster, and says so', async () => {
    const even: typeof fakeMeasure = async (contenders, settings) =>
      new Map([...(await fakeMeasure(contenders, settings))].map(([name, latency]) => [name, { ...latency, p50: 3 }]));
    const report = await compressDataset(options('clean', { strategy: 'none', precision: 'int8' }), even);
    expect(report.recommended).toBeNull();
    for (const { offered, reason } of report.candidates) {
      expect(offered).toBe(false);
      expect(reason).toContain('Not faster');
    }
    expect(report.why).toContain('Not faster');
  }, 120_000);

  it('names what it cannot do', async () => {
    await expect(compressDataset(options('nowhere'))).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND' });
    await expect(compressDataset(options('clean', { tasks: 9 }))).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(compressDataset(options('clean', { signal: AbortSignal.abort() }))).rejects.toMatchObject({
      code: 'CANCELLED',
    });
  });

  it('names integers among what it skipped where the opset is too old for them', async () => {
    const older = join(folder, 'older');
    await mkdir(older);
    const backbone = await smallBackboneFile(older, olderBackbone());
    const report = await compressDataset(
      options('clean', { backbone, strategy: 'none', precision: 'int8' }),
      fakeMeasure,
    );
    expect(report.tried).toEqual([]);
    expect(report.skipped.length).toBeGreaterThan(0);
    for (const { id, problem } of report.skipped) {
      expect(id).toContain('int8');
      expect(problem).toContain('opset 13');
    }
    expect(report.why).toContain('opset 13');
  }, 60_000);

  it('with the real clock the cost model tells how far off it is', async () => {
    const { costModel } = await compressDataset(
      options('clean', { strategy: 'post-prune', ratio: 0.3, precision: 'fp32', timeBudgetS: 100 }),
    );
    expect(costModel).toMatchObject({ networks: 1, layers: expect.any(Number), medianErrorPct: expect.any(Number) });
    expect(costModel!.layers).toBeGreaterThan(4);
  });

  it('goes on without an unreadable image and names it', async () => {
    const dir = join(folder, 'damaged');
    await writeDataset(dir, { train: 12, test: 4 });
    await writeFile(join(dir, 'train', 'fine', 'broken.png'), 'no image');
    const report = await compressDataset(
      options('damaged', { strategy: 'none', precision: 'int8', timeBudgetS: 1 }),
      fakeMeasure,
    );
    expect(report.unreadable).toEqual(['train/fine/broken.png']);
    expect(report.images.train).toBe(36);
  }, 60_000);
});
