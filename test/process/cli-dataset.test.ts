import { execFileSync } from 'node:child_process';
import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readModelFile, writeModelFile } from '../../main/onnx/index.ts';
import { cli } from '../helpers/cli.ts';
import { writeParts } from '../helpers/parts-on-disk.ts';
import { smallDisk } from '../helpers/small-disk.ts';
import { writeTinyBackbone } from '../numeric/learning/tiny-backbone.ts';

let folder: string;
const errorOf = (json: unknown) => (json as { error: { code: string; message: string } }).error;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-dataset-'));
  const classes = ['ok', 'scratch', 'pit'];
  await writeParts(join(folder, 'set', 'train'), { perClass: 12, classes, size: 128 });
  await writeParts(join(folder, 'set', 'test'), { perClass: 5, classes, size: 128, seed: 1234 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('learn: keys, task split, and equality with learning all at once', async () => {
  const result = await cli(['learn', join(folder, 'set'), '--tasks', '2', '--json']);
  expect(result.code, result.stderr).toBe(0);
  expect(result.json()).toMatchObject({ normalisation: { from: 'description' } });
  expect(result.stderr).not.toContain('is assumed');
  const json = result.json() as {
    classes: string[];
    tasks: string[][];
    matrix: number[][];
    accuracy: number;
    balancedAccuracy: number;
    averageAccuracy: number;
    bwt: number;
    joint: { accuracy: number; balancedAccuracy: number };
    maxWeightDifferenceToJoint: number;
    updateSeconds: number[];
    images: { train: number; test: number };
    perClass: Record<string, { recall: number; forgetting: number }>;
  };
  expect(json.classes).toEqual(['ok', 'pit', 'scratch']);
  expect(json.tasks).toHaveLength(2);
  expect(json.tasks.flat()).toEqual(json.classes);
  expect(json.matrix).toHaveLength(2);
  expect(json.images).toEqual({ train: 36, test: 15 });
  expect(json.maxWeightDifferenceToJoint).toBeLessThanOrEqual(1e-6);
  expect(json.accuracy).toBeGreaterThan(0.6);
  expect(Math.abs(json.accuracy - json.joint.accuracy)).toBeLessThanOrEqual(0.005);
  expect(Object.keys(json.perClass)).toEqual(json.classes);
  expect(json.updateSeconds).toHaveLength(2);
});

test('wrong usage exits with 2', async () => {
  expect((await cli(['learn'])).code).toBe(2);
  expect((await cli(['learn', folder, '--tasks', 'many'])).code).toBe(2);
  expect((await cli(['nonsense'])).code).toBe(2);
});

test('an option that would change nothing is refused', async () => {
  const refused = await cli(['learn', join(folder, 'set'), '--size', '96', '--json']);
  expect(refused.code).toBe(2);
  expect(errorOf(refused.json()).code).toBe('INVALID_INPUT');
});

describe('a folder for what is made that takes nothing is told as that of its option, before anything is read', () => {
  const refused = async (...args: string[]) => {
    const option = args.at(-2)!;
    const { json } = await cli([...args, '--json']);
    expect(errorOf(json())).toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining(`${option} is not valid`) as unknown,
    });
  };

  test('a file in its place', async () => {
    const file = join(folder, 'a-file');
    await writeFile(file, '');
    for (const option of ['--out', '--work']) await refused('compress', join(folder, 'set'), option, file);
  });

  test('a disk that is only to be read', async () => {
    const disk = join(folder, 'disk');
    await mkdir(disk);
    const unmount = smallDisk(disk, '4k');
    if (unmount === null) return;
    try {
      execFileSync('mount', ['-o', 'remount,ro', disk]);
      const set = join(folder, 'set');
      // What is searched would be kept elsewhere, and lost at its end.
      await refused('compress', set, '--work', join(folder, 'work'), '--out', disk);
      await refused('bench', 'compress', set, '--work', disk);
      await refused('train', set, '--epochs', '1', '--checkpoint', join(disk, 'x'));
    } finally {
      unmount();
    }
  });
});

test('a folder that is no data set, an empty one, and one whose classes differ', async () => {
  const missing = await cli(['learn', join(folder, 'nowhere'), '--json']);
  expect(missing.code).toBe(1);
  expect(errorOf(missing.json()).code).toBe('DATASET_NOT_FOUND');

  const empty = join(folder, 'empty');
  for (const part of ['train/a', 'train/b', 'test/a', 'test/b']) await mkdir(join(empty, part), { recursive: true });
  expect(errorOf((await cli(['learn', empty, '--json'])).json()).code).toBe('DATASET_EMPTY');

  const differing = join(folder, 'differing');
  await writeParts(join(differing, 'train'), { perClass: 2, classes: ['ok', 'pit'], size: 64 });
  await writeParts(join(differing, 'test'), { perClass: 2, classes: ['ok', 'scratch'], size: 64 });
  expect(errorOf((await cli(['learn', differing, '--json'])).json()).code).toBe('DATASET_CLASSES_DIFFER');
});

