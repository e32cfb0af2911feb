import type { z } from 'zod';
import { assert, problemOf } from '../contract/errors.ts';
import { canonicalJson } from './canonical.ts';

/*
 * What a bundle (bundle-file.ts) and an update (update-file.ts) begin with. All numbers are big-endian:
 *
 *   0    8 bytes   magic: which kind of file, and part of what is signed, so that no signature of one kind stands in for another
 *   8    4 bytes   length M of the manifest
 *   12   M bytes   manifest: canonical JSON (canonical.ts), UTF-8
 *
 * then the payload, and a raw Ed25519 signature (RFC 8032) at the very end.
 */

export const HEAD_BYTES = 12;
export const SIGNATURE_BYTES = 64;
/** Far beyond any manifest; keeps a hostile length from asking for memory. */
const MANIFEST_BYTES_AT_MOST = 1 << 20;

/** Magic, length and manifest. `magic`: 8 ASCII characters. */
export const encodeHead = (magic: string, manifest: unknown): Buffer => {
  const text = Buffer.from(canonicalJson(manifest));
  assert(magic.length === 8 && text.length <= MANIFEST_BYTES_AT_MOST, 'a manifest is a page of text');
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(magic, 'latin1');
  head.writeUInt32BE(text.length, 8);
  return Buffer.concat([head, text]);
};

export const beginsWith = (start: Uint8Array, magic: string): boolean =>
  Buffer.from(magic, 'latin1').equals(start.subarray(0, magic.length));

/**
 * Where the payload begins, from the file's first bytes.
 * @param fileBytes length of the whole file
 * @throws what `refuse` makes of the words for what is wrong
 */
export const payloadStart = (
  start: Buffer,
  fileBytes: number,
  magic: string,
  refuse: (problem: string) => Error,
): number => {
  if (start.length < HEAD_BYTES || fileBytes < HEAD_BYTES + SIGNATURE_BYTES) throw refuse('it is too short');
  if (!beginsWith(start, magic)) throw refuse('it does not begin as such a file does');
  const manifestBytes = start.readUInt32BE(8);
  const payloadAt = HEAD_BYTES + manifestBytes;
  if (manifestBytes > MANIFEST_BYTES_AT_MOST || payloadAt + SIGNATURE_BYTES > fileBytes)
    throw refuse('its manifest is longer than the file');
  return payloadAt;
};

/** The manifest in the bytes from HEAD_BYTES to the payload. Nothing of it is proved yet. */
export const readManifest = <S extends z.ZodType>(
  bytes: Buffer,
  schema: S,
  refuse: (problem: string, cause?: unknown) => Error,
): z.output<S> => {
  const text = bytes.toString('utf8');
  let manifest: z.output<S>;
  try {
    manifest = schema.parse(JSON.parse(text));
  } catch (cause) {
    throw refuse(`its manifest cannot be read: ${problemOf(cause)}`, cause);
  }
  // One text for one manifest: no spaces to hide in, no key twice.
  if (canonicalJson(manifest) !== text) throw refuse('its manifest is not in canonical form');
  return manifest;
};
