import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { countPictures, picturesOf } from '../../main/store/check.ts';
import { databaseFile } from '../../main/store/home.ts';
import { imageFile } from '../../main/store/images.ts';
import { openStore } from '../../main/store/open.ts';
import { newPart, newStation } from './examples.ts';

test('of each picture that the database knows it is told which of its files are there', async () => {
  const base = mkdtempSync(join(tmpdir(), 'mekiki-pictures-'));
  try {
    const home = join(base, 'home');
    const store = await openStore({ home, demo: false });
    store.stations.insert(newStation(), new Date());
    // Two of one folder, one of another, and one whose folder is not there.
    const [kept, gone, bare, nowhere] = ['aa1', 'aa2', 'bb1', 'cc1'].map((start) => start.padEnd(64, '0'));
    for (const [n, imageSha] of [nowhere, bare, kept, gone].entries())
      store.parts.insert(newPart({ seq: n + 1, imageSha: imageSha! }));
    store.close();
    for (const sha of [kept!, bare!]) {
      mkdirSync(dirname(imageFile(home, sha)), { recursive: true });
      writeFileSync(imageFile(home, sha), '');
    }
    writeFileSync(imageFile(home, kept!).replace(/png$/, 'keep'), '');
    // Nobody's.
    writeFileSync(imageFile(home, 'aa3'.padEnd(64, '0')), '');

    const found = [];
    for await (const { sha, files } of picturesOf(databaseFile(home), home)) found.push([sha, [...files]]);
    expect(found).toEqual([
      [kept, ['png', 'keep']],
      [gone, []],
      [bare, ['png']],
      [nowhere, []],
    ]);
    expect(countPictures(databaseFile(home))).toBe(4);
  } finally {
    rmSync(base, { recursive: true });
  }
});
