import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openWorkshop } from '../../../main/compression/plan/workshop.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { randomImages } from './networks.ts';
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
        threads: 1,
        seed: 7,
        teaching,
      });
      return (await shop.make(variant)).bytes;
    };
    expect(Buffer.compare(await make(), await make())).toBe(0);
  });
});
