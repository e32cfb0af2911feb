import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Backbone } from '../../../main/contract/domain.ts';
import { isAppError } from '../../../main/contract/errors.ts';
import { decodeModel, encodeModel, float32Of, node, readModelFile, type Model } from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { evaluateClassifier } from '../../../main/training/evaluate.ts';
import { fineTune, type FineTuneOptions } from '../../../main/training/fine-tune.ts';
import { attachHead, settleHead, trainableBackbone, type TrainableBackbone } from '../../../main/training/head.ts';
import { openLoader, type LabelledImage } from '../../../main/training/loader/loader.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { singleBackbone } from '../../unit/compression/networks.ts';
import { writePictures } from '../../unit/training/pictures.ts';
import { writeTinyBackbone } from '../learning/tiny-backbone.ts';
import { smallNetwork } from './small-training.ts';

let folder: string;
let backbone: TrainableBackbone;
let described: Backbone;
let images: LabelledImage[];
let tests: LabelledImage[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-fine-tune-'));
  described = await writeTinyBackbone(join(folder, 'tiny.onnx'));
  const { featureOutputs, ...rest } = described;
  backbone = { ...rest, name: 'tiny', model: readModelFile(described.file), features: featureOutputs };
  images = await writePictures(join(folder, 'train'), 12);
  tests = await writePictures(join(folder, 'test'), 20);
});
afterAll(() => rm(folder, { recursive: true }));

const tune = (over: Partial<FineTuneOptions> = {}) =>
  fineTune({
    backbone,
    classes: ['rows', 'columns', 'spot'],
    train: images,
    test: tests,
    engine: createOrtEngine(),
    epochs: 3,
    threads: 1,
    seed: 1,
    batch: 12,
    learningRate: 3e-3,
    ...over,
  });
const weight = (model: Model, name: string) => float32Of(model.graph.initializers.get(name)!);
const logitsOf = async (model: Model, input: Float32Array, batch: number, side: number) => {
  await using session = await openSession(encodeModel(model), { threads: 1 });
  const name = model.graph.inputs[0]!.name;
  const result = await session.run({ [name]: { type: 'float32', dims: [batch, 3, side, side], data: input } });
  return result[model.graph.outputs[0]!.name]!.data as Float32Array;
};

describe('head', () => {
  const noise = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * 12.9898));
  it('reads maps pooled and pooled features side by side; settled it gives the same logits, for any batch', async () => {
    const headed = attachHead(backbone, { classes: 3, size: 32, gain: 10, batch: 2 });
    const initializers = new Map(headed.model.graph.initializers);
    const { weight: name } = headed.parameters;
    const old = initializers.get(name)!;
    expect(old.dims).toEqual([3, 32]);
    const bytes = new Uint8Array(noise(96).buffer);
    initializers.set(name, { ...old, bytes });
    const model = { ...headed.model, graph: { ...headed.model.graph, initializers } };
    const settled = settleHead(
      { ...headed, model },
      { classes: ['a', 'b', 'c'], size: 32, mean: [1, 2, 3], std: [4, 5, 6] },
    );
    const input = noise(2 * 3 * 32 * 32);
    const [before, after] = [await logitsOf(model, input, 2, 32), await logitsOf(settled, input, 2, 32)];
    expect(before.some((x) => Math.abs(x) > 0.1)).toBe(true);
    before.forEach((x, i) => expect(after[i]).toBeCloseTo(x, 4));
    const one = await logitsOf(settled, input.subarray(0, 3 * 32 * 32), 1, 32);
    expect(one.length).toBe(3);
    expect(settled.graph.initializers.has(headed.gain)).toBe(false);
    expect(settled.metadata.get('mekiki.classes')).toBe('["a","b","c"]');
  });
  it('refuses another size where the backbone has one only', () => {
    const fixed = { ...backbone, dynamicSize: false };
    expect(() => attachHead(fixed, { classes: 3, size: 48, gain: 10, batch: 2 })).toThrow(/fixed at 32/);
  });
  it('refuses a backbone with a layer that is fixed to one picture in each run', () => {
    const model = singleBackbone();
    const single = {
      ...backbone,
      model,
      inputSize: 64,
      features: [{ name: 'features', channels: 24, kind: 'pooled' }],
    };
    expect(() => attachHead(single as TrainableBackbone, { classes: 3, size: 64, gain: 10, batch: 32 })).toThrow(
      expect.objectContaining({
        code: 'BACKBONE_UNSUITABLE',
        details: expect.objectContaining({ problem: expect.stringContaining('takes 1 picture in each run') }),
      }),
    );
  });
});

