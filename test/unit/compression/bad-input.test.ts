import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, watch } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compressDataset, type CompressDatasetOptions } from '../../../main/compression/dataset.ts';
import { pruneFile } from '../../../main/compression/model-tools.ts';
import { whatBinds } from '../../../main/compression/plan/nearest.ts';
import { compressStation } from '../../../main/compression/station.ts';
import {
  criteriaSchema,
  evidenceSchema,
  modelCardSchema,
  recipeSchema,
  type Backbone,
} from '../../../main/contract/domain.ts';
import { leftAlone } from '../../../main/host/cli/tool-commands.ts';
import { encodeModel, modelCost, node, withGraph } from '../../../main/onnx/index.ts';
import { smallDisk } from '../../helpers/small-disk.ts';
import { smallBackbone } from './networks.ts';
import { CLASSES, fakeMeasure, smallBackboneFile, smallSearch, texture, writeDataset } from './small-data.ts';

let folder: string;
let backbone: Backbone;
const options = (more: Partial<CompressDatasetOptions> = {}): CompressDatasetOptions => ({
  dir: join(folder, 'set'),
  backbone,
  strategy: 'none',
  precision: 'fp32',
  ...smallSearch,
  ...more,
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-bad-input-'));
  backbone = await smallBackboneFile(folder);
  await writeDataset(join(folder, 'set'), { train: 10, test: 4 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a backbone with a layer that a lower input size leaves too little for', () => {
  it('is compressed all the same, and the size is named among what was skipped', async () => {
    const whole = smallBackbone();
    const { nodes, ...rest } = whole.graph;
    // A window of 20 positions: of 24 at 96 pixels, of 16 at 64.
    const window = node('MaxPool', ['scaled'], ['windowed'], { kernel_shape: [20, 20], strides: [1, 1] });
    const limited = withGraph(whole, {
      ...rest,
      nodes: nodes.flatMap((each) =>
        each.op === 'GlobalAveragePool' ? [window, { ...each, inputs: ['windowed'] }] : [each],
      ),
    });
    await mkdir(join(folder, 'limited'));
    const report = await compressDataset(
      options({ strategy: 'auto', backbone: await smallBackboneFile(join(folder, 'limited'), limited) }),
      fakeMeasure,
    );
    expect(report.skipped).toContainEqual({ id: 'size-64-fp32', problem: expect.stringContaining('64 pixels') });
    expect(report.tried.map(({ id }) => id)).toContain('post-prune-65-shallow-96-fp32');
  }, 120_000);
});

describe('too few images', () => {
  it('are named by class with how many are missing, before anything is measured', async () => {
    const dir = join(folder, 'few');
    await writeDataset(dir, { train: 5, test: 1 });
    for (let i = 1; i < 5; i++) await rm(join(dir, 'train', 'fine', `1-${i}.png`));
    for (let i = 0; i < 5; i++) await rm(join(dir, 'train', 'plain', `2-${i}.png`));
    await writeFile(join(dir, 'train', 'plain', 'broken.png'), 'not a picture');
    const said: string[] = [];
    const run = compressDataset(options({ dir, onProgress: (line) => said.push(line) }), fakeMeasure);
    await expect(run).rejects.toMatchObject({
      code: 'TOO_FEW_PER_CLASS',
      details: { needed: 2, found: 'fine: 1, plain: 0', missing: 'fine: 1, plain: 2' },
    });
    expect(said.filter((line) => line.startsWith('measuring'))).toEqual([]);
  });

  it('of all classes together say how many are missing to calibrate', async () => {
    const dir = join(folder, 'six');
    await writeDataset(dir, { train: 2, test: 1 });
    await expect(compressDataset(options({ dir }), fakeMeasure)).rejects.toMatchObject({
      code: 'TOO_FEW_IMAGES',
      details: { found: 6, needed: 8, missing: 2 },
    });
  });

  it('of a station are said by the name of the class', async () => {
    const images = [];
    for (const [kind, count] of [9, 1].entries()) {
      for (let i = 0; i < count; i++) {
        const file = join(folder, `${kind}-${i}.png`);
        await writeFile(file, await texture(kind, i));
        images.push({ sha: `${kind}${i}`.padStart(64, '0'), file, region: null, classId: CLASSES[kind]!, row: -1 });
      }
    }
    const input = {
      backbone,
      recipe: recipeSchema.parse({}),
      classes: CLASSES.map((id, i) => ({
        id,
        names: { en: `${id} stripes`, ja: id },
        isOk: i === 0,
        color: 1,
        hotKey: null,
        retired: false,
      })),
      images,
      criteria: criteriaSchema.parse({}),
      threads: 1,
      outDir: folder,
      featureFile: '',
      exports: [],
      knowledgeDir: folder,
      knowledgeId: 'k',
      stationId: 's',
      demo: false,
      timeBudgetS: 10,
      activeBundleDir: null,
      candidateIds: ['c'],
      workDir: null,
      lineThreads: 1,
      costsDir: null,
    };
    await expect(compressStation(input, { measure: fakeMeasure })).rejects.toMatchObject({
      code: 'TOO_FEW_PER_CLASS',
      details: { found: 'fine stripes: 1', missing: 'fine stripes: 1' },
    });
  });
});

describe('limits that nothing keeps', () => {
  it('a latency that no network has: which limit it is, and the nearest offer', async () => {
    const report = await compressDataset(options({ precision: 'auto', latencyMs: 0.01 }), fakeMeasure);
    expect(report.recommended).toBeNull();
    const nearest = report.candidates.toSorted((a, b) => a.latencyMsP50 - b.latencyMsP50)[0]!;
    expect(report.why).toContain('what binds is the latency of 0.01 ms');
    expect(report.why).toContain(`Nearest is ${nearest.id}.`);
    const told = /offered with ([\d.]+) ms/.exec(report.why);
    // What is told as enough is enough.
    const again = await compressDataset(options({ precision: 'auto', latencyMs: Number(told![1]) }), fakeMeasure);
    expect(again.recommended).toBe(nearest.id);
  }, 60_000);

  it('several limits: those that all break, and what would have to change for the nearest', () => {
    const latency = (needs: number) => ({ limit: 'latency' as const, needs });
    const drop = (needs: number) => ({ limit: 'drop' as const, needs });
    const limits = { latencyMs: 1, maxDropPp: 0.5 };
    const both = [
      { id: 'a', latencyMs: 2, broken: [drop(0.6), latency(2)] },
      { id: 'b', latencyMs: 1.2, broken: [drop(4), latency(1.2)] },
    ];
    expect(whatBinds(both, limits)).toBe(
      'Nothing is recommended; what binds is the latency of 1 ms and the drop of accuracy of 0.5 pp. Nearest is a. It would be offered with 0.60 pp (--max-drop-pp) and 2.00 ms (--latency-ms).',
    );
    // One is too slow, the other too inaccurate: neither limit alone forbids all.
    const either = [
      { id: 'slow', latencyMs: 3, broken: [latency(3)] },
      { id: 'poor', latencyMs: 0.5, broken: [drop(0.701)] },
    ];
    expect(whatBinds(either, limits)).toContain('Nearest is poor. It would be offered with 0.71 pp (--max-drop-pp).');
    // No option helps against this one, so none is told.
    const blind = [{ id: 'x', latencyMs: 0.5, broken: [{ limit: 'novelty' as const, needs: null }] }];
    expect(whatBinds(blind, limits)).toBe(
      'Nothing is recommended; what binds is the sense for new defects. Nearest is x.',
    );
  });
});

describe('a graph with an operator that pruning does not know', () => {
  it('is pruned where it can be, and the rest is named', async () => {
    const small = smallBackbone();
    const { graph } = small;
    // Normalises over neighbouring channels: taking one away changes the others.
    const nodes = graph.nodes.flatMap((each) =>
      each.outputs[0] === 'fused_out'
        ? [
            node('LRN', ['fused_act'], ['normed'], { size: 3 }),
            { ...each, inputs: ['normed', ...each.inputs.slice(1)] },
          ]
        : [each],
    );
    const model = withGraph(small, { ...graph, nodes });
    const bytes = encodeModel(model);
    const file = join(folder, 'lrn.onnx');
    await writeFile(file, bytes);
    const odd = { ...backbone, id: 'lrn', file, sha256: createHash('sha256').update(bytes).digest('hex') };
    const report = await compressDataset(
      options({ backbone: odd, strategy: 'post-prune', ratio: 0.1, maxDropPp: 100 }),
      fakeMeasure,
    );
    const [pruned] = report.candidates;
    expect(pruned!.ratio).toBeGreaterThanOrEqual(0.1);
    expect(pruned!.macs).toBeLessThan(0.92 * modelCost(model, [1, 3, 96, 96], { unknownOps: 'unknown' }).macs);
    expect(pruned!.untouched).toContainEqual({ group: expect.any(String), why: expect.stringContaining('LRN') });
    expect(leftAlone(pruned!)).toEqual([
      'operator that pruning does not know: LRN (1); channels that reach it stay',
      ...pruned!.untouched.map(({ group, why }) => `left alone: ${group}: ${why}`),
    ]);
  }, 60_000);
});

/** Whether every folder that can be seen in `out` is a whole bundle. */
async function wholeBundles(out: string): Promise<string[]> {
  if (!existsSync(out)) return [];
  const ids = (await readdir(out)).filter((name) => !name.startsWith('.'));
  for (const id of ids) {
    const dir = join(out, id);
    expect((await readdir(dir)).toSorted()).toEqual(['evidence.json', 'model.json', 'model.onnx']);
    modelCardSchema.parse(JSON.parse(await readFile(join(dir, 'model.json'), 'utf8')));
    evidenceSchema.parse(JSON.parse(await readFile(join(dir, 'evidence.json'), 'utf8')));
  }
  return ids;
}

describe('kill -9', () => {
  it('at any stage leaves whole bundles or none in --out; --resume then gives all of them', async () => {
    const out = join(folder, 'killed');
    const asked = options({ precision: 'auto', out, work: join(out, '.search'), resume: true });
    await mkdir(out);
    /** Runs until something is seen, then kills. */
    const killedWhen = async (seen: (line: string | null) => boolean) => {
      const child = spawn(
        process.execPath,
        [fileURLToPath(new URL('./compress-child.ts', import.meta.url)), JSON.stringify(asked)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const kill = () => child.kill('SIGKILL');
      const watcher = watch(out, () => seen(null) && kill());
      child.stdout.on('data', (text: Buffer) => {
        for (const line of text.toString().split('\n')) if (seen(line)) kill();
      });
      const [, signal] = await once(child, 'exit');
      watcher.close();
      expect(signal).toBe('SIGKILL');
      return wholeBundles(out);
    };
    expect(await killedWhen((line) => line?.startsWith('trying') ?? false)).toEqual([]);
    expect(await killedWhen((line) => line?.startsWith('finishing size') ?? false)).toEqual([]);
    expect(await killedWhen((line) => line?.startsWith('timing') ?? false)).toEqual([]);
    let made = 0;
    // In the middle of writing the first bundle, and then of one later on.
    for (const after of [1, 6]) {
      made = 0;
      await killedWhen((line) => line === null && ++made === after);
    }
    const report = await compressDataset(asked, fakeMeasure);
    expect(await wholeBundles(out)).toHaveLength(report.candidates.length);
    expect((await readdir(out)).toSorted()).toEqual(report.candidates.map(({ id }) => id).toSorted());
  }, 180_000);
});

describe('a full disk', () => {
  it('stops what is written, names the place, and leaves nothing half-made', async (test) => {
    const disk = join(folder, 'disk');
    await mkdir(disk);
    const unmount = smallDisk(disk, '64k');
    test.skip(unmount === null, 'this account may not mount a small disk');
    try {
      const said: string[] = [];
      const asked = options({
        precision: 'auto',
        out: join(disk, 'out'),
        work: join(disk, 'work'),
        costs: join(disk, 'costs'),
        onProgress: (line) => said.push(line),
      });
      await expect(compressDataset(asked, fakeMeasure)).rejects.toMatchObject({
        code: 'DISK_FULL',
        details: { path: expect.stringContaining(disk) },
      });
      expect(said.filter((line) => line.startsWith('going on without keeping'))).toHaveLength(1);
      await wholeBundles(join(disk, 'out'));
      expect((await readdir(join(disk, 'out'))).filter((name) => name.startsWith('.'))).toEqual([]);
      const plain = { file: backbone.file, out: join(disk, 'pruned.onnx'), size: 64, threads: 1, seed: 0 };
      await expect(pruneFile({ ...plain, calibrate: null, ratio: 0.1 })).rejects.toMatchObject({
        code: 'DISK_FULL',
        details: { path: plain.out },
      });
      const left = await readdir(disk, { recursive: true });
      expect(left.filter((name) => name.endsWith('.tmp'))).toEqual([]);
      // With room elsewhere for the results the search ends well.
      const out = join(folder, 'room');
      const report = await compressDataset({ ...asked, out }, fakeMeasure);
      expect(await wholeBundles(out)).toHaveLength(report.candidates.length);
    } finally {
      unmount?.();
    }
  }, 120_000);
});
