import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runLearnProtocol } from '../../../main/learning/protocol.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { writeDataset } from './pictures.ts';
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
