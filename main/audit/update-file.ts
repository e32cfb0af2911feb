import { createHash, createPublicKey, verify } from 'node:crypto';
import { constants, open, type FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { AppError, fileError } from '../contract/errors.ts';
import { updateManifestSchema, UPDATE_BYTES_AT_MOST, type UpdateManifest } from '../contract/update.ts';
import { keyOfHex } from './keys.ts';
import { encodeHead, HEAD_BYTES, payloadStart, readManifest, SIGNATURE_BYTES } from './signed-file.ts';

/*
 * A package of the program as a signed update: the file of signed-file.ts with the magic "MEKIKIU1", one package as payload, and at the
 * end the Ed25519 signature of a release key over magic, length and manifest. The manifest holds length and sha256 of the package, so
 * that hundreds of megabytes are hashed as they are read, and are never in memory; no byte of the file is outside of both.
 */

const MAGIC = 'MEKIKIU1';
const CHUNK_BYTES = 1 << 20;

/** What comes before the package: to be followed by it and by `signature`. `sign` is the release key. */
export const encodeUpdate = (
  manifest: UpdateManifest,
  sign: (bytes: Uint8Array) => Uint8Array,
): { head: Buffer; signature: Uint8Array } => {
  const head = encodeHead(MAGIC, updateManifestSchema.parse(manifest));
  return { head, signature: sign(head) };
};

const readFully = async (handle: FileHandle, at: number, bytes: number): Promise<Buffer> => {
  const buffer = Buffer.alloc(bytes);
  let read = 0;
  while (read < bytes) {
    const { bytesRead } = await handle.read(buffer, read, bytes - read, at + read);
    if (bytesRead === 0) return buffer.subarray(0, read);
    read += bytesRead;
  }
  return buffer;
};

export interface UpdateOptions {
  /** Release keys that are believed, raw and hexadecimal: the one in use, and those that it may be followed by. */
  keys: readonly string[];
  /** Gets the package as it is read: nothing of it is proved before the promise resolves. */
  take?: (chunk: Uint8Array) => Promise<void>;
  signal?: AbortSignal;
}

/**
 * Proves that not a bit of the file was changed since the holder of a release key signed it.
 * @throws AppError NO_RELEASE_KEY, NOT_FOUND, INVALID_INPUT where it cannot be read, UPDATE_REFUSED
 */
export const openUpdate = async (file: string, { keys, take, signal }: UpdateOptions): Promise<UpdateManifest> => {
  if (keys.length === 0) throw new AppError('NO_RELEASE_KEY', { file });
  const refuse = (problem: string, cause?: unknown): AppError =>
    new AppError('UPDATE_REFUSED', { file, problem }, { cause });
  let handle: FileHandle;
  try {
    // Never waits for who writes to a pipe: that it is no file is told below.
    handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (cause) {
    throw fileError('update file', file, cause);
  }
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw refuse('it is no file');
    if (found.size > UPDATE_BYTES_AT_MOST) throw refuse('it is too large');
    const start = await readFully(handle, 0, HEAD_BYTES);
    const payloadAt = payloadStart(start, found.size, MAGIC, refuse);
    const text = await readFully(handle, HEAD_BYTES, payloadAt - HEAD_BYTES);
    const manifest = readManifest(text, updateManifestSchema, refuse);
    const end = payloadAt + manifest.bytes;
    if (end + SIGNATURE_BYTES !== found.size) throw refuse('its length is not that of its package');
    if (!keys.includes(manifest.key)) throw refuse(`it is signed with a key that is not known here (${manifest.key})`);
    const signature = await readFully(handle, end, SIGNATURE_BYTES);
    if (!verify(null, Buffer.concat([start, text]), createPublicKey(keyOfHex(manifest.key)), signature))
      throw refuse('its signature does not fit');
    const hash = createHash('sha256');
    for (let at = payloadAt; at < end; at += CHUNK_BYTES) {
      signal?.throwIfAborted();
      const chunk = await readFully(handle, at, Math.min(CHUNK_BYTES, end - at));
      hash.update(chunk);
      await take?.(chunk);
    }
    if (hash.digest('hex') !== manifest.sha256) throw refuse('its package is not the one that was signed');
    return manifest;
  } finally {
    await handle.close();
  }
};

/** Part by part as numbers; a version with a suffix (1.0.0-rc.1) comes before the one without. Positive: `a` is newer. */
export const compareVersions = (a: string, b: string): number => {
  const parts = (version: string) => {
    const [numbers = '', suffix] = version.split(/-(.*)/s);
    return { numbers: numbers.split('.').map(Number), suffix };
  };
  const [left, right] = [parts(a), parts(b)];
  for (let i = 0; i < 3; i += 1) {
    const difference = (left.numbers[i] ?? 0) - (right.numbers[i] ?? 0);
    if (difference !== 0) return difference;
  }
  if (left.suffix === right.suffix) return 0;
  if (left.suffix === undefined) return 1;
  if (right.suffix === undefined) return -1;
  return left.suffix.localeCompare(right.suffix, 'en', { numeric: true });
};

export const releaseKeysSchema = z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(16);
