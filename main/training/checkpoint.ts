import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { AppError, problemOf } from '../contract/errors.ts';
import type { Tensor } from '../runtime/session.ts';
import { nodeFiles, writeDurably, type FilePort } from '../store/files.ts';
import type { State } from './engine.ts';
import { tensorOver } from './state.ts';

/*
 * A checkpoint is one file: "MKTR", version, length of the header (uint32 little-endian), header (JSON), padding to 8, the tensors one after
 * another (little-endian, each padded to 8), SHA-256 of all before it. Two files take turns, `<file>.a` and `<file>.b`: the one being written is
 * never the only one, and each is written under a temporary name, flushed and renamed.
 */
const MAGIC = 0x52544b4d;
const VERSION = 1;
const DIGEST = 32;
const PREFIX = 12;

export interface Checkpoint<P = unknown> {
  /** What the run was made of; another run's checkpoint is refused by it. */
  run: string;
  state: State;
  /** Where the loop stood: plain JSON. */
  position: P;
}

interface Header {
  run: string;
  /** Grows with every checkpoint of a file. */
  number: number;
  position: unknown;
  tensors: { name: string; type: Tensor['type']; dims: readonly number[]; bytes: number }[];
}

const padded = (length: number): number => Math.ceil(length / 8) * 8;

/** Magic, version and length of the header; header (JSON); tensors, each from a multiple of 8 bytes on; sha256 of all before. */
export function encodeCheckpoint({ run, state, position }: Checkpoint, number: number): Uint8Array<ArrayBuffer> {
  const tensors = [...state].map(([name, { type, dims, data }]) => ({ name, type, dims, bytes: data.byteLength }));
  const header = new TextEncoder().encode(JSON.stringify({ run, number, position, tensors } satisfies Header));
  const from = padded(PREFIX + header.length);
  const length = tensors.reduce((sum, { bytes }) => sum + padded(bytes), from);
  const bytes = new Uint8Array(length + DIGEST);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, header.length, true);
  bytes.set(header, PREFIX);
  let at = from;
  for (const { data } of state.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += padded(data.byteLength);
  }
  bytes.set(createHash('sha256').update(bytes.subarray(0, length)).digest(), length);
  return bytes;
}

/** @throws CHECKPOINT_DAMAGED when a byte is missing or was altered. */
export function decodeCheckpoint(source: Uint8Array, file: string): Checkpoint & { number: number } {
  const damaged = (problem: string) => new AppError('CHECKPOINT_DAMAGED', { file, problem });
  if (source.length < PREFIX + DIGEST) throw damaged('it is cut off');
  // The tensors are views: they must lie on multiples of eight, wherever the source lay.
  const bytes = new Uint8Array(source);
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0, true) !== MAGIC) throw damaged('it is not a checkpoint');
  if (view.getUint32(4, true) !== VERSION) throw damaged(`it has the unknown version ${view.getUint32(4, true)}`);
  const length = bytes.length - DIGEST;
  const digest = createHash('sha256').update(bytes.subarray(0, length)).digest();
  if (!digest.equals(bytes.subarray(length))) throw damaged('its checksum does not match');
  const headerLength = view.getUint32(8, true);
  // The checksum is right, so this was written by encodeCheckpoint.
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(PREFIX, PREFIX + headerLength))) as Header;
  const state = new Map<string, Tensor>();
  let at = padded(PREFIX + headerLength);
  for (const { name, type, dims, bytes: count } of header.tensors) {
    state.set(name, tensorOver(type, dims, bytes.subarray(at, at + count)));
    at += padded(count);
  }
  return { run: header.run, number: header.number, position: header.position, state };
}

export interface CheckpointStore<P> {
  readonly file: string;
  /**
   * Writes over the older of the two files. When it fails, the newer one is as it was.
   * @throws DISK_FULL, HOME_NOT_WRITABLE
   */
  save(state: State, position: P): Promise<void>;
  /**
   * The newest whole checkpoint of this run; null: there is none yet. A damaged file is told to `onDamaged` and the other one is taken.
   * @throws CHECKPOINT_DAMAGED when all there are are damaged, CHECKPOINT_OTHER_RUN
   */
  load(onDamaged?: (error: AppError) => void): Promise<{ state: State; position: P } | null>;
  /** Takes both files away, when the run is done. */
  remove(): Promise<void>;
}

/**
 * @param file without the endings .a and .b.
 * @param run identifies network, data and settings, for example a hash of them.
 */
export function openCheckpoints<P>(file: string, run: string, files: FilePort = nodeFiles): CheckpointStore<P> {
  const slots = [`${file}.a`, `${file}.b`] as const;
  let last: { number: number; slot: 0 | 1 } | null = null;
  let looked = false;

  const readSlot = async (slot: 0 | 1): Promise<(Checkpoint & { number: number }) | AppError | null> => {
    const path = slots[slot];
    try {
      return decodeCheckpoint(await readFile(path), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      if (error instanceof AppError) return error;
      return new AppError('CHECKPOINT_DAMAGED', { file: path, problem: problemOf(error) }, { cause: error });
    }
  };

  const newest = async (onDamaged?: (error: AppError) => void) => {
    const found = await Promise.all([readSlot(0), readSlot(1)]);
    const errors = found.filter((item) => item instanceof AppError);
    const whole = found.flatMap((item, slot) =>
      item === null || item instanceof AppError ? [] : [{ ...item, slot: slot as 0 | 1 }],
    );
    whole.sort((a, b) => b.number - a.number);
    looked = true;
    const first = whole[0] ?? null;
    last = first && { number: first.number, slot: first.slot };
    return { first, errors, tell: () => errors.forEach((error) => onDamaged?.(error)) };
  };

  return {
    file,
    async save(state, position) {
      if (!looked) await newest();
      const slot = last?.slot === 0 ? 1 : 0;
      const number = (last?.number ?? 0) + 1;
      await writeDurably(slots[slot], encodeCheckpoint({ run, state, position }, number), { files });
      last = { number, slot };
    },
    async load(onDamaged) {
      const { first, errors, tell } = await newest(onDamaged);
      if (!first) {
        if (errors.length > 0) throw errors[0]!;
        return null;
      }
      tell();
      if (first.run !== run) {
        throw new AppError('CHECKPOINT_OTHER_RUN', { problem: `${slots[first.slot]} was made with other settings` });
      }
      return { state: first.state, position: first.position as P };
    },
    async remove() {
      for (const slot of slots) await files.remove(slot);
      last = null;
    },
  };
}
