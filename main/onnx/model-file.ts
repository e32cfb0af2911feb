import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, isAbsolute, join, sep } from 'node:path';
import { AppError, problemOf } from '../contract/errors.ts';
import { decodeModel } from './decode.ts';
import { encodeModelPieces, type ExternalPlace } from './encode.ts';
import type { Model } from './model.ts';
import type { ExternalData } from './wire.ts';

/** Protocol Buffers' own limit for a message. */
const MAX_MODEL_BYTES = 2 ** 31 - 1;
/** All weights outside the file together: room beyond the 2 GB that are promised, not enough to take a PC down. */
const MAX_OUTSIDE_BYTES = 2 ** 32;
/** One call of the operating system; larger reads are refused by some. */
const CHUNK = 2 ** 30;
/** ONNX recommends page borders, so that a reader can map the file. */
const PAGE = 4096;
/** Used where a model must be split because it would exceed MAX_MODEL_BYTES. */
const SPLIT_ABOVE = 1024;

/** Opens a plain file only: a pipe or device in its place would block or never end. */
function openPlain(path: string): { descriptor: number; size: number } {
  const descriptor = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  const stat = fstatSync(descriptor);
  if (stat.isFile()) return { descriptor, size: stat.size };
  closeSync(descriptor);
  throw new Error('it is not a file');
}

/** Reads straight into the one buffer that the tensor keeps. */
function readRange(descriptor: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const read = readSync(descriptor, bytes, at, Math.min(CHUNK, length - at), offset + at);
    if (read === 0) throw new Error(`it ends at byte ${offset + at}`);
    at += read;
  }
  return bytes;
}

/**
 * Reads a model and the weights it keeps in files beside it. Blocks the thread while it reads. Each weight is read once, into the buffer it
 * stays in; weights inside the file stay views of the file's bytes.
 * @throws NOT_FOUND without the file; MODEL_UNREADABLE; MODEL_DATA_MISSING where a weight's file is missing, too short or outside the
 *   model's folder.
 */
export function readModelFile(path: string): Model {
  const file = basename(path);
  let bytes: Uint8Array;
  try {
    const { descriptor, size } = openPlain(path);
    try {
      if (size > MAX_MODEL_BYTES) throw new Error(`${size} bytes, a model has at most ${MAX_MODEL_BYTES}`);
      bytes = readRange(descriptor, 0, size);
    } finally {
      closeSync(descriptor);
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT')
      throw new AppError('NOT_FOUND', { kind: 'Model file', id: path }, { cause });
    throw new AppError('MODEL_UNREADABLE', { file, problem: problemOf(cause) }, { cause });
  }
  using outside = outsideFiles(dirname(path), file);
  return decodeModel(bytes, file, outside.read);
}

/** Weights in other files of the model's folder, each file opened once. */
function outsideFiles(folder: string, file: string): { read: ExternalData } & Disposable {
  const opened = new Map<string, { descriptor: number; size: number }>();
  const ranges = new Map<string, Uint8Array>();
  let total = 0;
  const missing = (location: string, problem: string, cause?: unknown) =>
    new AppError('MODEL_DATA_MISSING', { file, location: location.slice(0, 200), problem }, { cause });
  const open = (location: string) => {
    const known = opened.get(location);
    if (known) return known;
    const parts = location.split(/[/\\]/);
    if (location === '' || location.includes('\0') || isAbsolute(location) || /^[a-z]:/i.test(location)) {
      throw missing(location, 'that is not a name relative to the model');
    }
    if (parts.includes('..')) throw missing(location, "that leads out of the model's folder");
    try {
      // What the name leads to after links counts, not what it looks like.
      const root = realpathSync(folder);
      const real = realpathSync(join(root, ...parts));
      if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) {
        throw missing(location, "that leads out of the model's folder");
      }
      const found = openPlain(real);
      opened.set(location, found);
      return found;
    } catch (cause) {
      if (cause instanceof AppError) throw cause;
      const gone = (cause as NodeJS.ErrnoException).code === 'ENOENT';
      throw missing(location, gone ? 'that file is missing' : problemOf(cause), cause);
    }
  };
  const read: ExternalData = ({ location, offset, length }, tensor, size) => {
    if (length !== null && length !== size) {
      throw missing(location, `weight "${tensor}" needs ${size} bytes, ${length} are stated`);
    }
    const key = JSON.stringify([location, offset, size]);
    const known = ranges.get(key);
    if (known) return known;
    const found = open(location);
    if (offset + size > found.size) {
      throw missing(location, `weight "${tensor}" needs bytes ${offset} to ${offset + size}, it has ${found.size}`);
    }
    total += size;
    if (total > MAX_OUTSIDE_BYTES) throw missing(location, `more than ${MAX_OUTSIDE_BYTES} bytes of weights`);
    try {
      const bytes = readRange(found.descriptor, offset, size);
      ranges.set(key, bytes);
      return bytes;
    } catch (cause) {
      throw missing(location, problemOf(cause), cause);
    }
  };
  return {
    read,
    [Symbol.dispose]: () => {
      for (const { descriptor } of opened.values()) closeSync(descriptor);
    },
  };
}

