import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createOkImages, type OkImages } from '../../main/host/line/ok-images.ts';
import { createImageFiles, type ImageFiles } from '../../main/store/images.ts';

describe('the last pictures of ok parts', () => {
  let home: string;
  let images: ImageFiles;
  let list: OkImages;
  const file = () => join(home, 'a.ok-images');
  /** What a start of the line does. */
  const reopen = (keep: number | null = 2) => (list = createOkImages(file(), () => keep, images));
  const sha = (picture: string) => createHash('sha256').update(picture).digest('hex');
  const stays = (picture: string) => existsSync(images.pathOf(sha(picture)));
  const part = (picture: string, ok: boolean) => list.store(Buffer.from(picture), ok);
  const okParts = async (...pictures: string[]) => {
    for (const picture of pictures) await part(picture, true);
  };

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'mekiki-ok-'));
    images = createImageFiles(home);
    reopen();
  });
  afterEach(() => rmSync(home, { recursive: true }));

  test('beyond so many the oldest is deleted, also over a restart; one with its mark is not', async () => {
    await okParts('one', 'two');
    images.keep(sha('two'));
    reopen();
    await okParts('one', 'three', 'four');
    expect(['one', 'two', 'three', 'four'].map(stays)).toEqual([false, true, true, true]);
  });

  test('when fewer are kept than before, some go with each that comes', async () => {
    reopen(20);
    const old = Array.from({ length: 20 }, (_, n) => `old ${n}`);
    await okParts(...old);
    reopen(2);
    await okParts('new');
    expect(old.filter(stays).length).toBe(16);
    await okParts('a', 'b', 'c', 'd', 'e', 'f');
    expect([...old, 'new', 'a', 'b', 'c', 'd', 'e', 'f'].filter(stays)).toEqual(['e', 'f']);
  });

  test('the picture of a part that was not ok stays when an ok part has the same', async () => {
    await part('bad', false);
    await okParts('bad', 'one', 'two', 'three');
    expect(stays('bad')).toBe(true);
  });

  test('of two parts with the same picture at once the first says whose it is', async () => {
    const [first, second] = await Promise.all([0, 1].map(() => images.putNew(Buffer.from('bad'))));
    expect([first!.isNew, second!.isNew].toSorted()).toEqual([false, true]);
  });

  test('what became the picture of a part that was not ok stays after a restart', async () => {
    await part('bad', true);
    await part('bad', false);
    reopen();
    await okParts('one', 'two', 'three');
    expect(stays('bad')).toBe(true);
  });

  test('also when no picture of an ok part was to be deleted at the time', async () => {
    await part('bad', true);
    reopen(null);
    await part('bad', false);
    reopen();
    await okParts('one', 'two', 'three');
    expect(stays('bad')).toBe(true);
  });

  test('a picture that was deleted and comes again from a part that is not ok stays after a restart', async () => {
    await okParts('bad', 'one', 'two');
    expect(stays('bad')).toBe(false);
    await part('bad', false);
    reopen();
    await okParts('three', 'four', 'five');
    expect(stays('bad')).toBe(true);
  });

  describe('of two stations in one home', () => {
    /** Each keeps its own last two. */
    let other: OkImages;
    beforeEach(() => {
      other = createOkImages(join(home, 'b.ok-images'), () => 2, images);
    });

    test.each([
      ['ok', true],
      ['not ok', false],
    ])('neither deletes the picture of a part of the other that was %s', async (_, ok) => {
      await okParts('same');
      await other.store(Buffer.from('same'), ok);
      await okParts('one', 'two', 'three');
      expect(['same', 'one', 'two', 'three'].map(stays)).toEqual([true, false, true, true]);
    });

    test('nor one that comes while it is being deleted', async () => {
      for (let n = 0; n < 50; n += 1) {
        await okParts(`same ${n}`, `one ${n}`);
        // The next one has the oldest deleted.
        await Promise.all([part(`two ${n}`, true), other.store(Buffer.from(`same ${n}`), false)]);
        expect(stays(`same ${n}`), `${n}`).toBe(true);
      }
      expect(readdirSync(home, { recursive: true }).filter((name) => String(name).endsWith('.tmp'))).toEqual([]);
    });
  });

  test('a torn last line takes no other with it', async () => {
    await part('bad', true);
    writeFileSync(file(), `${readFileSync(file(), 'utf8')}${'a'.repeat(20)}`);
    reopen();
    await part('bad', false);
    reopen();
    await okParts('one', 'two', 'three');
    expect(stays('bad')).toBe(true);
  });

  test('the list is written anew before it grows without end', async () => {
    for (let n = 0; n < 3; n += 1) await okParts(`${n}`);
    for (let n = 0; n < 1100; n += 1) await part('2', true);
    expect(readFileSync(file(), 'utf8').split('\n').length).toBeLessThan(200);
    reopen();
    await okParts('3', '4');
    expect(['1', '2', '3', '4'].map(stays)).toEqual([false, false, true, true]);
  });
});
