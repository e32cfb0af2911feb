import { mkdtemp, mkdir, readFile, rm, writeFile, copyFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backboneSchema } from '../../../main/contract/domain.ts';
import { isAppError } from '../../../main/contract/errors.ts';
import {
  analyseBackbone,
  decodeModel,
  importTflite,
  modelCost,
  verifyShapes,
  verifyStructure,
} from '../../../main/onnx/index.ts';
import { readTflite } from '../../../main/onnx/tflite/read-tflite.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { makeModel, readManifest, sha256, writeModel, type ManifestEntry } from '../../../native-models/make.ts';
import { earlierShipped, ensureShippedBackbone } from '../../../native-models/shipped.ts';
import { noise } from '../../unit/onnx/example-models.ts';
import { evaluateTflite } from './reference-tflite.ts';

const folder = join(dirname(fileURLToPath(import.meta.url)), '../../../native-models');
const packageFile = join(folder, '../node_modules/@mediapipe/objectron/objectron_solution_packed_assets.data');

const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    await work();
  } catch (error) {
    if (isAppError(error)) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'nothing was thrown';
};

describe('the shipped backbone', () => {
  let entry: ManifestEntry;
  let bytes: Uint8Array;
  beforeAll(async () => {
    entry = (await readManifest(folder)).backbones[0]!;
    bytes = makeModel(entry, folder);
  });

  it('comes out byte for byte as the manifest says, and the manifest describes it', () => {
    expect(sha256(bytes)).toBe(entry.sha256);
    const model = decodeModel(bytes);
    verifyStructure(model);
    verifyShapes(model);
    const cost = modelCost(model, [1, 3, 224, 224]);
    expect([cost.macs, cost.params]).toEqual([entry.macs, entry.params]);
    expect(model.graph.outputs.map((output) => output.name)).toEqual(entry.outputs.map((output) => output.name));
  });

  it('the one that was shipped before can still be had, for homes that have learnt on it', async () => {
    const [earlier] = await earlierShipped(folder);
    const backbone = await ensureShippedBackbone(folder, earlier);
    expect(backbone.id).toBe('mobilenet-v2-openimages');
    expect(backbone.sha256).toBe('345cc099b9fa37f9296fda3e2098ce320441e0e4723b6065e9f5e77406dff7cf');
    expect(await codeOf(() => ensureShippedBackbone(folder, 'never-shipped'))).not.toBe('nothing was thrown');
    // Whoever adds one is told what is missing.
    expect(await codeOf(() => makeModel({ ...entry, id: 'new' }, folder))).toMatch(/^BACKBONE_NOT_MADE: .+STAGES/);
  });

  // Odd sizes: SAME padding at stride 2 is symmetric there, at even sizes it is not; both must be right.
  it.each([
    [64, 64],
    [33, 50],
  ])('computes what the TFLite graph says, evaluated on its own, at %i x %i', async (height, width) => {
    const source = readTflite((await readFile(packageFile)).subarray(entry.made.from, entry.made.to));
    const at = (name: string) => source.tensors.findIndex((tensor) => tensor.name.split(';')[0] === name);
    const stages = [
      at('FeatureExtractor/MobilenetV2/expanded_conv_6/expand/Relu6'),
      at('FeatureExtractor/MobilenetV2/expanded_conv_10/depthwise/Relu6'),
      at('FeatureExtractor/MobilenetV2/expanded_conv_13/expand/Relu6'),
      at('FeatureExtractor/MobilenetV2/expanded_conv_16/depthwise/Relu6'),
    ];
    const nhwc = Float64Array.from(noise(height * width * 3, 11));
    const expected = evaluateTflite(source, { height, width, depth: 3, data: nhwc }, stages);

    const nchw = Float32Array.from({ length: nhwc.length }, (_, i) => {
      const channel = Math.floor(i / (height * width));
      return nhwc[(i % (height * width)) * 3 + channel]!;
    });
    await using session = await openSession(bytes, { threads: 2 });
    const found = await session.run({ image: { type: 'float32', dims: [1, 3, height, width], data: nchw } });
    for (const [i, stage] of (['s8', 's16_early', 's16', 's32'] as const).entries()) {
      const map = expected[i]!;
      const area = map.height * map.width;
      expect([...found[`map_${stage}`]!.dims]).toEqual([1, map.depth, map.height, map.width]);
      const data = found[`map_${stage}`]!.data as Float32Array;
      const pooled = found[`features_${stage}`]!.data as Float32Array;
      let worst = 0;
      let worstMean = 0;
      for (let channel = 0; channel < map.depth; channel++) {
        let sum = 0;
        for (let k = 0; k < area; k++) {
          const exact = map.data[k * map.depth + channel]!;
          worst = Math.max(worst, Math.abs(exact - data[channel * area + k]!));
          sum += exact;
        }
        worstMean = Math.max(worstMean, Math.abs(sum / area - pooled[channel]!));
      }
      // Values lie in 0..6; float32 through fifty layers.
      expect(worst).toBeLessThan(2e-4);
      expect(worstMean).toBeLessThan(2e-4);
      expect(Math.max(...data)).toBeGreaterThan(0.5);
    }
  });

  it('is found suitable by the same analysis that any model goes through', () => {
    const analysis = analyseBackbone(decodeModel(bytes));
    expect(analysis.problems).toEqual([]);
    expect(analysis.dynamicSize).toBe(true);
    expect(analysis.featureOutputs.map(({ name, channels }) => ({ name, channels }))).toEqual([
      { name: 'features_s8', channels: 192 },
      { name: 'features_s16_early', channels: 384 },
      { name: 'features_s16', channels: 576 },
      { name: 'features_s32', channels: 960 },
    ]);
  });

  describe('in a folder of its own', () => {
    let own: string;
    beforeAll(async () => {
      // Below the project, so that the package is found from there.
      await mkdir(join(folder, '.cache'), { recursive: true });
      own = await mkdtemp(join(folder, '.cache', 'test-'));
      await copyFile(join(folder, 'manifest.json'), join(own, 'manifest.json'));
    });
    afterAll(() => rm(own, { recursive: true, force: true }));

    it('is made when missing, then used as it is', async () => {
      const backbone = await ensureShippedBackbone(own);
      expect(backboneSchema.strict().parse(backbone)).toEqual(backbone);
      expect(sha256(await readFile(backbone.file))).toBe(entry.sha256);
      expect(await ensureShippedBackbone(own)).toEqual(backbone);
    });

    it('is refused when its file was altered', async () => {
      const { file } = await ensureShippedBackbone(own);
      const altered = await readFile(file);
      altered[altered.length >> 1]! ^= 1;
      await writeFile(file, altered);
      expect(await codeOf(() => ensureShippedBackbone(own))).toMatch(/^BUNDLE_ALTERED/);
    });

    it('is refused when the package is missing, of another version or content, or the result differs', async () => {
      const made = (changes: Partial<ManifestEntry['made']>) =>
        writeModel({ ...entry, made: { ...entry.made, ...changes } }, own);
      expect(await codeOf(() => made({ package: '@mediapipe/absent' }))).toMatch(
        /^BACKBONE_NOT_MADE: .*absent .* is not installed/,
      );
      expect(await codeOf(() => made({ version: '9.9.9' }))).toMatch(/^BACKBONE_NOT_MADE: .*9\.9\.9 is needed/);
      expect(await codeOf(() => made({ from: 188 }))).toMatch(/^BACKBONE_NOT_MADE: .*other content/);
      expect(await codeOf(() => writeModel({ ...entry, sha256: '0'.repeat(64) }, own))).toMatch(
        /^BACKBONE_NOT_MADE: .*came out as/,
      );
    });
  });

  it('an import names what it cannot do', async () => {
    const tflite = (await readFile(packageFile)).subarray(entry.made.from, entry.made.to);
    const wanted = (name: string) => importTflite(tflite, { input: 'image', outputs: { out: name } });
    expect(await codeOf(() => wanted('raw_outputs/box_encodings'))).toMatch(/^UNSUPPORTED_OP: (RESHAPE|CONCATENATION)/);
    expect(await codeOf(() => wanted('no such tensor'))).toMatch(/^NOT_FOUND/);
    for (const length of [0, 4, 100, 5000, 1_000_000, tflite.length - 60]) {
      const cut = tflite.subarray(0, length);
      expect(await codeOf(() => importTflite(cut, { input: 'image', outputs: { out: 'x' } }))).toMatch(
        /^(MODEL_UNREADABLE|NOT_FOUND)/,
      );
    }
  });
});