export interface WriteModelOptions {
  /**
   * Weights of at least this many bytes go into one file beside the model, `<name>.<digest>.data`. Default: all stay inside, unless the
   * model would then exceed the 2 GB that its format allows.
   */
  externalAbove?: number;
}

/**
 * Writes a model whole or not at all: temporary name, fsync, rename, fsync of the folder. Weights are written from where they lie, without a
 * copy. The name of the data file tells its contents, so that the old model keeps its own until it is replaced; then that goes.
 * @throws whatever the file system says (ENOSPC, EACCES …), with nothing left behind.
 */
export function writeModelFile(path: string, model: Model, options: WriteModelOptions = {}): void {
  const inside = options.externalAbove === undefined ? encodeModelPieces(model) : [];
  const fits = inside.reduce((sum, piece) => sum + piece.length, 0) <= MAX_MODEL_BYTES;
  if (options.externalAbove === undefined && fits) {
    writeWhole(path, inside);
    dropOldData(path, null);
    return;
  }
  const outside = layOut(path, model, options.externalAbove ?? SPLIT_ABOVE);
  const data = outside.location === null ? null : join(dirname(path), outside.location);
  const known = data !== null && existsSync(data);
  if (data !== null) writeWhole(data, outside.pieces);
  try {
    writeWhole(path, encodeModelPieces(model, outside.places));
  } catch (cause) {
    if (data !== null && !known) rmSync(data, { force: true });
    throw cause;
  }
  dropOldData(path, outside.location);
}

interface Layout {
  location: string | null;
  pieces: readonly Uint8Array[];
  places: ReadonlyMap<string, ExternalPlace>;
}

function layOut(path: string, model: Model, above: number): Layout {
  const pieces: Uint8Array[] = [];
  const spans = new Map<string, { offset: number; length: number }>();
  const digest = createHash('sha256');
  let at = 0;
  const push = (bytes: Uint8Array) => {
    pieces.push(bytes);
    for (let from = 0; from < bytes.length; from += CHUNK) digest.update(bytes.subarray(from, from + CHUNK));
    at += bytes.length;
  };
  for (const [name, { type, bytes }] of model.graph.initializers) {
    if (type === 'string' || bytes.length === 0 || bytes.length < above) continue;
    if (at % PAGE !== 0) push(new Uint8Array(PAGE - (at % PAGE)));
    spans.set(name, { offset: at, length: bytes.length });
    push(bytes);
  }
  if (spans.size === 0) return { location: null, pieces, places: new Map() };
  const location = `${basename(path)}.${digest.digest('hex').slice(0, 16)}.data`;
  const places = new Map([...spans].map(([name, span]) => [name, { location, ...span }]));
  return { location, pieces, places };
}

function writeWhole(path: string, pieces: readonly Uint8Array[]): void {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    const descriptor = openSync(temporary, 'wx', 0o644);
    try {
      for (const piece of pieces) {
        for (let at = 0; at < piece.length;) at += writeSync(descriptor, piece, at, Math.min(CHUNK, piece.length - at));
      }
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw cause;
  }
  syncFolder(dirname(path));
}

function syncFolder(folder: string): void {
  // Windows opens no folders; there the rename itself is the last step.
  if (process.platform === 'win32') return;
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Data files of earlier versions of this model, told by our own form of name. */
function dropOldData(path: string, keep: string | null): void {
  const name = basename(path);
  for (const entry of readdirSync(dirname(path))) {
    const ours = entry.startsWith(`${name}.`) && /^[0-9a-f]{16}\.data$/.test(entry.slice(name.length + 1));
    if (ours && entry !== keep) rmSync(join(dirname(path), entry), { force: true });
  }
}