describe('fine-tuning', () => {
  it('learns with the body, tests each epoch, and the written model does what was reported', async () => {
    const result = await tune({ epochs: 8 });
    expect(result.epochs).toHaveLength(8);
    const last = result.epochs.at(-1)!;
    expect(last.loss).toBeLessThan(result.epochs[0]!.loss);
    expect(last.accuracy).toBeGreaterThanOrEqual(0.9);
    expect(weight(result.model, 'w1')).not.toEqual(weight(backbone.model, 'w1'));
    expect(result.trainedParameters).toBe(12 * 75 + 20 * 108 + 3 * 32 + 3);
    const read = decodeModel(encodeModel(result.model));
    await using loader = openLoader({
      images: tests,
      classes: 3,
      batch: 7,
      size: 32,
      mean: backbone.mean,
      std: backbone.std,
      seed: 0,
      shuffle: false,
      broken: 'refuse',
    });
    const { accuracy, balancedAccuracy } = await evaluateClassifier(read, loader, { threads: 1 });
    expect({ accuracy, balancedAccuracy }).toEqual({
      accuracy: last.accuracy,
      balancedAccuracy: last.balancedAccuracy,
    });
  });

  it('leaves the body alone when only the head is to learn', async () => {
    const result = await tune({ trainBody: false });
    expect(weight(result.model, 'w1')).toEqual(weight(backbone.model, 'w1'));
    expect(result.trainedParameters).toBe(3 * 32 + 3);
    expect(result.epochs.at(-1)!.loss).toBeLessThan(result.epochs[0]!.loss);
  });

  it('moves the head ten times as far as the learning rate, and the body not before the head says where to', async () => {
    // One step. AdamW's first update is the learning rate in size, whatever the gradient; behind a head of zeros the body has no gradient.
    const { model } = await tune({ epochs: 1, batch: images.length, learningRate: 3e-3, augmentation: {} });
    const largest = (values: Float32Array, from?: Float32Array) =>
      values.reduce((most, x, i) => Math.max(most, Math.abs(x - (from?.[i] ?? 0))), 0);
    expect(largest(weight(model, 'head.weight'))).toBeCloseTo(10 * 3e-3, 5);
    const before = weight(backbone.model, 'w2');
    // Only weight decay: 3e-3 * 0.01 of each weight.
    expect(largest(weight(model, 'w2'), before)).toBeLessThan(3.1e-5 * largest(before));
  });

  it('gives the same model for the same seed, resumed or not, with any number of decoding threads', async () => {
    const whole = await tune();
    const abort = new AbortController();
    const checkpointFile = join(folder, 'checkpoint');
    const cancelled = tune({
      checkpointFile,
      signal: abort.signal,
      onProgress: ({ step }) => step === 5 && abort.abort(),
    });
    await expect(cancelled).rejects.toSatisfy((error) => isAppError(error, 'CANCELLED'));
    const resumed = await tune({ checkpointFile, workers: 2 });
    expect(resumed.resumedAtStep).toBe(5);
    expect(Buffer.from(encodeModel(resumed.model)).equals(encodeModel(whole.model))).toBe(true);
    expect(resumed.epochs.map(({ accuracy, loss }) => [accuracy, loss])).toEqual(
      whole.epochs.map(({ accuracy, loss }) => [accuracy, loss]),
    );
    await expect(tune({ checkpointFile, seed: 2 })).rejects.toSatisfy((error) =>
      isAppError(error, 'CHECKPOINT_OTHER_RUN'),
    );
  });

  it('trains on mixed images with soft targets, and on balanced classes', async () => {
    const few = images.filter(({ label }, i) => label !== 2 || i % 4 === 0);
    const result = await tune({
      train: few,
      balanced: true,
      augmentation: { mixup: 0.4, flipHorizontal: 0.5 },
      epochs: 6,
    });
    expect(result.epochs.at(-1)!.loss).toBeLessThan(result.epochs[0]!.loss);
  });

  it('names the pictures it could not read and counts none of them in the test', async () => {
    const broken = { file: join(folder, 'broken.png'), name: 'test/broken.png', label: 0 };
    await writeFile(broken.file, 'no picture');
    const with2 = await tune({ epochs: 1, test: [...tests, broken] });
    const without = await tune({ epochs: 1 });
    expect(with2.skipped.map(({ name }) => name)).toEqual(['test/broken.png']);
    expect(with2.epochs[0]!.accuracy).toBe(without.epochs[0]!.accuracy);
    await expect(tune({ epochs: 1, test: [...tests, broken], broken: 'refuse' })).rejects.toSatisfy((error) =>
      isAppError(error, 'IMAGE_UNREADABLE'),
    );
  });

  it('takes a backbone whose BatchNorm is not folded: statistics stay, or follow the batches by choice', async () => {
    const small = {
      name: 'small',
      model: smallNetwork(),
      inputName: 'input',
      inputSize: 8,
      dynamicSize: false,
      mean: [127.5, 127.5, 127.5] as const,
      std: [127.5, 127.5, 127.5] as const,
      features: [{ name: 'r', channels: 6, kind: 'map' as const }],
    };
    const [frozen, followed] = [
      await tune({ backbone: small, epochs: 2 }),
      await tune({ backbone: small, epochs: 2, batchNorm: 'train' }),
    ];
    for (const name of ['bn.mean', 'bn.var']) {
      expect(weight(frozen.model, name)).toEqual(weight(small.model, name));
      expect(weight(followed.model, name)).not.toEqual(weight(small.model, name));
    }
    for (const { model } of [frozen, followed]) {
      for (const name of ['conv.weight', 'bn.weight', 'bn.bias']) {
        expect(weight(model, name)).not.toEqual(weight(small.model, name));
      }
    }
  });

  it('trains weights that stand in Constant nodes or are read through Identity', async () => {
    const { graph: whole, ...rest } = backbone.model;
    const initializers = new Map(whole.initializers);
    const w1 = initializers.get('w1')!;
    initializers.set('w2.kept', initializers.get('w2')!);
    for (const name of ['w1', 'w2']) initializers.delete(name);
    const nodes = [node('Constant', [], ['w1'], { value: w1 }), node('Identity', ['w2.kept'], ['w2']), ...whole.nodes];
    const file = join(folder, 'constants.onnx');
    await writeFile(file, encodeModel({ ...rest, graph: { ...whole, nodes, initializers } }));
    const read = trainableBackbone({ ...described, file });
    const result = await tune({ backbone: { ...backbone, model: read.model }, epochs: 1 });
    expect(result.trainedParameters).toBe(12 * 75 + 20 * 108 + 3 * 32 + 3);
    for (const name of ['w1', 'w2']) expect(weight(result.model, name)).not.toEqual(weight(backbone.model, name));
  });

  it('refuses a single class', async () => {
    await expect(tune({ classes: ['rows'] })).rejects.toSatisfy((error) => isAppError(error, 'TOO_FEW_CLASSES'));
  });
});
