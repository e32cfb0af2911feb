import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeBundle } from '../../../main/compression/bundle-files.ts';
import { describeEnvironment, sameEnvironment } from '../../../main/compression/environment.ts';
import { parityOf } from '../../../main/compression/evidence/parity.ts';
import { buildEvidence } from '../../../main/compression/evidence/evidence.ts';
import { finishVariant, type Finished } from '../../../main/compression/finish.ts';
import { createImageSource } from '../../../main/compression/image-source.ts';
import { floatOf, parityStages } from '../../../main/compression/parity-stages.ts';
import { madePicture } from '../../../main/compression/parity-sample.ts';
import type { TrialRecord } from '../../../main/compression/plan/trials.ts';
import { prepareBase } from '../../../main/compression/plan/workshop.ts';
import { chooseInteger } from '../../../main/compression/quantize/choose.ts';
import { recheckBundle } from '../../../main/compression/recheck.ts';
import { criteriaSchema, type Evidence, type ParityStage, type Recipe } from '../../../main/contract/domain.ts';
import { wholeFrame } from '../../../main/inspection/inspector.ts';
import { openProducts } from '../../../main/learning/dense.ts';
import { decodeModel, encodeModel, float32Of, float32Tensor } from '../../../main/onnx/index.ts';
import { CLASSES, smallBackboneFile, texture } from './small-data.ts';

const criteria = criteriaSchema.parse({ maxLatencyMsP99: 10_000 });
const here = describeEnvironment(1);
const elsewhere = { ...here, onnxruntime: '0.0.0' };
const latency = { p50: 1, p99: 2, coldP50: 1, samples: [1, 2] };

let folder: string;
let files: { sha: string; file: string }[];
let evidence: Evidence;
/** The evidence of the integer model beside another model or in another environment. */
const bundle = async (name: string, of: Finished, change: Partial<Evidence> = {}): Promise<string> => {
  const dir = join(folder, name);
  await writeBundle(dir, { model: of.inspector, card: of.card, evidence: { ...evidence, ...change } });
  return dir;
};
let float: Finished;
let integer: Finished;
let stages: Record<'smaller' | 'lost' | 'integers' | 'none', ParityStage[]>;
/** An integer trial of a run before this one, whose floats this run has tried: the same network, or one that was taught anew. */
let resumed: Record<'same' | 'anew', Uint8Array | null>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-recheck-'));
  const backbone = await smallBackboneFile(folder);
  const shown: { file: string; sha: string; classId: string }[] = [];
  for (let kind = 0; kind < 3; kind++) {
    for (let i = 0; i < 10; i++) {
      const bytes = await texture(kind, 700 + i);
      const sha = createHash('sha256').update(bytes).digest('hex');
      const file = join(folder, `${sha}.png`);
      await writeFile(file, bytes);
      shown.push({ file, sha, classId: CLASSES[kind]! });
    }
  }
  files = shown.map(({ sha, file }) => ({ sha, file }));
  const region = { x: 4, y: 8, width: 48, height: 40 };
  const source = createImageSource(
    shown.map(({ file }) => ({ file, region })),
    backbone,
    { rotation: 90, maxPixels: 1e8 },
  );
  const images = shown.map((_, i) => i);
  const base = prepareBase(await readFile(backbone.file), backbone);
  const calibration = { images: images.slice(0, 16), size: 64, threads: 1, seed: 0 };
  const choice = await chooseInteger(base, source, { ...calibration, compared: images.slice(16), weightBits: 7 });
  await using products = openProducts({ threads: 1 });
  const options: Parameters<typeof finishVariant>[4] = {
    backbone,
    source,
    images,
    ledger: shown,
    classes: CLASSES.map((id) => ({ id, names: { en: id, ja: id }, isOk: id === 'plain' })),
    criteria,
    recipe: { ...wholeFrame, rotation: 90 },
    identity: { demo: false, stationId: 's1', knowledgeId: 'k1' },
    products,
    threads: 1,
    now: () => new Date(0),
  };
  const variant = { strategy: 'none', ratio: 0, inputSize: 64, precision: 'int8' } as const;
  integer = await finishVariant('m-int8', variant, choice.model, encodeModel(choice.model), options);
  float = await finishVariant('m-fp32', { ...variant, precision: 'fp32' }, base, encodeModel(base), options);
  const made = { model: choice.model, bytes: encodeModel(choice.model), float: base } as TrialRecord['made'];
  const tried = new Map([['size-64-fp32', { made: { bytes: encodeModel(base) } } as TrialRecord]]);
  const trialOf = (bytes: Uint8Array) => ({
    variant,
    made: { ...made, float: createHash('sha256').update(bytes).digest('hex') },
  });
  resumed = {
    same: floatOf(trialOf(encodeModel(base)), tried),
    anew: floatOf(trialOf(encodeModel(choice.model)), tried),
  };
  const native = { ...options, backbone: { ...backbone, inputSize: 64 } };
  stages = {
    smaller: await parityStages(float, integer, floatOf({ variant, made }, new Map()), options),
    lost: await parityStages(float, integer, resumed.anew, options),
    integers: await parityStages(float, integer, null, native),
    none: await parityStages(float, float, null, native),
  };
  evidence = buildEvidence({
    reference: { finished: float, judged: float.compared.judged, latency },
    candidate: { finished: integer, judged: integer.compared.judged, latency, speedupInterval: null },
    inspecting: null,
    basis: 'test',
    gates: [],
    changed: [],
    environment: elsewhere,
    dataSha256: 'a'.repeat(64),
  });
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const input = (bundleDir: string) => ({ bundleDir, measuredOn: [], files, threads: 1, criteria });

