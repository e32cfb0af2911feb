import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeBundle } from '../../../main/compression/bundle-files.ts';
import { finishVariant } from '../../../main/compression/finish.ts';
import { featuresOf } from '../../../main/compression/plan/evaluate.ts';
import { createImageSource } from '../../../main/compression/image-source.ts';
import { prepareBase } from '../../../main/compression/plan/workshop.ts';
import { recheckBundle } from '../../../main/compression/recheck.ts';
import { compressStation, type CompressStationInput } from '../../../main/compression/station.ts';
import { basisOfSums, readSumsOfOthers } from '../../../main/compression/sums-of-others.ts';
import { criteriaSchema, evidenceSchema, recipeSchema } from '../../../main/contract/domain.ts';
import { openProducts } from '../../../main/learning/dense.ts';
import { openInspector } from '../../../main/inspection/inspector.ts';
import { embed } from '../../../main/learning/embedding.ts';
import { writeExport } from '../../../main/learning/knowledge-export.ts';
import { gather } from '../../../main/learning/knowledge.ts';
import { nearDuplicateRadii } from '../../../main/learning/near-duplicates.ts';
import { inFolds, representativeRows } from '../../../main/learning/selection.ts';
import { encodeModel } from '../../../main/onnx/index.ts';
import { decodeImage } from '../../../main/vision/decode.ts';
import { CLASSES, fakeMeasure, smallBackboneFile, texture } from './small-data.ts';

/* Candidates of a station that has no picture of one class: another station gave its sums. */

let folder: string;
let input: CompressStationInput;
let unseen: string[];
const stages = [24];
const measure: typeof fakeMeasure = async (contenders, settings) => {
  const times = await fakeMeasure(contenders, settings);
  const at = (ms: number) => ({ p50: ms, p99: ms + 1, coldP50: ms, samples: Array.from({ length: 310 }, () => ms) });
  return new Map([...times].map(([name, time]) => [name, /^c\d$/.test(name) ? at(name === 'c2' ? 10 : 3) : time]));
};

const write = async (kind: number, seed: number) => {
  const bytes = await texture(kind, seed);
  const sha = createHash('sha256').update(bytes).digest('hex');
  const file = join(folder, `${sha}.png`);
  await writeFile(file, bytes);
  return { sha, file, region: null, classId: CLASSES[kind]!, row: -1 };
};
const pictures = (kind: number, count: number, seed: number) =>
  Promise.all(Array.from({ length: count }, (_, i) => write(kind, seed + i)));
