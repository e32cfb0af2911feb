import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkClassName } from '../../../main/contract/class-name.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { evaluateAnomaly } from '../../../main/learning/anomaly/evaluation.ts';
import { contradictionsOf, scanDataset } from '../../../main/learning/dataset.ts';
import { measureLabelCurve } from '../../../main/learning/label-curve.ts';
import { evaluateNovelty } from '../../../main/learning/novelty-evaluation.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'mekiki-dataset-'));
});
afterEach(() => rm(dir, { recursive: true }));

const put = async (name: string, content = name) => {
  const file = path.join(dir, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, content);
  return file;
};

describe('scanDataset', () => {
  it('reads classes with spaces and Japanese names, in name order, and leaves clutter alone', async () => {
    for (const part of ['train', 'test']) {
      for (const name of ['傷 あり', 'ok part', 'Äther']) await put(`${part}/${name}/a.png`, `${part}${name}`);
      await put(`${part}/.DS_Store`);
      await put(`${part}/ok part/Thumbs.db`);
      await put(`${part}/ok part/.hidden.png`);
      for (const end of ['part', 'partial']) await put(`${part}/ok part/copying.png.${end}`);
    }
    const set = await scanDataset(dir);
    expect(set.classes).toEqual(['ok part', 'Äther', '傷 あり']);
    expect(set.train.map(({ name }) => name)).toEqual([
      'train/ok part/a.png',
      'train/Äther/a.png',
      'train/傷 あり/a.png',
    ]);
    expect(set.skipped).toEqual([]);
    expect(set.train[0]!.sha).toMatch(/^[0-9a-f]{64}$/);
  });

  it('takes a class with one image, and a class folder that is a link', async () => {
    await put('elsewhere/b/1.png');
    for (const part of ['train', 'test']) {
      await put(`${part}/a/1.png`);
      await symlink(path.join(dir, 'elsewhere', 'b'), path.join(dir, part, 'b'));
    }
    const set = await scanDataset(dir);
    expect([set.classes, set.train.length]).toEqual([['a', 'b'], 2]);
  });

  it('tells what it skips: loose files, folders in a class, dead links', async () => {
    for (const part of ['train', 'test']) await put(`${part}/a/1.png`);
    await put('train/readme.txt');
    await put('train/a/inner/1.png');
    await symlink('nowhere', path.join(dir, 'train', 'a', '2.png'));
    const { skipped, train } = await scanDataset(dir);
    expect(skipped.map(({ name }) => name).sort()).toEqual(['train/a/2.png', 'train/a/inner', 'train/readme.txt']);
    expect(train).toHaveLength(1);
  });

  it.skipIf(process.getuid?.() === 0)('skips a file that may not be read', async () => {
    for (const part of ['train', 'test']) await put(`${part}/a/1.png`);
    await chmod(await put('train/a/2.png'), 0);
    expect((await scanDataset(dir)).skipped.map(({ name }) => name)).toEqual(['train/a/2.png']);
  });

  it('names what is missing', async () => {
    const rejects = (code: string, details: object) =>
      expect(scanDataset(dir)).rejects.toMatchObject({ code, details: expect.objectContaining(details) });
    await rejects('DATASET_NOT_FOUND', { folder: 'train' });
    await put('train/a/1.png');
    await rejects('DATASET_NOT_FOUND', { folder: 'test' });
    await mkdir(path.join(dir, 'test', 'a'), { recursive: true });
    await rejects('DATASET_EMPTY', { path: path.join(dir, 'test') });
    await put('test/a/1.png');
    await put('test/b/1.png');
    await rejects('DATASET_CLASSES_DIFFER', { difference: '"b" has no training image' });
    await put('train/c/1.png');
    await rejects('DATASET_CLASSES_DIFFER', { difference: '"b" has no training image; "c" has no test image' });
  });
});

describe('scanDataset of good parts', () => {
  it('needs them in both parts, and in test what they are told from', async () => {
    const rejects = (okClass: string, code: string, details: object) =>
      expect(scanDataset(dir, { okClass })).rejects.toMatchObject({ code, details });
    await put('train/good/1.png');
    await put('test/hole/1.png');
    await rejects('good', 'DATASET_CLASSES_DIFFER', { difference: '"good" has no test image' });
    await rejects('hole', 'DATASET_CLASSES_DIFFER', { difference: '"hole" has no training image' });
    await rejects('gold', 'NOT_FOUND', { id: 'gold' });
    await put('test/good/1.png');
    const { classes, train, test } = await scanDataset(dir, { okClass: 'good' });
    expect([classes, train.length, test.length]).toEqual([['good', 'hole'], 1, 2]);
    await expect(scanDataset(dir)).rejects.toMatchObject({ code: 'DATASET_CLASSES_DIFFER' });
    await rm(path.join(dir, 'test', 'hole'), { recursive: true });
    await rejects('good', 'INVALID_INPUT', { what: path.join(dir, 'test') });
  });
});

describe('evaluations', () => {
  it('are cancelled while the folder is read, too', async () => {
    for (const name of ['train/a/1.png', 'train/b/1.png', 'test/a/1.png']) await put(name);
    const backbone = { featureOutputs: [] } as unknown as Backbone;
    const options = { dir, backbone, threads: 1, signal: AbortSignal.abort() };
    for (const evaluate of [
      () => measureLabelCurve(options),
      () => evaluateNovelty(options),
      () => evaluateAnomaly({ ...options, okClass: 'b' }),
    ])
      await expect(evaluate()).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('contradictionsOf', () => {
  it('names each picture that lies in two classes, and no copy within one', async () => {
    for (const part of ['train', 'test']) for (const name of ['a', 'b']) await put(`${part}/${name}/1.png`);
    await put('train/a/2.png', 'same');
    await put('train/a/3.png', 'same');
    expect(contradictionsOf((await scanDataset(dir)).train)).toEqual([]);
    await put('train/b/4.png', 'same');
    expect(contradictionsOf((await scanDataset(dir)).train)).toEqual([
      { classes: ['a', 'b'], files: ['train/a/2.png', 'train/a/3.png', 'train/b/4.png'] },
    ]);
  });
});

describe('checkClassName', () => {
  it('takes names, and nothing that could lead elsewhere', () => {
    expect(checkClassName(' 傷 あり ')).toBe('傷 あり');
    // Composed and decomposed forms of one name are one class.
    expect(checkClassName('Ka\u0301')).toBe('K\u00e1');
    for (const name of ['', '  ', '..', '.', '../up', 'a/b', 'a\\b', 'a\nb', 'x\u0000', 'y'.repeat(65)]) {
      expect(() => checkClassName(name)).toThrow(expect.objectContaining({ code: 'BAD_CLASS_NAME' }));
    }
  });
});
