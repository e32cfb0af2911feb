import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256 } from '../../../main/audit/canonical.ts';
import { shareGolden, tryGolden } from '../../../main/compression/golden.ts';
import { recipeSchema } from '../../../main/contract/domain.ts';
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
