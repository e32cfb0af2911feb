import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256 } from '../../../main/audit/canonical.ts';
import { shareGolden, tryGolden } from '../../../main/compression/golden.ts';
import { recipeSchema } from '../../../main/contract/domain.ts';
import { runShadow } from '../../../main/compression/shadow.ts';
import { encodePng } from '../../../main/vision/decode.ts';
import { brightnessModel } from '../../helpers/small-models.ts';
import { texture } from './small-data.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mekiki-leak-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, bytes: Uint8Array) => {
  const file = join(folder, name);
  writeFileSync(file, bytes);
  return { sha: sha256(bytes), file };
};

test('a learnt picture leaks, and so does its brighter copy in another format; other pictures do not', async () => {
  const learnt = await Promise.all(
    Array.from({ length: 12 }, async (_, i) => write(`learnt-${i}.png`, await texture(i % 3, 100 + i))),
  );
  const copy = await sharp(learnt[0]!.file).linear(1.1, 5).jpeg({ quality: 80 }).toBuffer();
  const near = write('near.jpg', copy);
  const others = await Promise.all(
    Array.from({ length: 6 }, async (_, i) => write(`golden-${i}.png`, await texture(i % 3, 900 + i))),
  );
  const broken = write('broken.png', Buffer.from('no picture'));
  const { leaks, results, unreadable } = await tryGolden({
    bundleDir: null,
    recipe: recipeSchema.parse({}),
    golden: [...others, near, learnt[5]!, broken],
    learnt,
    threads: 1,
  });
  expect(leaks).toEqual([
    { sha: near.sha, like: learnt[0]!.sha },
    { sha: learnt[5]!.sha, like: learnt[5]!.sha },
  ]);
  expect(results).toEqual([]);
  expect(unreadable).toEqual([broken.sha]);
});

test('nothing goes to the set that looks like a picture which teaches, be it learnt already or not', async () => {
  const taught = await Promise.all(
    Array.from({ length: 12 }, async (_, i) => write(`taught-${i}.png`, await texture(i % 3, 300 + i))),
  );
  const near = write('like-taught.jpg', await sharp(taught[0]!.file).linear(1.1, 5).jpeg({ quality: 80 }).toBuffer());
  const others = await Promise.all(
    Array.from({ length: 6 }, async (_, i) => write(`fresh-${i}.png`, await texture(i % 3, 700 + i))),
  );
  const gone = { sha: sha256(Buffer.from('gone')), file: join(folder, 'gone.png') };
  const { drawn } = await shareGolden({
    maxPixels: 1e6,
    fresh: [...others, near].map((picture) => ({ ...picture, classId: 'pit' })),
    taught: [...taught, gone].map((picture) => ({ ...picture, row: -1 })),
    golden: [],
    most: [{ classId: 'pit', images: 7 }],
    featureFile: join(folder, 'none.f32'),
  });
  expect(drawn.map(({ sha }) => sha)).toEqual(others.map(({ sha }) => sha).toSorted());
});

test('golden test and shadow judge as the line does: by the recipe of each model, else by that of the station', async () => {
  const bundle = (id: string, over: Parameters<typeof brightnessModel>[0]) => {
    const dir = join(folder, id);
    mkdirSync(dir);
    const { bytes, card } = brightnessModel({ id, ...over });
    writeFileSync(join(dir, 'model.onnx'), bytes);
    writeFileSync(join(dir, 'model.json'), JSON.stringify(card));
    return dir;
  };
  const tiled = recipeSchema.parse({ tiles: { columns: 8, rows: 8, overlap: 0 } });
  const whole = recipeSchema.parse({});
  const [own, none] = [bundle('own', { recipe: tiled }), bundle('none', { recipe: null })];
  // A bright spot that drowns in the whole frame.
  const data = new Uint8Array(64 * 64).fill(128);
  for (let y = 0; y < 8; y += 1) data.fill(235, y * 64, y * 64 + 8);
  const spot = write('spot.png', await encodePng({ width: 64, height: 64, channels: 1, data }));
  const golden = async (bundleDir: string, recipe: typeof whole) =>
    (await tryGolden({ bundleDir, recipe, golden: [spot], learnt: [], threads: 1 })).results[0];
  expect(await golden(own, whole)).toEqual({ sha: spot.sha, verdict: 'ng', classId: 'bright' });
  expect(await golden(none, whole)).toMatchObject({ verdict: 'ok' });
  expect(await golden(none, tiled)).toMatchObject({ verdict: 'ng' });
  const asked = { recipe: whole, frames: [spot], threads: 1, timeBudgetS: 1000, most: 3 };
  const [ng, ok] = [
    { verdict: 'ng', classId: 'bright' },
    { verdict: 'ok', classId: 'ok' },
  ];
  const { examples } = await runShadow({ ...asked, activeDir: none, candidateDir: own });
  expect(examples).toEqual([{ imageSha: spot.sha, from: ok, to: ng }]);
  expect((await runShadow({ ...asked, activeDir: own, candidateDir: none })).examples).toEqual([
    { imageSha: spot.sha, from: ng, to: ok },
  ]);
});