test('pictures under two labels are told, those that are none left out by name, and that a scaling is assumed', async () => {
  await writeTinyBackbone(join(folder, 'tiny.onnx'));
  const bad = join(folder, 'bad');
  await cp(join(folder, 'set'), bad, { recursive: true });
  const ok = join(bad, 'train', 'ok');
  const [first, second] = (await readdir(ok)).sort();
  await copyFile(join(ok, first!), join(bad, 'train', 'pit', 'again.png'));
  await writeFile(join(ok, second!), (await readFile(join(ok, second!))).subarray(0, 700));
  await writeFile(join(bad, 'train', 'pit', 'note.png'), 'a text');
  await writeFile(join(bad, 'train', 'scratch', 'none.png'), '');
  const result = await cli(['learn', bad, '--tasks', '1', '--backbone', join(folder, 'tiny.onnx'), '--json']);
  expect(result.code, result.stderr).toBe(0);
  const half = [127.5, 127.5, 127.5];
  expect(result.json()).toMatchObject({ normalisation: { mean: half, std: half, from: 'assumed' } });
  expect(result.stderr).toMatch(/^No file beside tiny\.onnx states .* state it in tiny\.onnx\.json/m);
  const json = result.json() as {
    images: { train: number };
    skipped: { name: string; problem: string }[];
    contradicting: { classes: string[]; files: string[] }[];
  };
  expect(json.contradicting).toEqual([{ classes: ['ok', 'pit'], files: [`train/ok/${first}`, 'train/pit/again.png'] }]);
  expect(json.skipped.map(({ name }) => name).sort()).toEqual([
    `train/ok/${second}`,
    'train/pit/note.png',
    'train/scratch/none.png',
  ]);
  for (const { name, problem } of json.skipped) {
    expect(problem).toMatch(/damaged|empty/);
    expect(result.stderr).toContain(`${name} is left out: ${problem}`);
  }
  expect(json.images.train).toBe(36);
});

test('a file that is no model is refused by name', async () => {
  const file = join(folder, 'broken.onnx');
  await writeFile(file, Buffer.from('this is no protobuf at all, and never was'));
  const info = await cli(['graph', 'info', file, '--json']);
  expect(info.code).toBe(1);
  expect(['MODEL_UNREADABLE', 'GRAPH_INVALID']).toContain(errorOf(info.json()).code);
  const learn = await cli(['learn', join(folder, 'set'), '--backbone', file, '--json']);
  expect(learn.code).toBe(1);
  expect(errorOf(learn.json()).message).toContain('broken.onnx');
});

test('the shipped backbone as data', async () => {
  const list = await cli(['backbones', '--home', join(folder, 'none'), '--json']);
  const { backbones } = list.json() as {
    backbones: { id: string; sha256: string; macs: number; features: number; file: string }[];
  };
  expect(backbones).toHaveLength(1);
  expect(backbones[0]!.macs).toBeGreaterThan(1e8);
  const info = await cli(['graph', 'info', backbones[0]!.file, '--json']);
  expect(info.json()).toMatchObject({ opset: 17, macs: backbones[0]!.macs });

  // One that cannot be read takes no other away.
  await mkdir(join(folder, 'home', 'backbones'), { recursive: true });
  await writeFile(join(folder, 'home', 'backbones', 'bad.json'), '{bad');
  const others = await cli(['backbones', '--home', join(folder, 'home'), '--json']);
  expect(others.json()).toEqual(list.json());
  expect(others.stderr).toContain('backbone bad is left out: ');

  // The same model with its weights in a file beside it, and without that file.
  const split = join(folder, 'split.onnx');
  writeModelFile(split, readModelFile(backbones[0]!.file), { externalAbove: 1024 });
  expect((await cli(['graph', 'info', split, '--json'])).json()).toEqual(info.json());
  for (const name of await readdir(folder)) if (name.startsWith('split.onnx.')) await rm(join(folder, name));
  const lost = await cli(['graph', 'info', split, '--json']);
  expect(errorOf(lost.json()).code).toBe('MODEL_DATA_MISSING');
});