describe('parity step by step', () => {
  const wayOf = (steps: ParityStage[]) => steps.map(({ from, to }) => `${from} ${to}`);

  it('names the steps that a model went, and the whole way', () => {
    expect(wayOf(stages.none)).toEqual(['trained deployed']);
    expect(wayOf(stages.integers)).toEqual(['trained quantised', 'quantised deployed', 'trained deployed']);
    expect(wayOf(stages.smaller)).toEqual([
      'trained compressed',
      'compressed quantised',
      'quantised deployed',
      'trained deployed',
    ]);
    expect(resumed.same).not.toBeNull();
    // In floats it is not known any more: rounding is told together with what came before.
    expect(wayOf(stages.lost)).toEqual(['trained quantised', 'quantised deployed', 'trained deployed']);
    for (const { images, equal } of Object.values(stages).flat()) expect([images, equal <= images]).toEqual([30, true]);
  });

  it('tells rounding from the rest: floats against integers under one head, and the last step is what the gate asks for', () => {
    expect(stages.none[0]).toMatchObject(float.parity);
    expect(stages.integers[1]).toMatchObject(integer.parity);
    expect(stages.integers[1]!.maxLogitDifference).toBeLessThan(1e-2);
    const [, rounding] = stages.smaller;
    expect(rounding!.maxLogitDifference).toBeGreaterThan(1e-4);
    expect(rounding!.equal).toBeGreaterThan(25);
  });

  it('does not take what is no number for equal, wherever it comes', () => {
    const nan = [0, Number.NaN];
    expect(
      parityOf([
        [nan, [0, 1]],
        [
          [0, 1],
          [0, 3],
        ],
      ]).maxLogitDifference,
    ).toBe(Number.MAX_VALUE);
  });
});

