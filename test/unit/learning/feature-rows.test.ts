import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { appendFeatureRows, readLooks, readRowsOf, writeLooks } from '../../../main/learning/feature-rows.ts';
import { smallDisk } from '../../helpers/small-disk.ts';
import { testBackbone } from '../core/world.ts';

let disk: string;
let file: string;
let unmount: (() => void) | null = null;
beforeEach(() => {
  disk = mkdtempSync(join(tmpdir(), 'mekiki-rows-'));
  file = join(disk, 'bb.f32');
});
afterEach(() => {
  unmount?.();
  unmount = null;
  rmSync(disk, { recursive: true, force: true });
});

test('a disk that takes a part of the rows, or of their looks, is full', async (context) => {
  unmount = smallDisk(disk, '64k');
  context.skip(unmount === null, 'this account may not mount a small disk');
  const kept = new Float32Array(4).fill(1);
  expect(await appendFeatureRows(file, kept, testBackbone)).toBe(0);
  const full = { code: 'DISK_FULL' };
  await expect(appendFeatureRows(file, new Float32Array(30_000), testBackbone)).rejects.toMatchObject(full);
  expect(await readRowsOf(file, [0], testBackbone)).toEqual(kept);

  rmSync(file);
  await writeLooks(file, 0, ['1'.repeat(16)]);
  const looks = Array.from({ length: 10_000 }, () => '2'.repeat(16));
  await expect(writeLooks(file, 1, looks)).rejects.toMatchObject(full);
  expect(await readLooks(file, [0])).toEqual(['1'.repeat(16)]);
});

test('rows and looks of several appends lie under the numbers that were told', async () => {
  for (const value of [1, 2]) {
    const first = await appendFeatureRows(file, new Float32Array(8).fill(value), testBackbone);
    await writeLooks(file, first, [`${value}`.repeat(16), `${value}`.repeat(16)]);
  }
  expect([...(await readRowsOf(file, [3, 0], testBackbone))]).toEqual([2, 2, 2, 2, 1, 1, 1, 1]);
  expect(await readLooks(file, [0, 2])).toEqual(['1'.repeat(16), '2'.repeat(16)]);
  // A row that a crash cut short is filled up.
  appendFileSync(file, Buffer.alloc(5));
  expect(await appendFeatureRows(file, new Float32Array(4).fill(3), testBackbone)).toBe(5);
  expect([...(await readRowsOf(file, [4, 5], testBackbone))]).toEqual([0, 0, 0, 0, 3, 3, 3, 3]);
});
