import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importBackbone, readImportedBackbone } from '../../../main/learning/backbone-file.ts';
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
