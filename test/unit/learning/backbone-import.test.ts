import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBackbone, normalisationBeside, readImportedBackbone } from '../../../main/learning/backbone-file.ts';
import { writeModelFile } from '../../../main/onnx/index.ts';
import { smallBackbone } from '../compression/networks.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-backbone-import-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('a backbone with its weights in a file beside it is taken as the same one with them inside', async () => {
  const [whole, split] = [join(folder, 'whole.onnx'), join(folder, 'split.onnx')];
  writeModelFile(whole, smallBackbone());
  writeModelFile(split, smallBackbone(), { externalAbove: 256 });
  const data = (await readdir(folder)).filter((name) => name.startsWith('split.onnx.'));
  expect(data).toHaveLength(1);
  const options = { folder: join(folder, 'taken'), threads: 1 };
  const [one, other] = [await importBackbone(whole, options), await importBackbone(split, options)];
  expect(other.sha256).toBe(one.sha256);
  expect(await readFile(other.file)).toEqual(await readFile(one.file));

  // Scaled otherwise it is another one: what was learnt on the first goes on with it.
  await writeFile(`${whole}.json`, JSON.stringify({ mean: 0, std: 1, pixels: 255 }));
  const scaled = await importBackbone(whole, options);
  expect(scaled).toMatchObject({ sha256: one.sha256, mean: [0, 0, 0], std: [1, 1, 1] });
  expect(scaled.id).not.toBe(one.id);
  expect(await readImportedBackbone(options.folder, one.id)).toEqual(one);
  expect(await readImportedBackbone(options.folder, scaled.id)).toEqual(scaled);
  expect((await importBackbone(whole, options)).id).toBe(scaled.id);

  await rm(join(folder, data[0]!));
  expect(await readImportedBackbone(options.folder, other.id)).toEqual(other);
  await expect(importBackbone(split, options)).rejects.toMatchObject({ code: 'MODEL_DATA_MISSING' });
});

describe('a file beside a model that should state how its pixels are scaled', () => {
  const right = '{"mean": [103, 116, 123], "std": 58}';
  const read = { mean: [103, 116, 123], std: [58, 58, 58], from: 'file' };
  const beside = async (name: string, text: string | null) => {
    const at = await mkdtemp(join(folder, 'beside-'));
    if (text === null) await mkdir(join(at, name));
    else await writeFile(join(at, name), text);
    return { file: join(at, 'm.onnx'), sidecar: join(at, name) };
  };

  it.each(['m.onnx.json', 'm.json'])('%s: with a byte order mark it is read as without', async (name) => {
    expect(await normalisationBeside((await beside(name, right)).file)).toEqual(read);
    expect(await normalisationBeside((await beside(name, `\uFEFF${right}`)).file)).toEqual(read);
  });

  it.skipIf(process.platform === 'win32')('a pipe is refused, and not waited for', async () => {
    const at = await mkdtemp(join(folder, 'beside-'));
    execFileSync('mkfifo', [join(at, 'm.json')]);
    await expect(normalisationBeside(join(at, 'm.onnx'))).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      details: { what: join(at, 'm.json'), problem: 'it is no file' },
    });
  });

  it.each([
    ['m.onnx.json', '{bad', 'it is no JSON: '],
    ['m.onnx.json', '', 'it is no JSON: '],
    ['m.onnx.json', '{"mean": 127.5, "std": 127.5,}', 'it is no JSON: '],
    ['m.onnx.json', '{"mean": 127.5, "std": [58, 0, 58]}', 'std: it must be above 0'],
    ['m.onnx.json', '{"std": 58, "note": "(p-127.5)/127.5"}', 'mean: a number or [r, g, b] is needed'],
    ['m.onnx.json', '{"labels": ["a"]}', 'mean: a number or [r, g, b] is needed; std: a number or [r, g, b] is needed'],
    ['m.onnx.json', null, 'EISDIR'],
    ['m.json', '{"mean": 127.5, "std": 127.5,}', 'it is no JSON: '],
    ['m.json', '{"mean": 127.5, "std": "58"}', 'std: a number or [r, g, b] is needed'],
    ['m.json', null, 'EISDIR'],
  ])('%s: %s is refused by name', async (name, text, problem) => {
    const { file, sidecar } = await beside(name, text);
    await expect(normalisationBeside(file)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      details: { what: sidecar, problem: expect.stringContaining(problem) },
    });
  });

  it.each([
    ['m.json', '{bad'],
    ['m.json', '{"labels": ["mean"]}'],
    ['m.md', '# "mean": as usual'],
  ])('%s: %s may be about something else', async (name, text) => {
    expect(await normalisationBeside((await beside(name, text)).file)).toMatchObject({ from: 'assumed' });
  });
});