describe('a model that was measured elsewhere', () => {
  it('says the same here on its station’s pictures, and is timed', async () => {
    const measured = await recheckBundle(input(await bundle('same', integer)));
    expect(measured).toMatchObject({
      environment: here,
      pictures: 30,
      parity: { images: 38, equal: 38 },
      gates: [
        { name: 'parity', outcome: 'pass' },
        { name: 'latency', outcome: 'pass' },
      ],
    });
    // The same file in the same runtime: nothing at all differs.
    expect(measured!.parity.maxLogitDifference).toBe(0);
    expect(measured!.latencyMsP50).toBeGreaterThan(0);
    expect(measured!.latencyMsP99).toBeGreaterThanOrEqual(measured!.latencyMsP50);
  });

  it('proves itself on pictures that every PC can make where there are no others', async () => {
    const bare = await bundle('bare', integer);
    const measured = await recheckBundle({ ...input(bare), files: [], measuredOn: [elsewhere] });
    expect(measured).toMatchObject({ pictures: 0, parity: { images: 8, equal: 8, maxLogitDifference: 0 } });
  });

  it('fails where it says something else, as another model stands for', async () => {
    const measured = await recheckBundle(input(await bundle('other', float)));
    expect(measured!.gates[0]).toMatchObject({ name: 'parity', outcome: 'fail' });
    expect(measured!.parity.maxLogitDifference).toBeGreaterThan(0.01);
  });

  it('fails where a logit is no number here, also when the others are as they were', async () => {
    const model = decodeModel(new Uint8Array(float.inspector));
    const initializers = new Map(model.graph.initializers);
    for (const [name, tensor] of initializers) {
      if (tensor.type !== 'float32' || tensor.dims.join() !== '3') continue;
      const values = Float32Array.from(float32Of(tensor));
      values[0] = Number.NaN;
      initializers.set(name, float32Tensor([3], values));
    }
    const broken = encodeModel({ ...model, graph: { ...model.graph, initializers } });
    const modelSha256 = createHash('sha256').update(broken).digest('hex');
    const dir = await bundle('nan', { ...float, inspector: broken, card: { ...float.card, modelSha256 } });
    const { parity, gates } = (await recheckBundle(input(dir)))!;
    expect(parity.maxLogitDifference).toBe(Number.MAX_VALUE);
    expect(gates[0]).toMatchObject({ name: 'parity', outcome: 'fail' });
  });

  it('fails where it is too slow', async () => {
    const dir = await bundle('slow', integer);
    const strict = criteriaSchema.parse({ maxLatencyMsP99: 1e-6 });
    expect((await recheckBundle({ ...input(dir), criteria: strict }))!.gates[1]).toMatchObject({ outcome: 'fail' });
  });

  it('is timed with all tiles of its recipe, as its evidence is', async () => {
    const plain = await recheckBundle(input(await bundle('plain', integer)));
    const tiles = { columns: 4, rows: 4, overlap: 0 };
    const tiled = (recipe: Partial<Recipe>): Finished => ({
      ...integer,
      card: { ...integer.card, recipe: { ...integer.card.recipe!, tiles, ...recipe } },
    });
    const own = await recheckBundle(input(await bundle('tiled', tiled({}))));
    expect(own!.latencyMsP50).toBeGreaterThan(4 * plain!.latencyMsP50);
    // The part is not found on the picture at hand: a made one is timed, on which it is not looked for.
    const regions = [{ x: 5000, y: 5000, width: 64, height: 64 }];
    const far = tiled({ regions, finder: { kind: 'trigger-offset', x: 3, y: 0 } });
    const made = await recheckBundle(input(await bundle('far', far)));
    expect(made!.latencyMsP50).toBeGreaterThan(4 * plain!.latencyMsP50);
  });

  it('is not told to be equal where the evidence holds no pictures', async () => {
    const dir = await bundle('old', integer, { sample: undefined });
    const measured = await recheckBundle(input(dir));
    expect(measured!.gates[0]).toMatchObject({ name: 'parity', outcome: 'not-enough-evidence' });
  });

  it('is not measured again on an equal PC, unless it is asked for', async () => {
    expect(await recheckBundle(input(await bundle('here', integer, { environment: here })))).toBeNull();
    const dir = await bundle('known', integer);
    expect(await recheckBundle({ ...input(dir), measuredOn: [here] })).toBeNull();
    expect(await recheckBundle({ ...input(dir), measuredOn: [here], always: true })).toMatchObject({
      environment: here,
      parity: { images: 38, equal: 38 },
    });
  });
});

describe('environments', () => {
  it('differ by processor, its features, runtime and threads', () => {
    const known = { cpu: 'x', onnxruntime: '1.30.0', threads: 2, features: ['avx2'] };
    expect(sameEnvironment(known, { ...known })).toBe(true);
    for (const change of [
      { cpu: 'y' },
      { onnxruntime: '1.31.0' },
      { threads: 4 },
      { features: ['avx2', 'avx_vnni'] },
    ]) {
      expect(sameEnvironment(known, { ...known, ...change })).toBe(false);
    }
    const { features: _, ...older } = known;
    expect(sameEnvironment(known, older)).toBe(true);
  });
});

describe('made pictures', () => {
  it('are the same bytes on every PC, and differ by seed', () => {
    const hash = (seed: number) => createHash('sha256').update(madePicture(seed, 32).data).digest('hex');
    expect(hash(0)).toBe('95a22ffa00ac4ec7202def02859308e5f4a23ab3c2d19488aa2270eb0d4098a8');
    expect(hash(1)).not.toBe(hash(0));
    expect(new Set(madePicture(0, 32).data).size).toBeGreaterThan(100);
  });
});
