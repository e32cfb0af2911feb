import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { checkClassName } from '../contract/class-name.ts';
import { AppError, problemOf } from '../contract/errors.ts';
import { isClutter } from '../vision/clutter.ts';

export interface DatasetImage {
  /** Absolute path. */
  file: string;
  /** Relative to the data set, with forward slashes: what messages show. */
  name: string;
  className: string;
  /** Of the file's bytes. */
  sha: string;
}

export interface SkippedFile {
  name: string;
  problem: string;
}

export interface Dataset {
  /** In name order (by code unit: the same on every machine and in every language). */
  classes: string[];
  train: DatasetImage[];
  test: DatasetImage[];
  /** What could not even be read; pictures that cannot be decoded are found later, by whoever decodes them. */
  skipped: SkippedFile[];
}

export const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

async function entriesOf(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter(({ name }) => !isClutter(name)).sort((a, b) => byCodeUnit(a.name, b.name));
}

export interface ScanOptions {
  /** Class that is learnt alone, the good parts: both parts need it, and test another one to tell it from. Default: both parts need every class. */
  okClass?: string;
  onProgress?: (done: number) => void;
  signal?: AbortSignal;
}

interface FoundClasses {
  /** Those without a readable file too. */
  classes: string[];
  images: DatasetImage[];
}

async function scanClasses(
  folder: string,
  prefix: string,
  skipped: SkippedFile[],
  { onProgress, signal }: ScanOptions,
): Promise<FoundClasses> {
  const classes: string[] = [];
  const images: DatasetImage[] = [];
  for (const entry of await entriesOf(folder)) {
    const at = path.join(folder, entry.name);
    // A link to a folder counts as a folder: large sets are often put together from links.
    if (!entry.isDirectory() && !(entry.isSymbolicLink() && (await isFolder(at)))) {
      skipped.push({ name: `${prefix}${entry.name}`, problem: 'it lies outside a class folder' });
      continue;
    }
    const className = checkClassName(entry.name);
    if (classes.includes(className)) {
      throw new AppError('BAD_CLASS_NAME', { name: entry.name, problem: 'another folder has the same name' });
    }
    classes.push(className);
    for (const file of await entriesOf(at)) {
      if (signal?.aborted) throw new AppError('CANCELLED');
      const name = `${prefix}${entry.name}/${file.name}`;
      const whole = path.join(at, file.name);
      try {
        if (file.isDirectory() || !(await stat(whole)).isFile()) {
          skipped.push({ name, problem: 'it is not a file' });
          continue;
        }
        const sha = createHash('sha256')
          .update(await readFile(whole))
          .digest('hex');
        images.push({ file: whole, name, className, sha });
        onProgress?.(images.length);
      } catch (cause) {
        skipped.push({ name, problem: problemOf(cause) });
      }
    }
  }
  return { classes, images };
}

const isFolder = async (at: string): Promise<boolean> => {
  try {
    return (await stat(at)).isDirectory();
  } catch {
    // Not there is the answer "no"; what else is wrong shows when it is read.
    return false;
  }
};

/**
 * Every class needs a picture that can be read. @param where of the part that they are of
 * @throws DATASET_CLASSES_DIFFER
 */
export function checkReadable(classes: readonly string[], images: readonly DatasetImage[], where: string): void {
  const present = new Set(images.map(({ className }) => className));
  const missing = classes.filter((name) => !present.has(name));
  if (missing.length > 0) {
    throw new AppError('DATASET_CLASSES_DIFFER', {
      difference: missing.map((name) => `"${name}" has no readable ${where} image`).join('; '),
    });
  }
}

/** One picture under several classes, by name. */
export interface Contradiction {
  classes: string[];
  files: string[];
}

/** Pictures (by content) that lie in more than one class; in the order in which they were found. */
export function contradictionsOf(images: readonly DatasetImage[]): Contradiction[] {
  return [...Map.groupBy(images, ({ sha }) => sha).values()].flatMap((copies) => {
    const classes = [...new Set(copies.map(({ className }) => className))];
    return classes.length > 1 ? [{ classes, files: copies.map(({ name }) => name) }] : [];
  });
}

/**
 * Classes of both parts, in name order.
 * @throws DATASET_CLASSES_DIFFER; with an ok class also NOT_FOUND where it is in neither part, INVALID_INPUT where test has no other
 */
function checkedClasses(dir: string, train: FoundClasses, test: FoundClasses, okClass: string | undefined): string[] {
  const has = ({ images }: FoundClasses) => new Set(images.map(({ className }) => className));
  const [inTrain, inTest] = [has(train), has(test)];
  const all = new Set([...inTrain, ...inTest]);
  if (okClass !== undefined && !all.has(okClass)) throw new AppError('NOT_FOUND', { kind: 'Class', id: okClass });
  const needed = okClass === undefined ? new Set([...all, ...train.classes]) : new Set([okClass]);
  const difference = [...needed]
    .filter((name) => !inTrain.has(name) || !inTest.has(name))
    .map((name) => {
      if (!all.has(name)) return `"${name}" is empty`;
      return `"${name}" has no ${inTrain.has(name) ? 'test' : 'training'} image`;
    });
  if (difference.length > 0) {
    throw new AppError('DATASET_CLASSES_DIFFER', { difference: difference.sort(byCodeUnit).join('; ') });
  }
  if (okClass !== undefined && inTest.size === 1) {
    const problem = `it holds "${okClass}" alone, and nothing that this could be told from`;
    throw new AppError('INVALID_INPUT', { what: path.join(dir, 'test'), problem });
  }
  return [...all].sort(byCodeUnit);
}

/**
 * `<dir>/train/<class>/*` and `<dir>/test/<class>/*`. Copies and label noise of public sets are kept as they are: an evaluation
 * must not choose its data (and folds go by content, so a copy never tests what it taught).
 * @throws DATASET_NOT_FOUND, DATASET_EMPTY, DATASET_CLASSES_DIFFER, BAD_CLASS_NAME, CANCELLED; with an ok class also NOT_FOUND, INVALID_INPUT
 */
export async function scanDataset(dir: string, options: ScanOptions = {}): Promise<Dataset> {
  const skipped: SkippedFile[] = [];
  const part = async (folder: 'train' | 'test') => {
    const at = path.join(dir, folder);
    if (!(await isFolder(at))) throw new AppError('DATASET_NOT_FOUND', { path: dir, folder });
    const found = await scanClasses(at, `${folder}/`, skipped, options);
    if (found.images.length === 0) throw new AppError('DATASET_EMPTY', { path: at });
    return found;
  };
  const train = await part('train');
  const test = await part('test');
  return {
    classes: checkedClasses(dir, train, test, options.okClass),
    train: train.images,
    test: test.images,
    skipped,
  };
}
