import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backbone } from '../../../main/contract/domain.ts';
import type { Measure } from '../../../main/compression/plan/contender.ts';
import { encodeModel, modelCost } from '../../../main/onnx/index.ts';
import { encodePng } from '../../../main/vision/decode.ts';
import { noise, smallBackbone } from './networks.ts';

/** A search on small data that no clock ends: what is tried must not depend on how busy the machine is. */
export const smallSearch = { timeBudgetS: 100_000, maxDropPp: 5, seed: 1, threads: 1 } as const;

/** The small network, or one like it, as an installed backbone of 96 pixels. */
export async function smallBackboneFile(folder: string, model = smallBackbone()): Promise<Backbone> {
  const bytes = encodeModel(model);
  const file = join(folder, 'small.onnx');
  await writeFile(file, bytes);
  const cost = modelCost(model, [1, 3, 96, 96]);
  return {
    id: 'small',
    sha256: createHash('sha256').update(bytes).digest('hex'),
    file,
    inputName: 'image',
    inputSize: 96,
    dynamicSize: true,
    mean: [127.5, 127.5, 127.5],
    std: [127.5, 127.5, 127.5],
    featureOutputs: [{ name: 'features', channels: 24, kind: 'pooled' }],
    features: 24,
    macs: cost.macs,
    params: cost.params,
    source: 'test',
    licence: 'Apache-2.0',
  };
}

export const CLASSES = ['coarse', 'fine', 'plain'] as const;

/** A picture of one of three textures: coarse stripes, fine stripes, none. */
export async function texture(kind: number, seed: number): Promise<Uint8Array> {
  const side = 64;
  const data = new Uint8Array(side * side);
  const grain = noise(side * side, seed * 31 + kind, 12);
  const phase = seed % 17;
  const period = [16, 6, 0][kind]!;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const wave = period === 0 ? 0 : 55 * Math.sin((2 * Math.PI * (x + phase + 0.3 * y)) / period);
      data[y * side + x] = Math.max(0, Math.min(255, 128 + wave + grain[y * side + x]!));
    }
  }
  return encodePng({ width: side, height: side, channels: 1, data });
}

/** <dir>/{train,test}/<class>/n.png. @param testClassOf folder of test image i of a class: other than its own for noise */
export async function writeDataset(
  dir: string,
  {
    train,
    test,
    testClassOf = (kind) => kind,
  }: { train: number; test: number; testClassOf?: (kind: number, i: number) => number },
): Promise<void> {
  for (const [part, count] of [
    ['train', train],
    ['test', test],
  ] as const) {
    for (const name of CLASSES) await mkdir(join(dir, part, name), { recursive: true });
    for (let kind = 0; kind < CLASSES.length; kind++) {
      for (let i = 0; i < count; i++) {
        const seed = (part === 'train' ? 1000 : 5000) + i;
        const folder = part === 'train' ? kind : testClassOf(kind, i);
        await writeFile(join(dir, part, CLASSES[folder]!, `${kind}-${i}.png`), await texture(kind, seed));
      }
    }
  }
}

/**
 * A clock that knows the time of each contender by its name, so that choices can be compared between runs. Everything is still
 * run once.
 */
export const fakeMeasure: Measure = async (contenders) => {
  const times = new Map<string, { p50: number; p99: number; samples: number[]; coldP50: number }>();
  for (const { name, run } of contenders) {
    await run();
    const size = Number(/-(\d+)-(?:fp32|int8)$/.exec(name)?.[1] ?? 96);
    const pruned = Number(/prune-(\d+)-/.exec(name)?.[1] ?? 0) / 100;
    const ms = 10 * (size / 96) ** 2 * (1 - pruned) * (name.endsWith('int8') ? 0.5 : 1);
    times.set(name, { p50: ms, p99: ms, coldP50: ms, samples: Array.from({ length: 300 }, () => ms) });
  }
  return times;
};
