import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBackbone } from '../../../main/learning/backbone-file.ts';
import { openProducts } from '../../../main/learning/dense.ts';
import { openExtractor } from '../../../main/learning/extract.ts';
import { solveKnowledge } from '../../../main/learning/knowledge.ts';
import { runLearnProtocol } from '../../../main/learning/protocol.ts';
import { rankQueue } from '../../../main/learning/queue.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { picture, writeDataset } from './pictures.ts';
import { writeTinyBackbone } from './tiny-backbone.ts';

let folder: string;
let backbone: Backbone;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mekiki-protocol-'));
  backbone = await writeTinyBackbone(path.join(folder, 'tiny.onnx'));
  await writeDataset(
    path.join(folder, 'set'),
    { '40 dots': 'dots', '7 plain': 'plain', '2 stripes': 'stripes', 傷: 'scratch' },
    { train: 14, test: 6 },
  );
});
afterAll(() => rm(folder, { recursive: true }));
const run = (extra: object = {}) =>
  runLearnProtocol({ dir: path.join(folder, 'set'), backbone, method: 'analytic', threads: 1, seed: 1, ...extra });

describe('runLearnProtocol', () => {
  it('learns class by class what a joint fit learns at once', async () => {
    const lines: string[] = [];
    const result = await run({ onProgress: (line: string) => lines.push(line) });
    expect(result.tasks).toEqual([['2 stripes'], ['40 dots'], ['7 plain'], ['傷']]);
    expect(result.images).toEqual({ train: 56, test: 24 });
    expect(result.accuracy).toBeGreaterThan(0.9);
    expect(result.joint.accuracy).toBe(result.accuracy);
    expect(result.maxWeightDifferenceToJoint).toBeLessThan(1e-6);
    expect(result.matrix[0]).toEqual([1, null, null, null]);
    expect(result.updateSeconds).toHaveLength(4);
    expect(Object.keys(result.perClass)).toEqual(result.classes);
    expect(lines.length).toBeGreaterThan(5);
    const two = await run({ tasks: 2, seed: 9 });
    expect([two.accuracy, two.lambda]).toEqual([result.accuracy, result.lambda]);
    expect(two.matrix[1]).toHaveLength(2);
  });

  it('has the nearest-class-mean baseline behind the same port', async () => {
    const result = await run({ method: 'ncm', tasks: 2 });
    expect(result.maxWeightDifferenceToJoint).toBeLessThan(1e-9);
    expect(result.accuracy).toBe(result.joint.accuracy);
    expect(result.accuracy).toBeGreaterThan(0.5);
  });

  it('tells the pictures it had to leave out, limits shots, and can be cancelled', async () => {
    const bad = path.join(folder, 'set', 'train', '傷', 'broken.png');
    await writeFile(bad, 'not a picture');
    const result = await run({ shots: 3, tasks: 1 });
    await rm(bad);
    expect(result.images.train).toBeLessThanOrEqual(12);
    const whole = await run({ tasks: 1 });
    expect(whole.skipped).toEqual([]);
    await writeFile(bad, 'not a picture');
    const told = await run({ tasks: 1 });
    await rm(bad);
    expect(told.skipped).toEqual([{ name: 'train/傷/broken.png', problem: expect.stringMatching(/broken\.png/) }]);
    expect(told.images.train).toBe(56);
    await expect(run({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

it('rankQueue puts what is new first, and one of many look-alikes before the others', async () => {
  await using products = openProducts({ threads: 1 });
  await using extractor = await openExtractor(backbone, { threads: 1 });
  const known = (['plain', 'stripes'] as const).flatMap((surface) =>
    [...Array(15).keys()].map((i) => ({ surface, image: picture(surface, i) })),
  );
  const featuresOf = (images: ReturnType<typeof picture>[]) =>
    extractor.run(images.map((image) => ({ image, region: null })));
  const { knowledge } = await solveKnowledge(
    {
      features: await featuresOf(known.map(({ image }) => image)),
      stages: [12, 20],
      ledger: known.map(({ surface }, i) => ({
        classId: surface,
        sha: (i % 5).toString(16).padStart(8, '0') + String(i).padStart(56, '0'),
      })),
      okIds: new Set(['plain']),
      criteria: { maxEscape: 0.05, maxOverkill: 0.1 },
    },
    { products },
  );
  const waiting = [
    picture('plain', 50),
    picture('dots', 51),
    picture('plain', 52),
    picture('dots', 51),
    picture('stripes', 53),
  ];
  const features = await featuresOf(waiting);
  features.fill(Number.NaN, 2 * 32, 3 * 32);
  const ranked = await rankQueue(features, knowledge, products);
  expect(ranked.map(({ index }) => index).sort()).toEqual([0, 1, 3, 4]);
  expect([1, 3]).toContain(ranked[0]!.index);
  expect(ranked[0]!.reason).toBe('novel');
  const [first, second] = [1, 3].map((index) => ranked.find((part) => part.index === index)!);
  expect(first!.groupId).not.toBeNull();
  expect(second!.groupId).toBe(first!.groupId);
  expect(Math.abs(first!.usefulness - second!.usefulness)).toBeGreaterThan(0.2);
});

/* The four real sets take minutes: one of them here, by the shortest way; the others by the command line. */
describe.skipIf(!process.env['MEKIKI_DATA'] || !process.env['MEKIKI_MODELS'])(
  'on real images (MEKIKI_DATA, MEKIKI_MODELS)',
  () => {
    it('learns magnetic tiles with a small backbone as well as the joint fit', { timeout: 600_000 }, async () => {
      const small = await importBackbone(path.join(process.env['MEKIKI_MODELS']!, 'mobilenet_v2_0.35_224.onnx'), {
        folder,
        threads: 2,
      });
      const result = await runLearnProtocol({
        dir: path.join(process.env['MEKIKI_DATA']!, 'magnetic_tile'),
        backbone: small,
        method: 'analytic',
        threads: 2,
        seed: 3,
        tasks: 3,
      });
      expect(result.balancedAccuracy).toBeGreaterThan(0.8);
      expect(Math.abs(result.accuracy - result.joint.accuracy)).toBeLessThanOrEqual(0.005);
      expect(result.maxWeightDifferenceToJoint).toBeLessThanOrEqual(1e-6);
    });
  },
);
