import { describe, expect, it } from 'vitest';
import { AppError } from '../../../main/contract/errors.ts';
import { keepThumbnails } from '../../../main/host/kept-thumbnails.ts';

/** Thumbnails of ten bytes each, and what was asked of whoever makes them. */
const maker = (mostBytes?: number) => {
  const asked: string[] = [];
  const failing = new Set<string>();
  const deleted = new Set<string>();
  const make = async (sha: string, width: number | null) => {
    asked.push(`${sha} ${width}`);
    await Promise.resolve();
    if (failing.has(sha) || deleted.has(sha)) throw new AppError('NOT_FOUND', { kind: 'image', id: sha });
    return Uint8Array.from({ length: 10 }, () => sha.charCodeAt(0));
  };
  return { read: keepThumbnails(make, async (sha) => !deleted.has(sha), mostBytes), asked, failing, deleted };
};

describe('thumbnails that are kept', () => {
  it('are made once for each width, also for those who ask at the same time', async () => {
    const { read, asked } = maker();
    const [first, second] = await Promise.all([read('a', 160), read('a', 160)]);
    expect(second).toBe(first);
    expect(await read('a', 160)).toEqual(first);
    await read('a', 320);
    expect(asked).toEqual(['a 160', 'a 320']);
  });

  it('go when there is no room, the one first that was not asked for longest', async () => {
    const { read, asked } = maker(25);
    for (const sha of ['a', 'b', 'a', 'c', 'a', 'b']) await read(sha, 160);
    expect(asked).toEqual(['a 160', 'b 160', 'c 160', 'b 160']);
  });

  it('are neither the stored file nor a picture to look at', async () => {
    const { read, asked } = maker();
    for (const width of [null, 1600]) for (let i = 0; i < 2; i += 1) await read('a', width);
    expect(asked).toEqual(['a null', 'a null', 'a 1600', 'a 1600']);
  });

  it('go with their picture, at each width, and make room', async () => {
    const { read, asked, deleted } = maker(30);
    for (const width of [160, 320]) await read('a', width);
    await read('b', 160);
    deleted.add('a');
    for (const width of [160, 320]) await expect(read('a', width)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    // Three have room: none of these pushed another out.
    for (const sha of ['c', 'd', 'b', 'c', 'd']) await read(sha, 160);
    expect(asked.slice(5)).toEqual(['c 160', 'd 160']);
    // Stored once more: it is the same picture, for its name is its content.
    deleted.clear();
    expect(await read('a', 160)).toHaveLength(10);
  });

  it('are asked for again after a failure', async () => {
    const { read, failing } = maker();
    failing.add('a');
    await expect(read('a', 160)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    failing.clear();
    expect(await read('a', 160)).toHaveLength(10);
  });
});
