import { createPublicKey, verify } from 'node:crypto';
import { z } from 'zod';
import { evidenceSchema, modelCardSchema, sha256Schema, type Evidence, type ModelCard } from '../contract/domain.ts';
import { AppError, assert } from '../contract/errors.ts';
import { digestOf, verifyApproved, type SignedApproval } from './approval.ts';
import { sha256 } from './canonical.ts';
import { keyOfHex } from './keys.ts';
import { beginsWith, encodeHead, HEAD_BYTES, payloadStart, readManifest, SIGNATURE_BYTES } from './signed-file.ts';

/*
 * A bundle as one file, for another station or for the safe: the file of signed-file.ts with the magic "MEKIKIB1". Its payload is the
 * files of the manifest, one after another, in its order; the signature of the exporting installation is over every byte before it.
 *
 * The length of the whole follows from the manifest; a byte more or less is refused. The magic is part of what is signed, so that
 * no other signature of the same key (certificates, audit heads: texts that begin otherwise) can stand in for one of these.
 */

const MAGIC = 'MEKIKIB1';

const bundleFiles = ['model.onnx', 'model.json', 'evidence.json', 'approval.json'] as const;
type BundleFileName = (typeof bundleFiles)[number];

/** Raw Ed25519 public key, hexadecimal: the name of an installation. */
export const installationKeySchema = z.string().regex(/^[0-9a-f]{64}$/);

const manifestSchema = z.strictObject({
  format: z.literal(1),
  /** Who signed. */
  installation: installationKeySchema,
  /** Made in a demo home: never trusted outside it. */
  demo: z.boolean(),
  exportedAt: z.iso.datetime(),
  candidateId: z.string().min(1).max(64),
  stationName: z.string().max(80),
  /** As the exporting home had it. */
  state: z.string().max(20),
  /** What its approval signs: the hash over the hashes of model, card and evidence. */
  bundleSha256: sha256Schema,
  lineage: z.strictObject({
    knowledgeId: z.string().min(1).max(64),
    backboneId: z.string().min(1).max(64),
    backboneSha256: sha256Schema,
    /** Hash over the (image, class) pairs that the evidence stands on. */
    dataSha256: sha256Schema,
  }),
  files: z
    .array(z.strictObject({ name: z.enum(bundleFiles), bytes: z.number().int().min(0), sha256: sha256Schema }))
    .min(3)
    .max(bundleFiles.length),
});
export type BundleManifest = z.infer<typeof manifestSchema>;

export interface OpenedBundle {
  manifest: BundleManifest;
  card: ModelCard;
  evidence: Evidence;
  /** Valid under the exporter's own key; null: it was exported without. */
  approval: SignedApproval | null;
  file(name: BundleFileName): Buffer;
  /** sha256 of the whole file. */
  sha256: string;
}

/** The file's bytes. `files` in the order of `bundleFiles`; approval.json may be missing. `sign` is the installation's key. */
export const encodeBundle = (
  about: Omit<BundleManifest, 'format' | 'files' | 'bundleSha256'>,
  files: readonly { name: BundleFileName; bytes: Uint8Array }[],
  sign: (bytes: Uint8Array) => Uint8Array,
): Buffer => {
  const listed = files.map(({ name, bytes }) => ({ name, bytes: bytes.length, sha256: sha256(bytes) }));
  const hashes = Object.fromEntries(
    listed.filter(({ name }) => name !== 'approval.json').map(({ name, sha256 }) => [name, sha256]),
  );
  const manifest = manifestSchema.parse({ ...about, format: 1, bundleSha256: digestOf(hashes), files: listed });
  const body = Buffer.concat([encodeHead(MAGIC, manifest), ...files.map(({ bytes }) => bytes)]);
  const signature = sign(body);
  assert(signature.length === SIGNATURE_BYTES, 'an Ed25519 signature has 64 bytes');
  return Buffer.concat([body, signature]);
};

/** What can be read of a file before it is believed: only to tell whether an existing file may be overwritten. */
export const looksLikeBundle = (start: Uint8Array): boolean => beginsWith(start, MAGIC);

/**
 * Opens a bundle and proves that not a bit of it was changed since the installation that it names signed it. Whether that
 * installation is to be believed is another question (`trusted`). `where` is the file's name for the message. BUNDLE_ALTERED.
 */
export const openBundle = (bytes: Buffer, where: string): OpenedBundle => {
  const altered = (problem: string, cause?: unknown): AppError =>
    new AppError('BUNDLE_ALTERED', { file: where, problem }, { cause });
  const payloadAt = payloadStart(bytes, bytes.length, MAGIC, altered);
  const manifest = readManifest(bytes.subarray(HEAD_BYTES, payloadAt), manifestSchema, altered);
  const end = bytes.length - SIGNATURE_BYTES;
  const payloadBytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  if (payloadAt + payloadBytes !== end) throw altered('its length is not that of its files');

  let genuine: boolean;
  try {
    const key = createPublicKey(keyOfHex(manifest.installation));
    genuine = verify(null, bytes.subarray(0, end), key, bytes.subarray(end));
  } catch (cause) {
    throw altered('its key cannot be read', cause);
  }
  if (!genuine) throw altered('its signature does not fit');

  const found = new Map<BundleFileName, Buffer>();
  let at = payloadAt;
  manifest.files.forEach((file, i) => {
    const content = bytes.subarray(at, at + file.bytes);
    at += file.bytes;
    if (file.name !== bundleFiles[i] || sha256(content) !== file.sha256) throw altered(`${file.name} is not as listed`);
    found.set(file.name, content);
  });
  const file = (name: BundleFileName): Buffer => {
    const content = found.get(name);
    assert(content !== undefined, 'the manifest lists the first three files, in order');
    return content;
  };

  // The signer vouches for the whole; what lies inside must still not contradict itself.
  const approvalText = found.get('approval.json');
  const contents = { model: file('model.onnx'), card: file('model.json'), evidence: file('evidence.json') };
  const read = <T>(schema: z.ZodType<T>, content: Buffer, what: string): T => {
    try {
      return schema.parse(JSON.parse(content.toString('utf8')));
    } catch (cause) {
      throw altered(`its ${what} cannot be read`, cause);
    }
  };
  const card = read(modelCardSchema, contents.card, 'model card');
  const evidence = read(evidenceSchema, contents.evidence, 'evidence');
  const consistent =
    card.id === manifest.candidateId &&
    card.demo === manifest.demo &&
    card.modelSha256 === manifest.files[0]?.sha256 &&
    manifest.bundleSha256 ===
      digestOf(Object.fromEntries(manifest.files.slice(0, 3).map(({ name, sha256 }) => [name, sha256])));
  if (!consistent) throw altered('its card and its manifest contradict each other');
  const approval =
    approvalText === undefined
      ? null
      : verifyApproved(
          { ...contents, approval: approvalText.toString('utf8') },
          { where, rootPublicKey: keyOfHex(manifest.installation), demo: manifest.demo, stationId: null },
        ).approval;
  return { manifest, card, evidence, approval, file, sha256: sha256(bytes) };
};
