import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cli } from '../helpers/cli.ts';
import { writeParts } from '../helpers/parts-on-disk.ts';

let folder: string;
const classes = ['ok', 'scratch', 'pit'];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-cli-novelty-'));
  await writeParts(join(folder, 'set', 'train'), { perClass: 12, classes, seed: 1 });
  await writeParts(join(folder, 'set', 'test'), { perClass: 5, classes, seed: 2 });
  // Good parts alone to learn from, as MVTec AD has them.
  await cp(join(folder, 'set', 'test'), join(folder, 'good', 'test'), { recursive: true });
  await cp(join(folder, 'set', 'train', 'ok'), join(folder, 'good', 'train', 'ok'), { recursive: true });
  for (const at of ['set/train/ok', 'good/train/ok', 'good/test/pit'])
    await writeFile(join(folder, at, 'broken.png'), 'no picture');
  await writeParts(join(folder, 'two', 'train'), { perClass: 3, classes: ['ok', 'pit'], seed: 3 });
  await writeParts(join(folder, 'two', 'test'), { perClass: 2, classes: ['ok', 'pit'], seed: 4 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const codeOf = async (...args: string[]) => {
  const { code, json } = await cli([...args, '--json']);
  expect(code).toBe(1);
  return (json() as { error: { code: string } }).error.code;
};

describe('novelty and anomaly on the command line', () => {
  test('novelty gives an AUROC per held-out class and their mean, and says what it left out', async () => {
    const { code, json, stderr } = await cli(['novelty', join(folder, 'set'), '--json']);
    expect(code, stderr).toBe(0);
    const { auroc, mean, threads } = json() as { auroc: Record<string, number>; mean: number; threads: number };
    expect(threads).toBe(2);
    expect(Object.keys(auroc).toSorted()).toEqual(classes.toSorted());
    const values = Object.values(auroc);
    expect(mean).toBeCloseTo(values.reduce((a, b) => a + b, 0) / 3, 12);
    // New defects are told better than by a coin; a good part that was never seen lies between defects and is not, on this small set.
    expect((auroc['scratch']! + auroc['pit']!) / 2).toBeGreaterThan(0.65);
    const broken = { name: 'train/ok/broken.png', problem: expect.stringContaining('broken.png') };
    expect(json()).toMatchObject({ skipped: [broken] });
    expect(stderr).toContain('train/ok/broken.png is left out: ');
  });

  test('anomaly learns the good class alone, and needs no other to learn from', async () => {
    const { code, json, stderr } = await cli(['anomaly', join(folder, 'good'), '--ok-class', 'ok', '--json']);
    expect(code, stderr).toBe(0);
    const { auroc, perClass, threads, skipped, okParts } = json() as {
      auroc: number;
      perClass: Record<string, number>;
      threads: number;
      skipped: { name: string }[];
      okParts: number;
    };
    expect(skipped.map(({ name }) => name)).toEqual(['train/ok/broken.png', 'test/pit/broken.png']);
    expect(stderr).toContain('test/pit/broken.png is left out: ');
    expect(okParts).toBe(12);
    expect(threads).toBe(2);
    expect(Object.keys(perClass).toSorted()).toEqual(['pit', 'scratch']);
    expect(auroc).toBeGreaterThan(0.8);
  });

  test('label-curve says how many threads it took, as the others do', async () => {
    const args = ['label-curve', join(folder, 'two'), '--seeds', '1', '--threads', '1', '--json'];
    const { code, json, stderr } = await cli(args);
    expect(code, stderr).toBe(0);
    expect(json()).toMatchObject({ threads: 1, labels: [6], seeds: 1 });
  });

  test('what cannot be measured is said', async () => {
    await cp(join(folder, 'good'), join(folder, 'lost'), { recursive: true });
    for (const name of await readdir(join(folder, 'lost', 'test', 'ok')))
      await writeFile(join(folder, 'lost', 'test', 'ok', name), 'no picture');
    expect(await codeOf('anomaly', join(folder, 'lost'), '--ok-class', 'ok')).toBe('DATASET_CLASSES_DIFFER');
    expect(await codeOf('novelty', join(folder, 'two'))).toBe('TOO_FEW_CLASSES');
    expect(await codeOf('anomaly', join(folder, 'set'), '--ok-class', 'fine')).toBe('NOT_FOUND');
    expect(await codeOf('anomaly', join(folder, 'two'), '--ok-class', 'ok')).toBe('INVALID_INPUT');
  });
});
