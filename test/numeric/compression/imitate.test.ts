import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { epochsWithin } from '../../../main/compression/distill/epochs.ts';
import { imitate } from '../../../main/compression/distill/imitate.ts';
import { openViews } from '../../../main/compression/distill/views.ts';
import { analysePruning } from '../../../main/compression/prune/analyse.ts';
import { cutChannels } from '../../../main/compression/prune/cut.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { encodeModel, type Model } from '../../../main/onnx/index.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { createImageSource, type ImageSource } from '../../../main/compression/image-source.ts';
import { featuresOf } from '../../../main/compression/plan/evaluate.ts';
import { smallBackbone } from '../../unit/compression/networks.ts';
import { texture } from '../../unit/compression/small-data.ts';

const SIZE = 64;
const backbone = {
  id: 'small',
  inputName: 'image',
  inputSize: SIZE,
  dynamicSize: true,
  mean: [127.5, 127.5, 127.5],
  std: [127.5, 127.5, 127.5],
  features: 24,
  featureOutputs: [{ name: 'features', channels: 24, kind: 'pooled' }],
} as unknown as Backbone;

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'mekiki-imitate-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function textures(count: number): Promise<ImageSource> {
  const images = [];
  for (let i = 0; i < count; i++) {
    const file = join(folder, `${i}.png`);
    await writeFile(file, await texture(i % 3, i));
    images.push({ file, region: null });
  }
  return createImageSource(images, backbone, { rotation: 0, maxPixels: 1e6 });
}

/** A copy that lost every second channel of its widest inner layers, nothing fitted. */
async function mutilated(model: Model, source: ImageSource): Promise<Model> {
  const analysis = await analysePruning(model, source, { images: [0, 1, 2, 3], size: SIZE, threads: 1, seed: 1 });
  const keep = new Map(
    analysis.curves.map(({ group }) => [group.id, Int32Array.from({ length: group.channels / 2 }, (_, i) => 2 * i)]),
  );
  return cutChannels(model, analysis.groups, keep);
}

describe('imitation', () => {
  it('brings a mutilated student nearer to its teacher on images that it was not taught with', async () => {
    const source = await textures(60);
    const teacher = smallBackbone();
    const student = await mutilated(teacher, source);
    const teach = (epochs: number) =>
      imitate(student, {
        backbone,
        teacher,
        source,
        images: Array.from({ length: 45 }, (_, i) => i),
        inputSize: SIZE,
        engine: createOrtEngine(),
        epochs,
        threads: 1,
        seed: 3,
        learningRate: 2e-3,
      });
    const taught = await teach(12);
    const others = Array.from({ length: 15 }, (_, i) => 45 + i);
    const features = async (model: Model) =>
      featuresOf(backbone, encodeModel(model), SIZE, source, others, { threads: 1 });
    const wanted = await features(teacher);
    const distance = async (model: Model) =>
      (await features(model)).reduce((sum, x, i) => sum + (x - wanted[i]!) ** 2, 0);
    const [before, after] = [await distance(student), await distance(taught)];
    expect(before).toBeGreaterThan(0);
    expect(after).toBeLessThan(0.3 * before);
    expect(Buffer.compare(encodeModel(await teach(1)), encodeModel(await teach(1)))).toBe(0);
  });

  it('shows every class equally often', async () => {
    const source = await textures(40);
    const shown = [0, 0];
    const isRare = (image: number) => image >= 36;
    await imitate(smallBackbone(), {
      backbone,
      teacher: smallBackbone(),
      source: {
        ...source,
        view(image) {
          shown[Number(isRare(image))]! += 1;
          return source.view(image);
        },
      },
      images: Array.from({ length: 40 }, (_, i) => i),
      classOf: (image) => (isRare(image) ? 'rare' : 'good'),
      inputSize: SIZE,
      engine: createOrtEngine(),
      epochs: 4,
      threads: 1,
      seed: 3,
    });
    // Once each for the spread of the teacher's values; four epochs of two batches.
    expect(shown).toEqual([36 + 128, 4 + 128]);
  });

  it('stops when asked to', async () => {
    const teacher = smallBackbone();
    const options = {
      backbone,
      teacher,
      source: await textures(6),
      images: [0, 1, 2],
      inputSize: SIZE,
      epochs: 1,
      threads: 1,
    };
    await expect(
      imitate(teacher, { ...options, engine: createOrtEngine(), seed: 0, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('shows teacher and student the same section of a part, each at its own size', async () => {
    const source = { ...(await textures(3)), region: () => ({ x: 8, y: 4, width: 40, height: 40 }) };
    const views = openViews(source, backbone, { augmentation: { crop: 0.4, rotateDegrees: 10 }, seed: 5 });
    const [large, small] = [new Float32Array(3 * 80 * 80), new Float32Array(3 * 40 * 40)];
    await views.into(1, 2, 80, large, 0);
    await views.into(1, 2, 40, small, 0);
    // The larger one, brought down by means of two by two.
    let [ab, aa, bb] = [0, 0, 0];
    for (let y = 0; y < 40; y++) {
      for (let x = 0; x < 40; x++) {
        const at = 2 * y * 80 + 2 * x;
        const mean = (large[at]! + large[at + 1]! + large[at + 80]! + large[at + 81]!) / 4;
        const other = small[y * 40 + x]!;
        [ab, aa, bb] = [ab + mean * other, aa + mean * mean, bb + other * other];
      }
    }
    expect(ab / Math.sqrt(aa * bb)).toBeGreaterThan(0.98);
    const again = new Float32Array(small.length);
    await views.into(1, 2, 40, again, 0);
    expect(again).toEqual(small);
    await views.into(1, 3, 40, again, 0);
    expect(again).not.toEqual(small);
  });

  it('goes through the images as often as the time allows, at least once', () => {
    expect(epochsWithin(60, 1000, { student: 2, teacher: 4, view: 0 })).toBe(5);
    expect(epochsWithin(60, 1000, { student: 2, teacher: 4, view: 3 })).toBe(4);
    expect(epochsWithin(0, 1000, { student: 2, teacher: 4, view: 0 })).toBe(1);
    expect(epochsWithin(1e6, 10, { student: 2, teacher: 4, view: 0 })).toBe(40);
  });
});
