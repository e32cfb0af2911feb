import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageSource } from '../../../main/compression/image-source.ts';
import { balanceActivations } from '../../../main/compression/quantize/balance.ts';
import { observeRanges } from '../../../main/compression/quantize/calibrate.ts';
import { planQuantization, quantizeModel, tensorsOf } from '../../../main/compression/quantize/qdq.ts';
import { recipeSchema, type Backbone } from '../../../main/contract/domain.ts';
import { assembleInspector } from '../../../main/learning/assemble.ts';
import { openProducts } from '../../../main/learning/dense.ts';
import { embed } from '../../../main/learning/embedding.ts';
import { openExtractor } from '../../../main/learning/extract.ts';
import { heatMapOf, openClassMaps } from '../../../main/learning/heat-map.ts';
import { solveKnowledge, type SolvedKnowledge } from '../../../main/learning/knowledge.ts';
import { scoreNovelty } from '../../../main/learning/novelty-score.ts';
import {
  decodeModel,
  encodeModel,
  float32Of,
  float32Tensor,
  setInitializer,
  withGraph,
  type Model,
} from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { createPreprocessor } from '../../../main/vision/preprocess.ts';
import { picture, writePicture, type Surface } from './pictures.ts';
import { writeTinyBackbone } from './tiny-backbone.ts';

