import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWorkshop } from '../../../main/compression/plan/workshop.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { encodeModel, runtimeInputs, setInputSize } from '../../../main/onnx/index.ts';
import { randomImages, smallBackbone } from './networks.ts';
import { smallBackboneFile } from './small-data.ts';

let folder: string;
let backbone: Backbone;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-workshop-'));
  backbone = await smallBackboneFile(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const teaching = { engine: createOrtEngine(), epochs: () => Promise.resolve(2) };
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe('workshop', () => {
  it('pre-prune depends on the first task alone, post-prune on all images', async () => {
    const bytes = await readFile(backbone.file);
    const open = (images: number[]) =>
      openWorkshop({
        backbone,
        bytes,
        source: randomImages(60),
        images,
        firstTask: range(0, 20),
        untaught: new Set(),
        threads: 1,
        seed: 0,
        teaching,
      });
    const variant = { ratio: 0.3, inputSize: 64, precision: 'fp32' } as const;
    const [one, two] = [open(range(0, 40)), open([...range(0, 20), ...range(40, 60)])];
    const pre = { ...variant, strategy: 'pre-prune' } as const;
    expect(Buffer.compare((await one.make(pre)).bytes, (await two.make(pre)).bytes)).toBe(0);
    const post = { ...variant, strategy: 'post-prune' } as const;
    expect(Buffer.compare((await one.make(post)).bytes, (await two.make(post)).bytes)).not.toBe(0);
  });

  it('fits weights and ranges to one part of the images, and has the model compared on the other', async () => {
    const seen = new Set<number>();
    const images = randomImages(60);
    const apart = new Set(range(20, 60));
    const shop = openWorkshop({
      backbone,
      bytes: await readFile(backbone.file),
      source: {
        ...images,
        tensor: (indices, size) => {
          indices.forEach((image) => seen.add(image));
          return images.tensor(indices, size);
        },
      },
      images: range(0, 60),
      firstTask: range(12, 24),
      untaught: new Set(),
      apart,
      threads: 1,
      seed: 0,
      teaching,
    });
    const variant = { strategy: 'post-prune', ratio: 0.3, inputSize: 64, precision: 'int8' } as const;
    expect((await shop.make(variant)).untaught).toEqual(apart);
    expect(seen.size).toBeGreaterThan(0);
    expect([...seen].filter((image) => apart.has(image))).toEqual([]);
    // Nothing is fitted to a smaller input, next to nothing by integers.
    expect((await shop.make({ ...variant, strategy: 'none', ratio: 0, precision: 'fp32' })).untaught).toBeNull();
    expect((await shop.make({ ...variant, strategy: 'none', ratio: 0 })).untaught).toBeNull();
    expect([...seen].filter((image) => apart.has(image))).toEqual([]);
    // By the first task alone: later ones tell as well what it is worth.
    seen.clear();
    const { untaught } = await shop.make({ ...variant, strategy: 'pre-prune', precision: 'fp32' });
    expect([...seen].toSorted((a, b) => a - b)).toEqual(range(12, 20));
    expect(untaught).toEqual(new Set([...range(0, 12), ...range(20, 60)]));
  });

  it.each([
    ['as a whole', 20],
    ['but for two images, which would tell nothing', 18],
  ])('fits to a first task that lies apart %s, and has the model compared on the later ones', async (_, from) => {
    const shop = openWorkshop({
      backbone,
      bytes: await readFile(backbone.file),
      source: randomImages(60),
      images: range(0, 60),
      firstTask: range(from, from + 8),
      untaught: new Set(),
      apart: new Set(range(20, 60)),
      threads: 1,
      seed: 0,
      teaching,
    });
    const { ratio, untaught } = await shop.make({
      strategy: 'pre-prune',
      ratio: 0.3,
      inputSize: 64,
      precision: 'fp32',
    });
    expect(ratio).toBeGreaterThan(0.2);
    expect(untaught).toEqual(new Set([...range(0, from), ...range(from + 8, 60)]));
  });

  it('asks for more images where a first task has too few to prune by', async () => {
    const shop = openWorkshop({
      backbone,
      bytes: await readFile(backbone.file),
      source: randomImages(20),
      images: range(0, 20),
      firstTask: [0, 1],
      untaught: new Set(),
      threads: 1,
      seed: 0,
      teaching,
    });
    const variant = { ratio: 0.3, inputSize: 64, precision: 'fp32' } as const;
    await expect(shop.make({ ...variant, strategy: 'pre-prune' })).rejects.toMatchObject({
      code: 'TOO_FEW_IMAGES',
      details: { what: 'the first task', found: 2, needed: 8, missing: 6 },
    });
    expect((await shop.make({ ...variant, strategy: 'post-prune' })).ratio).toBeGreaterThan(0.2);
  });

  it('takes a backbone whose file fixes one picture in each run, but has no student taught by it', async () => {
    const fixed = setInputSize(smallBackbone(), { batch: 1, height: 64, width: 64 });
    const shop = openWorkshop({
      backbone: { ...backbone, inputSize: 64, dynamicSize: false },
      bytes: encodeModel(fixed),
      source: randomImages(30),
      images: range(0, 30),
      firstTask: range(0, 10),
      untaught: new Set(),
      threads: 1,
      seed: 0,
      teaching,
    });
    const variant = { ratio: 0.3, inputSize: 64, precision: 'int8' } as const;
    for (const strategy of ['pre-prune', 'post-prune'] as const) {
      const { model } = await shop.make({ ...variant, strategy });
      expect(runtimeInputs(model.graph)[0]!.shape).toEqual([1, 3, 64, 64]);
    }
    await expect(shop.make({ ...variant, strategy: 'distill' })).rejects.toMatchObject({ code: 'BACKBONE_UNSUITABLE' });
  });

  it('gives the same bytes for the same variant and seed', async () => {
    const bytes = await readFile(backbone.file);
    const variant = { strategy: 'post-prune', ratio: 0.4, inputSize: 64, precision: 'int8' } as const;
    const make = async () => {
      const source = randomImages(30);
      const shop = openWorkshop({
        backbone,
        bytes,
        source,
        images: range(0, 30),
        firstTask: [0],
        untaught: new Set(),
        threads: 1,
        seed: 7,
        teaching,
      });
      return (await shop.make(variant)).bytes;
    };
    expect(Buffer.compare(await make(), await make())).toBe(0);
  });

  it('does not teach a student with what it is to be judged by', async () => {
    const images = randomImages(40);
    const seen = new Set<number>();
    const shop = openWorkshop({
      backbone,
      bytes: await readFile(backbone.file),
      source: {
        ...images,
        view: (image) => {
          seen.add(image);
          const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * (7 + image) + 31 * image) % 256);
          return Promise.resolve({ image: { width: 64, height: 64, channels: 3, data }, region: null });
        },
      },
      images: range(0, 40),
      firstTask: [0],
      untaught: new Set(range(0, 8)),
      threads: 1,
      seed: 0,
      teaching,
    });
    const variant = { ratio: 0.3, inputSize: 64, precision: 'fp32' } as const;
    expect((await shop.make({ ...variant, strategy: 'post-prune' })).untaught).toBeNull();
    seen.clear();
    const student = await shop.make({ ...variant, strategy: 'distill' });
    expect(student.untaught).toEqual(new Set(range(0, 8)));
    expect([...seen].toSorted((a, b) => a - b)).toEqual(range(8, 40));
  });

  it('makes every layer an integer, and keeps some float only when asked to be careful', async () => {
    const shop = openWorkshop({
      backbone,
      bytes: await readFile(backbone.file),
      source: randomImages(40),
      images: range(0, 40),
      firstTask: [0],
      untaught: new Set(),
      threads: 1,
      seed: 0,
      teaching,
    });
    const float = await shop.make({ strategy: 'none', ratio: 0, inputSize: 64, precision: 'fp32' });
    expect(float.careful).toBeNull();
    const all = await shop.make({ strategy: 'none', ratio: 0, inputSize: 64, precision: 'int8' });
    const careful = await all.careful?.();
    expect(careful === undefined || careful.bytes.length > all.bytes.length).toBe(true);
  });
});
