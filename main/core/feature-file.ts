import { open, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backbone } from '../contract/domain.ts';
import { LOOK_BYTES, lookFileOf } from '../learning/feature-rows.ts';
import { writeAll } from '../store/files.ts';

/* features/<backbone>.f32: row-major float32, one row per view. The database says which rows count. */

const BYTES = Float32Array.BYTES_PER_ELEMENT;

export const featureFileOf = (home: string, backboneId: string): string => join(home, 'features', `${backboneId}.f32`);

/**
 * Cuts off rows that a job appended and never committed, so that the next row's number is the database's.
 * @param beforeCut what was made of such rows goes, for their numbers are given again
 */
export const trimFeatureFile = async (
  file: string,
  rows: number,
  backbone: Backbone,
  beforeCut: () => Promise<void>,
): Promise<void> => {
  const handle = await open(file, 'a');
  await handle.close();
  const wanted = rows * backbone.features * BYTES;
  if ((await stat(file)).size > wanted) {
    await beforeCut();
    await truncate(file, wanted);
  }
  const looks = lookFileOf(file);
  const known = await stat(looks).catch(() => null);
  if (known !== null && known.size > rows * LOOK_BYTES) await truncate(looks, rows * LOOK_BYTES);
};

/** Overwrites rows with zeros: what was forgotten may not be read back from the disk. The disk is waited for once: a class that is forgotten has thousands of rows. */
export const eraseRows = async (file: string, rows: readonly number[], features: number): Promise<void> => {
  await eraseBytes(file, rows, features * BYTES);
  const looks = lookFileOf(file);
  if ((await stat(looks).catch(() => null)) !== null) await eraseBytes(looks, rows, LOOK_BYTES);
};

const eraseBytes = async (file: string, rows: readonly number[], length: number): Promise<void> => {
  const handle = await open(file, 'r+');
  try {
    const { size } = await handle.stat();
    const zeros = new Uint8Array(length);
    for (const row of rows) if (size >= (row + 1) * length) await writeAll(handle, zeros, row * length);
    await handle.sync();
  } finally {
    await handle.close();
  }
};
