import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createImageFiles } from '../../main/store/images.ts';

test('a kept picture has its mark beside it, also when marked before the picture arrives', async () => {
  const home = await mkdtemp(join(tmpdir(), 'mekiki-keep-'));
  const images = createImageFiles(home);
  const sha = await images.put(Buffer.from('any bytes'));
  images.keep(sha);
  images.keep(sha);
  expect(existsSync(images.pathOf(sha).replace('.png', '.keep'))).toBe(true);
  const other = 'ab'.repeat(32);
  images.keep(other);
  expect(existsSync(join(home, 'images', 'ab', `${other}.keep`))).toBe(true);
  expect(() => images.keep('../../outside')).toThrow(/does not exist/);
  await rm(home, { recursive: true });
});
