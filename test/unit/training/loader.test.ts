import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAppError } from '../../../main/contract/errors.ts';
import { openLoader, type LabelledImage, type LoaderOptions } from '../../../main/training/loader/loader.ts';
import { epochOrder } from '../../../main/training/loader/order.ts';
import { decodeImage } from '../../../main/vision/decode.ts';
import { createPreprocessor } from '../../../main/vision/preprocess.ts';
import { writePictures } from './pictures.ts';

let folder: string;
let images: LabelledImage[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-loader-'));
  images = await writePictures(folder, 5);
});
afterAll(() => rm(folder, { recursive: true }));

const mean = [100, 110, 120] as const;
const std = [50, 60, 70] as const;
const options = (over: Partial<LoaderOptions> = {}): LoaderOptions => ({
  images,
  classes: 3,
  batch: 4,
  size: 16,
  mean,
  std,
  seed: 3,
  broken: 'refuse',
  ...over,
});
const everything = {
  flipHorizontal: 0.5,
  flipVertical: 0.5,
  quarterTurns: 0.5,
  rotateDegrees: 20,
  crop: 0.3,
  brightness: 0.2,
  contrast: 0.2,
  blur: 1,
  cutout: 0.4,
  mixup: 0.4,
};

interface Seen {
  input: Float32Array;
  shares: number[];
  indices: number[];
  labels: number[];
}
async function collect(over: Partial<LoaderOptions>, epoch = 0, from = 0, epochs = 2): Promise<Seen[]> {
  await using loader = openLoader(options(over));
  const seen: Seen[] = [];
  for await (const { input, shares, indices, labels } of loader.batches(epoch, from, epochs)) {
    seen.push({ input: input.slice(), shares: [...shares], indices: [...indices], labels: [...labels] });
  }
  return seen;
}
/** Threads and message ports of this process; files and pipes come and go with the test runner. */
const threads = () =>
  process.getActiveResourcesInfo().filter((name) => name === 'MessagePort' || name === 'Worker').length;

