import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageSource } from '../../../main/compression/image-source.ts';
import { openWorkshop, type Workshop } from '../../../main/compression/plan/workshop.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { createPreprocessor } from '../../../main/vision/preprocess.ts';
import type { PixelImage } from '../../../main/vision/image.ts';
import { noise, relativeError, runModel } from './networks.ts';
import { smallBackboneFile } from './small-data.ts';

/* Integers on what pruning and distillation made, run by the real runtime. */

const SIZE = 64;
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const held = range(40, 56);

/** Stripes of an own direction, width and colour, with grain. */
const picture = (image: number): PixelImage => {
  const [a, b, c] = noise(3, 911 + image) as unknown as [number, number, number];
  const grain = noise(SIZE * SIZE, 517 + image, 10);
  const data = new Uint8Array(3 * SIZE * SIZE);
  for (let y = 0, at = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      for (let ch = 0; ch < 3; ch++, at++) {
        const value = 128 + 80 * Math.sin((a * x + b * y) * 0.3 + ch * c) + grain[y * SIZE + x]!;
        data[at] = Math.max(0, Math.min(255, value));
      }
    }
  }
  return { width: SIZE, height: SIZE, channels: 3, data };
};

let folder: string;
let shop: Workshop;
let source: ImageSource;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-int8-'));
  const backbone = await smallBackboneFile(folder);
  source = {
    count: 56,
    view: (image) => Promise.resolve({ image: picture(image), region: null }),
    region: () => null,
    tensor: (indices, size) => {
      const preprocessor = createPreprocessor({ size, mean: backbone.mean, std: backbone.std });
      const out = new Float32Array(indices.length * 3 * size * size);
      indices.forEach((image, i) => preprocessor.into(picture(image), null, out, i * 3 * size * size));
      return Promise.resolve(out);
    },
  };
  shop = openWorkshop({
    backbone,
    bytes: await readFile(backbone.file),
    source,
    images: range(0, 40),
    firstTask: range(0, 20),
    untaught: new Set(),
    threads: 1,
    seed: 0,
    teaching: { engine: createOrtEngine(), epochs: () => Promise.resolve(2) },
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('INT8', () => {
  it.each(['none', 'pre-prune', 'post-prune', 'distill'] as const)(
    'of %s: close to its own floats, and smaller',
    async (strategy) => {
      const variant = { strategy, ratio: strategy === 'none' ? 0 : 0.4, inputSize: SIZE };
      const float = await shop.make({ ...variant, precision: 'fp32' });
      const integer = await shop.make({ ...variant, precision: 'int8' });
      expect(integer.ratio).toBe(float.ratio);
      if (strategy !== 'none') expect(float.ratio).toBeGreaterThan(0.2);
      const { nodes, initializers } = integer.model.graph;
      // Every convolution reads integers that are made floats again, which the runtime fuses.
      const made = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node.op])));
      for (const conv of nodes.filter(({ op }) => op === 'Conv')) {
        expect(conv.inputs.slice(0, 2).map((name) => made.get(name))).toEqual(['DequantizeLinear', 'DequantizeLinear']);
      }
      const bytesOf = (of: typeof initializers) => [...of.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
      expect(bytesOf(initializers)).toBeLessThan(bytesOf(float.model.graph.initializers) / 1.5);
      const [a, b] = [
        await runModel(float.model, source, held, SIZE),
        await runModel(integer.model, source, held, SIZE),
      ];
      const error = relativeError(a, b);
      expect(error).toBeGreaterThan(0);
      expect(error).toBeLessThan(0.02);
    },
  );
});
