import { open, readFile, stat } from 'node:fs/promises';
import type { Backbone } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { diskError, readAll, writeAll } from '../store/files.ts';

/* The feature file of a backbone: row-major float32, one row per labelled view; beside it the looks. Rows keep their places. */

/** Bytes of one row of a feature file. */
const rowBytes = (backbone: Backbone): number => backbone.features * Float32Array.BYTES_PER_ELEMENT;

/**
 * Reads rows of a feature file.
 * @throws BUNDLE_ALTERED when a row is not there
 */
async function readFeatureRows(
  file: string,
  rows: readonly number[],
  backbone: Pick<Backbone, 'features'>,
): Promise<Float32Array> {
  const out = new Float32Array(rows.length * backbone.features);
  if (rows.length === 0) return out;
  const bytes = backbone.features * Float32Array.BYTES_PER_ELEMENT;
  const handle = await open(file, 'r');
  try {
    const view = new Uint8Array(out.buffer);
    // Rows of one update lie next to each other: read in runs.
    for (let i = 0; i < rows.length;) {
      let run = 1;
      while (i + run < rows.length && rows[i + run] === rows[i]! + run) run += 1;
      const wanted = view.subarray(i * bytes, (i + run) * bytes);
      if (!(await readAll(handle, wanted, rows[i]! * bytes))) throw new AppError('BUNDLE_ALTERED', { file });
      i += run;
    }
  } finally {
    await handle.close();
  }
  return out;
}

/**
 * Rows in any order, each read once, in file order.
 * @param nameOf what errors call the picture of a row; default: its place in the file
 * @throws BUNDLE_ALTERED, FEATURES_NOT_FINITE
 */
export async function readRowsOf(
  file: string,
  rows: readonly number[],
  backbone: Backbone,
  nameOf: (row: number) => string = (row) => `row ${row} of ${file}`,
): Promise<Float32Array> {
  const order = rows.map((_, i) => i).sort((a, b) => rows[a]! - rows[b]!);
  const width = backbone.features;
  const read = await readFeatureRows(
    file,
    order.map((i) => rows[i]!),
    backbone,
  );
  const out = new Float32Array(read.length);
  order.forEach((to, from) => out.set(read.subarray(from * width, (from + 1) * width), to * width));
  const bad = out.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new AppError('FEATURES_NOT_FINITE', { file: nameOf(rows[Math.floor(bad / width)]!) });
  return out;
}

/** Appends rows, on the disk before it returns. Gives the number of the first. */
export async function appendFeatureRows(file: string, features: Float32Array, backbone: Backbone): Promise<number> {
  const bytes = rowBytes(backbone);
  try {
    const handle = await open(file, 'a+');
    try {
      const { size } = await handle.stat();
      const first = Math.ceil(size / bytes);
      // A row that a crash cut short is filled up: rows keep their places.
      if (size % bytes !== 0) await writeAll(handle, new Uint8Array(first * bytes - size));
      await writeAll(handle, new Uint8Array(features.buffer, features.byteOffset, features.byteLength));
      await handle.sync();
      return first;
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw diskError(cause, file);
  }
}

/** Perceptual hashes of the rows of a feature file: eight bytes a row, under the same row numbers. Zeros: not known. */
export const lookFileOf = (featureFile: string): string => featureFile.replace(/(\.f32)?$/, '.look');
export const LOOK_BYTES = 8;

/** Looks of rows; rows that the file does not have (made before it was kept) are not known. */
export async function readLooks(featureFile: string, rows: readonly number[]): Promise<string[]> {
  const bytes = await readFile(lookFileOf(featureFile)).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return Buffer.alloc(0);
    throw cause;
  });
  return rows.map((row) => bytes.toString('hex', row * LOOK_BYTES, (row + 1) * LOOK_BYTES).padEnd(16, '0'));
}

/** @param looks 16 hexadecimal digits each, of the rows from `first` on. @throws DISK_FULL, HOME_NOT_WRITABLE */
export async function writeLooks(featureFile: string, first: number, looks: readonly string[]): Promise<void> {
  const file = lookFileOf(featureFile);
  try {
    // Opened for writing at places: rows before that were never noted stay zeros.
    const handle = await open(
      file,
      await stat(file).then(
        () => 'r+',
        () => 'w+',
      ),
    );
    try {
      await writeAll(handle, Buffer.from(looks.join(''), 'hex'), first * LOOK_BYTES);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw diskError(cause, file);
  }
}