describe('loader', () => {
  it('gives the one preprocessing, to the bit, in the order of the epoch', async () => {
    const seen = await collect({}, 0, 0, 1);
    const order = epochOrder({ labels: images.map(({ label }) => label), batch: 4, seed: 3 }, 0);
    expect(seen.flatMap(({ indices }) => indices)).toEqual([...order]);
    const preprocessor = createPreprocessor({ size: 16, mean, std });
    const expected = new Float32Array(preprocessor.length);
    for (const { input, indices, labels, shares } of seen) {
      for (const [row, index] of indices.entries()) {
        const { image } = await decodeImage(images[index]!.file, { name: 'x', maxPixels: 1e6 });
        preprocessor.into(image, null, expected, 0);
        expect(input.subarray(row * expected.length, (row + 1) * expected.length)).toEqual(expected);
        expect(labels[row]).toBe(images[index]!.label);
        expect(shares.slice(row * 3, row * 3 + 3)).toEqual([0, 1, 2].map((c) => (c === labels[row] ? 1 : 0)));
      }
    }
  });

  it('gives the same batches with any number of threads, any prefetch and no cache', async () => {
    const augmentation = everything;
    const one = await collect({ augmentation, workers: 1 });
    expect(one.length).toBe(8);
    expect(await collect({ augmentation, workers: 3, prefetch: 5 })).toEqual(one);
    expect(await collect({ augmentation, workers: 2, prefetch: 0, cacheBytes: 0 })).toEqual(one);
    expect(await collect({ augmentation, seed: 4 })).not.toEqual(one);
  });

  it('goes on in the middle as if it had not stopped', async () => {
    const all = await collect({ augmentation: everything });
    expect(await collect({ augmentation: everything }, 0, 3)).toEqual(all.slice(3));
    expect(await collect({ augmentation: everything }, 1, 1)).toEqual(all.slice(5));
  });

  it('augments otherwise in every epoch', async () => {
    const seen = await collect({ augmentation: { rotateDegrees: 20 }, shuffle: false });
    expect(seen[0]!.indices).toEqual(seen[4]!.indices);
    expect(seen[0]!.input).not.toEqual(seen[4]!.input);
  });

  it('mixes images and classes by the same share', async () => {
    const plain = await collect({}, 0, 0, 1);
    const mixed = await collect({ augmentation: { mixup: 1 } }, 0, 0, 1);
    const length = 3 * 16 * 16;
    for (const [b, { input, shares, labels }] of mixed.entries()) {
      for (let row = 0; row < 4; row += 1) {
        const next = (row + 1) % 4;
        const own = shares.slice(row * 3, row * 3 + 3);
        expect(own.reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 5);
        if (labels[row] === labels[next]) continue;
        const share = own[labels[row]!]!;
        const at = row * length + 100;
        const expected = share * plain[b]!.input[at]! + (1 - share) * plain[b]!.input[next * length + 100]!;
        expect(input[at]).toBeCloseTo(expected, 4);
      }
    }
  });

  it('names a broken picture and refuses it, or takes the next one of the order', async () => {
    const broken: LabelledImage = { file: join(folder, 'broken.png'), name: 'c1/broken.png', label: 1 };
    await writeFile(broken.file, 'this is no picture');
    const withBroken = [...images.slice(0, 6), broken, ...images.slice(6)];
    await expect(collect({ images: withBroken })).rejects.toSatisfy(
      (error) => isAppError(error, 'IMAGE_UNREADABLE') && error.message.includes('c1/broken.png'),
    );
    for (const workers of [1, 3]) {
      const skipped: string[] = [];
      const onSkipped = ({ name }: LabelledImage) => skipped.push(name);
      const seen = await collect({ images: withBroken, broken: 'skip', onSkipped, workers });
      expect(skipped).toEqual(['c1/broken.png']);
      const order = epochOrder({ labels: withBroken.map(({ label }) => label), batch: 4, seed: 3 }, 0);
      const at = order.indexOf(6);
      const found = seen.slice(0, 4).flatMap(({ indices }) => indices);
      expect(found).not.toContain(6);
      expect(found[at]).toBe(order[(at + 1) % order.length]);
      expect(seen.flatMap(({ labels }) => labels)).toEqual(
        seen.flatMap(({ indices }) => indices.map((index) => withBroken[index]!.label)),
      );
    }
    await expect(collect({ images: [broken], broken: 'skip' })).rejects.toSatisfy((error) =>
      isAppError(error, 'DATASET_EMPTY'),
    );
  });

  it('leaves no thread behind: after the end, when left early, and after an error', async () => {
    const before = threads();
    await collect({ workers: 3 });
    expect(threads()).toBe(before);
    {
      await using loader = openLoader(options({ workers: 2, prefetch: 3 }));
      for await (const batch of loader.batches(0, 0, 100)) if (batch.indices.length > 0) break;
      // A second run of the same loader after one that was left.
      for await (const batch of loader.batches(0, 2, 1)) expect(batch.indices.length).toBe(4);
      expect(threads()).toBeGreaterThan(before);
    }
    expect(threads()).toBe(before);
    const gone = { file: join(folder, 'gone.png'), name: 'gone.png', label: 0 };
    await expect(collect({ images: [gone], workers: 2 })).rejects.toSatisfy((error) =>
      isAppError(error, 'IMAGE_UNREADABLE'),
    );
    expect(threads()).toBe(before);
  });

  it('refuses an augmentation out of range before it starts a thread', () => {
    const before = threads();
    expect(() => openLoader(options({ augmentation: { crop: 2 } }))).toThrow('augmentation.crop');
    expect(threads()).toBe(before);
  });

  it('holds no more batches than asked for', async () => {
    await using loader = openLoader(options({ prefetch: 1 }));
    const buffers = new Set<ArrayBufferLike>();
    for await (const { input } of loader.batches(0, 0, 6)) buffers.add(input.buffer);
    expect(buffers.size).toBeLessThanOrEqual(3);
  });
});