const compress = async (name: string, change: Partial<CompressStationInput> = {}) => {
  const outDir = join(folder, name);
  await mkdir(outDir);
  return compressStation({ ...input, outDir, ...change }, { measure });
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-sums-of-others-'));
  const backbone = await smallBackboneFile(folder);
  // Here: stripes and plain parts. There: fine stripes, of which there is no picture here, and some plain ones.
  const images = [...(await pictures(0, 24, 300)), ...(await pictures(2, 24, 300))];
  const there = [...(await pictures(1, 24, 900)), ...(await pictures(2, 12, 900))];
  unseen = (await pictures(1, 20, 1500)).map(({ file }) => file);
  const source = createImageSource(there, backbone, { rotation: 0, maxPixels: 1e8 });
  const features = await featuresOf(
    backbone,
    await readFile(backbone.file),
    backbone.inputSize,
    source,
    there.map((_, i) => i),
    { threads: 1 },
  );
  const file = join(folder, 'there.knowledge');
  await writeExport(file, {
    statistics: gather(embed(features, stages), there),
    backboneId: backbone.id,
    backboneSha256: backbone.sha256,
    stages,
    lambda: 0.01,
    balancing: 1,
  });
  input = {
    backbone,
    recipe: recipeSchema.parse({}),
    classes: CLASSES.map((id, i) => ({
      id,
      names: { en: `${id} parts`, ja: id },
      isOk: id === 'plain',
      color: i + 1,
      hotKey: null,
      retired: false,
    })),
    images,
    criteria: criteriaSchema.parse({ maxDropPp: 100, maxLatencyMsP99: 10_000 }),
    threads: 1,
    outDir: folder,
    featureFile: join(folder, 'none.f32'),
    exports: [file],
    knowledgeDir: folder,
    knowledgeId: 'k1',
    stationId: 's1',
    demo: true,
    timeBudgetS: 1,
    activeBundleDir: null,
    candidateIds: ['c0', 'c1', 'c2'],
    lineThreads: 1,
    workDir: null,
    costsDir: null,
  };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Share of the pictures whose nearest class is the one, by the file as the line runs it. */
const named = async (bundleDir: string, files: readonly string[], classId: string): Promise<number> => {
  await using inspector = await openInspector({ bundleDir, threads: 1 });
  let right = 0;
  for (const file of files) {
    const { image } = await decodeImage(file, { name: file, maxPixels: 1e8 });
    const { classId: nearest } = await inspector.inspect(image, { recipe: input.recipe });
    if (nearest === classId) right += 1;
  }
  return right / files.length;
};

describe('candidates with what other stations gave', () => {
  it('know its classes, and say what was added as it is, what was mapped and what was not measured', async () => {
    const { candidates } = await compress('both');
    expect(candidates.length).toBeGreaterThan(1);
    for (const { dir, card, evidence } of candidates) {
      expect(evidenceSchema.parse(JSON.parse(await readFile(join(dir, 'evidence.json'), 'utf8')))).toEqual(evidence);
      expect(card.classes.map(({ id }) => id)).toEqual(['coarse', 'fine', 'plain']);
      expect(evidence.sumsOfOthers!.classes).toEqual([
        { classId: 'fine', parts: 24, here: 0 },
        { classId: 'plain', parts: 12, here: 24 },
      ]);
      expect(evidence.sumsOfOthers!.files).toHaveLength(1);
      expect(evidence.sumsOfOthers!.unlisted).toBe(1);
      expect(evidence.basis).toContain('; sums that came by file may hold pictures of this station as well');
      expect(evidence.perClass.map(({ classId, n }) => [classId, n])).toEqual([
        ['coarse', 24],
        ['fine', 0],
        ['plain', 24],
      ]);
      expect(evidence.confusion.map((row) => row.length)).toEqual([3, 3, 3]);
      expect(evidence.basis).toContain('fine parts (24), plain parts (12)');
      expect(evidence.basis).toMatch(/; not measured here, no pictures: fine parts$/);
      expect(evidence.parity.equal).toBe(evidence.parity.images);
      expect(evidence.gates.find(({ name }) => name === 'parity')!.outcome).toBe('pass');
      // Measured on another PC: all logits of each picture are in its sample, and here they are the same.
      const elsewhere = { ...evidence.environment, onnxruntime: '0.0.0' };
      await writeBundle(`${dir}-elsewhere`, {
        model: await readFile(join(dir, 'model.onnx')),
        card,
        evidence: { ...evidence, environment: elsewhere },
      });
      const measured = await recheckBundle({
        bundleDir: `${dir}-elsewhere`,
        measuredOn: [],
        files: input.images.map(({ sha, file }) => ({ sha, file })),
        threads: 1,
        criteria: input.criteria,
      });
      expect(measured).toMatchObject({ pictures: 48, parity: { images: 56, equal: 56, maxLogitDifference: 0 } });
      expect(evidence.sample!.pictures[0]!.logits).toHaveLength(3);
    }
    const whole = candidates.at(-1)!;
    expect(whole.card.strategy).toBe('none');
    expect(whole.evidence.sumsOfOthers!.map).toBeNull();
    expect(whole.evidence.basis).toContain('added exactly');
    expect(whole.evidence.gates.map(({ name }) => name)).not.toContain('mapping');
    expect(await named(whole.dir, unseen, 'fine')).toBeGreaterThan(0.8);
    for (const { dir, evidence, recommended } of candidates.slice(0, -1)) {
      const { map } = evidence.sumsOfOthers!;
      expect(map).toMatchObject({ images: 48, heldOut: 'classes', poor: map!.r2 < 0.5 });
      expect(evidence.basis).toContain(`mapped to this model by least squares (R² ${map!.r2.toFixed(2)}`);
      expect(evidence.basis.includes('the map is poor')).toBe(map!.poor);
      expect(evidence.gates.find(({ name }) => name === 'mapping')!.outcome).toBe(
        map!.poor ? 'not-enough-evidence' : 'pass',
      );
      if (map!.poor) expect(recommended).toBe(false);
      expect(await named(dir, unseen, 'fine')).toBeGreaterThan(0.5);
    }
  }, 180_000);

  it('of pictures of good parts alone: a classifier, uncompressed', async () => {
    const images = input.images.filter(({ classId }) => classId === 'plain');
    const { candidates, why } = await compress('good', { images });
    expect(candidates).toHaveLength(1);
    const [{ card, evidence, reason, dir }] = candidates as [(typeof candidates)[number]];
    expect(card).toMatchObject({ strategy: 'none', classes: [{ id: 'fine' }, { id: 'plain' }] });
    expect(reason).toContain('pictures of a single class');
    expect(why).toContain('The uncompressed model');
    expect(evidence.gates.find(({ name }) => name === 'escape')!.outcome).toBe('not-enough-evidence');
    expect(await named(dir, unseen, 'fine')).toBeGreaterThan(0.8);
  }, 120_000);

  it('are offered by what they lose beside the sums, and the evidence says the same', async () => {
    // With some parts under the wrong name the map takes nearly all of a class to one that others know.
    const images = input.images.map((image, i) =>
      i % 6 === 0 ? { ...image, classId: i < 24 ? 'plain' : 'coarse' } : image,
    );
    const criteria = { ...input.criteria, maxDropPp: 5 };
    const { candidates } = await compress('doubtful', { images, criteria, candidateIds: ['c1', 'c2'] });
    const [small, whole] = candidates as [(typeof candidates)[number], (typeof candidates)[number]];
    const { evidence, offered, reason } = small;
    expect(offered).toBe(false);
    expect(evidence.accuracyDropPp).toBeGreaterThan(20);
    expect(reason).toContain(`${evidence.accuracyDropPp.toFixed(2)} pp less accurate`);
    expect(evidence.gates.find(({ name }) => name === 'drop')).toMatchObject({
      measured: `${evidence.accuracyDropPp.toFixed(1)} pp`,
      outcome: 'fail',
    });
    expect(whole).toMatchObject({ offered: true, card: { strategy: 'none' } });
  }, 180_000);

  it('are judged on folds of whole looks', async () => {
    const { images, backbone } = input;
    const source = createImageSource(images, backbone, { rotation: 0, maxPixels: 1e8 });
    // Two shots of each look: their hashes differ in one bit.
    const ledger = images.map(({ sha, classId }, i) => {
      const look = createHash('sha256')
        .update(`look ${i >> 1}`)
        .digest('hex')
        .slice(0, 15);
      return { sha, classId, look: `${look}${i % 2}` };
    });
    await using products = openProducts({ threads: 1 });
    const variant = { strategy: 'none', ratio: 0, inputSize: backbone.inputSize, precision: 'fp32' } as const;
    const model = prepareBase(await readFile(backbone.file), backbone);
    const { compared, validation } = await finishVariant('whole', variant, model, encodeModel(model), {
      backbone,
      source,
      images: images.map((_, i) => i),
      ledger,
      classes: input.classes,
      criteria: input.criteria,
      recipe: null,
      identity: { demo: true, stationId: 's1', knowledgeId: 'k1' },
      products,
      threads: 1,
      others: await readSumsOfOthers(input.exports, backbone),
      now: () => new Date(0),
    });
    expect(compared.judged.classIds).toEqual(['coarse', 'fine', 'plain']);
    const folds = inFolds(representativeRows(ledger), ledger, nearDuplicateRadii);
    expect(compared.judged.rows).toEqual(folds.rows);
    expect(validation.rows).not.toEqual(folds.rows);
  }, 120_000);

  it('may know one picture of a class that another station has more of', async () => {
    const single = await write(1, 700);
    const { candidates } = await compress('one', { images: [...input.images, single] });
    const { sumsOfOthers, perClass } = candidates.at(-1)!.evidence;
    expect(sumsOfOthers!.classes[0]).toEqual({ classId: 'fine', parts: 24, here: 1 });
    expect(perClass[1]).toMatchObject({ classId: 'fine', n: 1 });
    // Beside another class alone it does not tell what compressing costs.
    const plain = input.images.filter(({ classId }) => classId === 'plain');
    const { candidates: few } = await compress('one-and-plain', { images: [...plain, single] });
    expect(few.map(({ reason }) => reason)).toEqual([expect.stringContaining('pictures of a single class')]);
    const stranger = { ...single, classId: 'coarse' };
    await expect(compress('stranger', { images: [...plain, stranger] })).rejects.toMatchObject({
      code: 'TOO_FEW_PER_CLASS',
    });
  }, 180_000);

  it('need pictures of this station: what is missing is said', async () => {
    await expect(compress('none', { images: [] })).rejects.toMatchObject({
      code: 'TOO_FEW_IMAGES',
      details: { what: 'fine parts, plain parts', found: 0, missing: 8 },
    });
  });

  it('say so plainly where the map is poor', () => {
    const told = basisOfSums(
      {
        classes: [{ classId: 'a', parts: 7, here: 0 }],
        files: ['0'.repeat(64)],
        map: { images: 40, r2: 0.31, heldOut: 'classes', poor: true },
      },
      (id) => `class ${id}`,
    );
    expect(told).toBe(
      '; from sums of other stations, without their pictures, mapped to this model by least squares ' +
        '(R² 0.31 on classes held out, 40 pictures): class a (7)' +
        '; the map is poor: how such parts are judged is uncertain; not measured here, no pictures: class a',
    );
  });
});