const products = openProducts({ threads: 1 });
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mekiki-assemble-'));
});
afterAll(async () => {
  await products[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const surfaces: Surface[] = ['stripes', 'dots', 'plain'];
const images = surfaces.flatMap((surface) =>
  Array.from({ length: 12 }, (_, i) => ({ surface, image: picture(surface, i) })),
);

async function learn(backbone: Backbone): Promise<SolvedKnowledge> {
  await using extractor = await openExtractor(backbone, { threads: 1 });
  const features = await extractor.run(images.map(({ image }) => ({ image, region: null })));
  const { knowledge } = await solveKnowledge(
    {
      features,
      stages: [12, 20],
      ledger: images.map(({ surface }, i) => ({
        classId: surface,
        sha: ((i * 0x9e3779b1) >>> 0).toString(16).padStart(64, '0').split('').reverse().join(''),
      })),
      okIds: new Set(['plain']),
      criteria: { maxEscape: 0.05, maxOverkill: 0.1 },
    },
    { products },
  );
  return knowledge;
}

const feedOf = (backbone: Backbone, seeds: number[]) => {
  const preprocessor = createPreprocessor({ size: 32, mean: backbone.mean, std: backbone.std });
  const data = new Float32Array(seeds.length * preprocessor.length);
  seeds.forEach((seed, i) =>
    preprocessor.into(picture(i % 2 ? 'scratch' : 'dots', seed), null, data, i * preprocessor.length),
  );
  return { type: 'float32' as const, dims: [seeds.length, 3, 32, 32], data };
};

describe('the assembled inspector', () => {
  for (const options of [{ opset: 17 }, { opset: 13, negative: true }, { opset: 20 }]) {
    it(`gives the learner's own logits and novelty (${JSON.stringify(options)})`, async () => {
      const backbone = await writeTinyBackbone(path.join(folder, `tiny-${options.opset}.onnx`), options);
      const knowledge = await learn(backbone);
      expect(knowledge.balancedAccuracy).toBeGreaterThan(0.9);
      const bytes = assembleInspector({ model: await readFile(backbone.file), backbone, knowledge, inputSize: 32 });
      await using session = await openSession(bytes, { threads: 1 });
      expect([session.inputs, session.outputs]).toEqual([['image'], ['logits', 'novelty']]);
      const feed = feedOf(backbone, [100, 101, 102, 103, 104]);
      const { logits, novelty } = await session.run({ image: feed });
      expect([logits!.dims, novelty!.dims]).toEqual([[5, 3], [5]]);

      await using extractor = await openExtractor(backbone, { threads: 1 });
      const features = await extractor.run(
        [100, 101, 102, 103, 104].map((seed, i) => ({
          image: picture(i % 2 ? 'scratch' : 'dots', seed),
          region: null,
        })),
      );
      const z = embed(features, knowledge.stages);
      const wanted = await products.multiply(z, knowledge.weights);
      const scores = await scoreNovelty(knowledge.novelty, z, wanted, products);
      wanted.data.forEach((v, i) => expect(Math.abs((logits!.data[i] as number) - v)).toBeLessThan(1e-4));
      scores.forEach((v, i) =>
        expect(Math.abs((novelty!.data[i] as number) - v)).toBeLessThan(2e-3 * Math.max(1, Math.abs(v))),
      );
      // A picture of no known class is far from all of them.
      expect(Math.min(scores[1]!, scores[3]!)).toBeGreaterThan(Math.max(scores[0]!, scores[2]!, scores[4]!));
    });
  }

  it('refuses a head of another backbone and a size that the backbone cannot take', async () => {
    const backbone = await writeTinyBackbone(path.join(folder, 'other.onnx'));
    const knowledge = await learn(backbone);
    const model = await readFile(backbone.file);
    expect(() =>
      assembleInspector({ model, backbone, knowledge: { ...knowledge, stages: [32] }, inputSize: 32 }),
    ).toThrow(expect.objectContaining({ code: 'KNOWLEDGE_OF_OTHER_BACKBONE' }));
    expect(() =>
      assembleInspector({ model, backbone: { ...backbone, dynamicSize: false }, knowledge, inputSize: 64 }),
    ).toThrow(expect.objectContaining({ code: 'BACKBONE_UNSUITABLE' }));
  });
});

/** For each class the mean of its map and the bias are its logit. */
const expectExactMaps = async (bytes: Uint8Array, feed: ReturnType<typeof feedOf>): Promise<void> => {
  await using session = await openSession(bytes, { threads: 1 });
  const { logits } = await session.run({ image: feed });
  await using maps = await openClassMaps(bytes, { threads: 1, name: 'test' });
  for (const column of [0, 1, 2]) {
    const { values, bias } = await maps.run(feed.data, 32, column);
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    expect(Math.abs(mean + bias - (logits!.data[column] as number))).toBeLessThan(1e-4);
  }
};

describe('the heat map', () => {
  it('is exact: its mean and the bias are the logit', async () => {
    for (const negative of [false, true]) {
      const backbone = await writeTinyBackbone(path.join(folder, 'map.onnx'), { negative });
      const knowledge = await learn(backbone);
      const bytes = assembleInspector({ model: await readFile(backbone.file), backbone, knowledge, inputSize: 32 });
      await expectExactMaps(bytes, feedOf(backbone, [7]));
    }
  });

  it('is exact for integers whose activations were levelled', async () => {
    const backbone = await writeTinyBackbone(path.join(folder, 'levelled.onnx'));
    const tiny = decodeModel(new Uint8Array(await readFile(backbone.file)), backbone.id);
    // Channel c of the last map is 3^(c % 5) times as strong.
    const weight = float32Of(tiny.graph.initializers.get('w2')!).map((v, i) => v * 3 ** (Math.floor(i / 108) % 5));
    const uneven = withGraph(tiny, setInitializer(tiny.graph, 'w2', float32Tensor([20, 12, 3, 3], weight)));
    await writeFile(backbone.file, encodeModel(uneven));
    const knowledge = await learn(backbone);
    const source: ImageSource = {
      count: 16,
      view: () => Promise.reject(new Error('only its tensors are read')),
      region: () => null,
      tensor: (indices) => Promise.resolve(feedOf(backbone, [...indices]).data),
    };
    const calibration = { images: [...Array(16).keys()], size: 32, threads: 1, seed: 1 };
    const rangesOf = (of: Model) => observeRanges(of, tensorsOf(planQuantization(of)), source, calibration);
    const balanced = balanceActivations(uneven, await rangesOf(uneven), 8);
    expect(balanced.groups).toBe(1);
    const model = quantizeModel(balanced.model, await rangesOf(balanced.model), {
      rule: { kind: 'min-max' },
      weightBits: 8,
    });
    const bytes = assembleInspector({ model, backbone, knowledge, inputSize: 32 });
    await expectExactMaps(bytes, feedOf(backbone, [7]));
  });

  it('points at the scratch', async () => {
    const backbone = await writeTinyBackbone(path.join(folder, 'point.onnx'));
    const taught = [...Array(16).keys()].flatMap((i) => [
      { classId: 'ok', image: picture('plain', i) },
      { classId: 'scratch', image: picture('scratch', i) },
    ]);
    await using extractor = await openExtractor(backbone, { threads: 1 });
    const features = await extractor.run(taught.map(({ image }) => ({ image, region: null })));
    const { knowledge } = await solveKnowledge(
      {
        features,
        stages: [12, 20],
        ledger: taught.map(({ classId }, i) => ({
          classId,
          sha: (i % 5).toString(16).padStart(8, '0') + String(i).padStart(56, '0'),
        })),
        okIds: new Set(['ok']),
        criteria: { maxEscape: 0.05, maxOverkill: 0.1 },
      },
      { products },
    );
    const model = assembleInspector({ model: await readFile(backbone.file), backbone, knowledge, inputSize: 32 });
    await writeFile(path.join(folder, 'model.onnx'), model);
    const card = {
      format: 1,
      id: 'm',
      createdAt: new Date().toISOString(),
      demo: false,
      stationId: null,
      backboneId: 'tiny',
      backboneSha256: backbone.sha256,
      knowledgeId: null,
      modelSha256: backbone.sha256,
      inputSize: 32,
      mean: backbone.mean,
      std: backbone.std,
      classes: knowledge.classes.map(({ classId }) => ({
        id: classId,
        names: { en: classId, ja: classId },
        isOk: classId === 'ok',
      })),
      temperature: 0.1,
      thresholds: { ok: 0.5, ng: 0.5, novelty: 1 },
      strategy: 'none',
      precision: 'fp32',
      // The station's was turned since: the model looks as it did when the part was judged.
      recipe: recipeSchema.parse({}),
    };
    await writeFile(path.join(folder, 'model.json'), JSON.stringify(card));
    const { file } = await writePicture(path.join(folder, 'part.png'), picture('scratch', 200));
    const recipe = recipeSchema.parse({ rotation: 90 });
    const map = await heatMapOf({ bundleDir: folder, file, region: null, recipe, classId: 'scratch' }, { threads: 1 });
    expect(map.region).toEqual({ x: 0, y: 0, width: 48, height: 48 });
    expect([Math.min(...map.weights), Math.max(...map.weights)]).toEqual([0, 255]);
    // Where the picture is bright there is the scratch; the hottest cells are there.
    const { data } = picture('scratch', 200);
    const cell = 48 / map.width;
    const brightness = map.weights.map((_, i) => {
      const [cx, cy] = [i % map.width, Math.floor(i / map.width)];
      let top = 0;
      for (let y = Math.floor(cy * cell); y < (cy + 1) * cell; y += 1)
        for (let x = Math.floor(cx * cell); x < (cx + 1) * cell; x += 1) top = Math.max(top, data[y * 48 + x]!);
      return top;
    });
    const hot = map.weights.flatMap((v, i) => (v > 180 ? [brightness[i]!] : []));
    expect(hot.filter((v) => v > 180).length / hot.length).toBeGreaterThan(0.7);
    await expect(heatMapOf({ bundleDir: folder, file, region: null, recipe, classId: 'nobody' })).rejects.toMatchObject(
      { code: 'NOT_FOUND' },
    );
  });
});
