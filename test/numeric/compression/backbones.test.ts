import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createImageSource } from '../../../main/compression/image-source.ts';
import { analysePruning } from '../../../main/compression/prune/analyse.ts';
import { pruneModel } from '../../../main/compression/prune/prune.ts';
import { observeRanges } from '../../../main/compression/quantize/calibrate.ts';
import { planQuantization, quantizeModel, tensorsOf } from '../../../main/compression/quantize/qdq.ts';
import {
  decodeModel,
  encodeModel,
  foldBatchNorm,
  modelCost,
  selectOutputs,
  type Model,
} from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';

/* Real networks on real images: what the small network of the unit tests cannot show. */

const models = process.env['MEKIKI_MODELS'];
const data = process.env['MEKIKI_DATA'];
const SIZE = 96;

const open = async (file: string): Promise<Model> =>
  selectOutputs(foldBatchNorm(decodeModel(new Uint8Array(await readFile(join(models!, file))))), ['features']);

const imagesOf = async (perClass: number) => {
  const root = join(data!, 'neu_steel', 'train');
  const files: string[] = [];
  for (const name of (await readdir(root)).sort()) {
    for (const file of (await readdir(join(root, name))).sort().slice(0, perClass)) files.push(join(root, name, file));
  }
  return createImageSource(
    files.map((file) => ({ file, region: null })),
    { mean: [127.5, 127.5, 127.5], std: [127.5, 127.5, 127.5] },
    { rotation: 0, maxPixels: 1e7 },
  );
};
type Images = Awaited<ReturnType<typeof imagesOf>>;

const featuresOf = async (model: Model, source: Images, indices: number[]): Promise<Float32Array> => {
  await using session = await openSession(encodeModel(model), { threads: 2 });
  const tensor = await source.tensor(indices, SIZE);
  const result = await session.run({
    input: { type: 'float32', dims: [indices.length, 3, SIZE, SIZE], data: tensor },
  });
  return Float32Array.from(result['features']!.data as Float32Array);
};

/** Mean cosine between rows. */
const cosine = (a: Float32Array, b: Float32Array, rows: number): number => {
  const width = a.length / rows;
  let sum = 0;
  for (let r = 0; r < rows; r++) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = r * width; i < (r + 1) * width; i++) {
      ab += a[i]! * b[i]!;
      aa += a[i]! ** 2;
      bb += b[i]! ** 2;
    }
    sum += ab / Math.sqrt(aa * bb);
  }
  return sum / rows;
};

describe.skipIf(!models || !data)('compression of real backbones (MEKIKI_MODELS, MEKIKI_DATA)', () => {
  it.each([
    // The second one breaks when its depthwise convolutions stay float between integer ones (README, deviations).
    ['mobilenet_edgetpu_1.0_224.onnx', 0.97],
    ['mobilenet_v2_1.0_224.onnx', 0.95],
  ])('INT8 of %s keeps the features', async (file, least) => {
    const model = await open(file);
    const source = await imagesOf(12);
    const indices = Array.from({ length: source.count }, (_, i) => i);
    const [calibration, held] = [indices.filter((i) => i % 2 === 0), indices.filter((i) => i % 2 === 1)];
    const ranges = await observeRanges(model, tensorsOf(planQuantization(model)), source, {
      images: calibration,
      size: SIZE,
      threads: 2,
      seed: 0,
    });
    const quantized = quantizeModel(model, ranges, { rule: { kind: 'min-max' }, weightBits: 8 });
    expect(encodeModel(quantized).length).toBeLessThan(0.4 * encodeModel(model).length);
    const [a, b] = [await featuresOf(model, source, held), await featuresOf(quantized, source, held)];
    expect(cosine(a, b, held.length)).toBeGreaterThan(least);
  });

  it('a fifth of MobileNetV2 goes at little loss, folded BatchNorm, Pad and Clip included', async () => {
    const model = await open('mobilenet_v2_0.35_224.onnx');
    const source = await imagesOf(20);
    const indices = Array.from({ length: source.count }, (_, i) => i);
    const [calibration, held] = [indices.filter((i) => i % 4 !== 1), indices.filter((i) => i % 4 === 1)];
    const options = { images: calibration, size: SIZE, threads: 2, seed: 0 };
    const analysis = await analysePruning(model, source, options);
    expect(analysis.untouched.map(({ why }) => why)).not.toContainEqual(expect.stringContaining('does not know'));
    const pruned = await pruneModel(analysis, source, 0.2, options);
    const macs = (of: Model) => modelCost(of, [1, 3, SIZE, SIZE]).macs;
    expect(macs(pruned.model)).toBeLessThan(0.8 * macs(model));
    const [a, b] = [await featuresOf(model, source, held), await featuresOf(pruned.model, source, held)];
    expect(cosine(a, b, held.length)).toBeGreaterThan(0.95);
  }, 120_000);
});
