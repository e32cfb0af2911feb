import { randomUUID, type KeyObject } from 'node:crypto';
import { open, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import {
  approvalSchema,
  modelCardSchema,
  sha256Schema,
  type GoldenResult,
  type ModelCard,
} from '../contract/domain.ts';
import { AppError, assert, problemOf } from '../contract/errors.ts';
import { canonicalJson, sha256 } from './canonical.ts';
import { certificateIsValid, certificateSchema, signBody, verifyBody, type Certificate } from './keys.ts';

/*
 * What makes a model an approved one: approval.json beside it, signed with a supervisor's key that the home's root key has
 * certified, over the hashes of model, card and evidence. The core checks it before it asks for a swap and the line process checks
 * it again; neither believes the database. Node's own crypto and zod only, so that the line process can use it.
 */

export { createUserKey, unlockUserKey } from './keys.ts';

const APPROVAL = 'mekiki approval 1';
const signedFiles = ['model.onnx', 'model.json', 'evidence.json'] as const;

const approvalBodySchema = approvalSchema.extend({
  format: z.literal(1),
  candidateId: z.string().min(1),
  stationId: z.string().min(1),
  bundleSha256: sha256Schema,
  /** Made in a demo home: never valid in a real one, nor the reverse. */
  demo: z.boolean(),
  certificate: certificateSchema,
});
const signedApprovalSchema = approvalBodySchema.extend({ signature: z.base64() });
export type SignedApproval = z.infer<typeof signedApprovalSchema>;

const readBundleFile = async (bundleDir: string, name: string): Promise<Buffer> => {
  try {
    return await readFile(join(bundleDir, name));
  } catch (cause) {
    throw new AppError('BUNDLE_ALTERED', { file: join(bundleDir, name), problem: problemOf(cause) }, { cause });
  }
};

/** What an approval signs of the files: sha256 of the canonical JSON of {name: sha256}. */
export const digestOf = (hashes: Record<string, string>): string => sha256(canonicalJson(hashes));

interface SignedContents {
  model: Buffer;
  card: Buffer;
  evidence: Buffer;
}
const hashesOf = ({ model, card, evidence }: SignedContents): Record<string, string> => ({
  'model.onnx': sha256(model),
  'model.json': sha256(card),
  'evidence.json': sha256(evidence),
});

const readSignedFiles = async (bundleDir: string): Promise<SignedContents> => {
  const [model, card, evidence] = await Promise.all(signedFiles.map((name) => readBundleFile(bundleDir, name)));
  assert(model && card && evidence, 'each of the three was read, or the reading threw');
  return { model, card, evidence };
};

/** sha256 of the canonical JSON of {model.onnx: sha, model.json: sha, evidence.json: sha}. BUNDLE_ALTERED if a file is missing. */
export const bundleDigest = async (bundleDir: string): Promise<string> =>
  digestOf(hashesOf(await readSignedFiles(bundleDir)));

export interface SignApprovalInput {
  bundleDir: string;
  candidateId: string;
  stationId: string;
  demo: boolean;
  meaning: string;
  waiver: string | null;
  /** Figures on the station's golden set that the decision stands on; absent: it has none. */
  golden?: GoldenResult | undefined;
  /** Time of signing. */
  at: Date;
  certificate: Certificate;
  /** Unlocked by the supervisor's password. */
  privateKey: KeyObject;
  /** What the supervisor saw; BUNDLE_ALTERED if the files have another digest by now. */
  bundleSha256: string;
}

/** Signs, and writes approval.json: temporary name, fsync, rename, so that there is never half an approval. */
export const signApproval = async (input: SignApprovalInput): Promise<SignedApproval> => {
  const digest = await bundleDigest(input.bundleDir);
  if (digest !== input.bundleSha256) throw new AppError('BUNDLE_ALTERED', { file: input.bundleDir });
  const body: z.infer<typeof approvalBodySchema> = {
    format: 1,
    signatureId: `sig-${randomUUID()}`,
    candidateId: input.candidateId,
    stationId: input.stationId,
    bundleSha256: digest,
    demo: input.demo,
    userId: input.certificate.userId,
    userName: input.certificate.userName,
    meaning: input.meaning,
    waiver: input.waiver,
    at: input.at.toISOString(),
    // Left out of the text that is signed where there are none: approvals without stay valid as they are.
    ...(input.golden && { golden: input.golden }),
    certificate: input.certificate,
  };
  const approval = { ...body, signature: signBody(APPROVAL, body, input.privateKey) };
  const file = join(input.bundleDir, 'approval.json');
  const temporary = `${file}.${randomUUID()}.tmp`;
  try {
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(`${JSON.stringify(approval, null, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await unlink(temporary).catch(() => {
      // The first failure is the one to tell.
    });
    throw error;
  }
  return approval;
};

/** Takes an approval away (the candidate was rejected after all). No error if there is none. */
export const removeApproval = async (bundleDir: string): Promise<void> => {
  await unlink(join(bundleDir, 'approval.json')).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
};

export interface VerifyBundleInput {
  bundleDir: string;
  /** PEM text of the home's trust/root.pub. */
  rootPublicKey: string;
  /** Whether the home that wants to use the bundle is a demo. */
  demo: boolean;
  /** Station that wants to use it. */
  stationId: string;
}

export interface VerifiedBundle {
  card: ModelCard;
  approval: SignedApproval;
  /** The very bytes that were hashed: load these, not the file again, and nothing can be swapped in between. */
  model: Uint8Array;
}

/** What an approval is checked against. */
interface ApprovalCheck {
  /** Folder or file, for the message. */
  where: string;
  rootPublicKey: string;
  demo: boolean;
  /** null: whichever it was approved for (a bundle on its way to another home). */
  stationId: string | null;
}

/** As verifyBundle, over contents that are in memory. */
export const verifyApproved = (
  contents: SignedContents & { approval: string },
  input: ApprovalCheck,
): VerifiedBundle => {
  const refuse = (problem: string): AppError => new AppError('NOT_APPROVED', { model: input.where, problem });
  const altered = (name: string, cause?: unknown): AppError =>
    new AppError('BUNDLE_ALTERED', { file: join(input.where, name) }, { cause });

  let approval: SignedApproval;
  try {
    approval = signedApprovalSchema.parse(JSON.parse(contents.approval));
  } catch (cause) {
    throw altered('approval.json', cause);
  }
  const { signature, ...body } = approval;
  const { certificate } = approval;
  if (!certificateIsValid(certificate, input.rootPublicKey))
    throw refuse('it was approved with a key this home does not know');
  if (certificate.role !== 'supervisor') throw refuse(`its approver is ${certificate.role}, not supervisor`);
  if (!verifyBody(APPROVAL, body, signature, certificate.publicKey)) throw altered('approval.json');
  if (approval.userId !== certificate.userId || approval.userName !== certificate.userName)
    throw altered('approval.json');
  if (approval.demo !== input.demo || certificate.demo !== input.demo) {
    throw refuse(input.demo ? 'it was approved in a real data folder, this is a demo' : 'it was approved in a demo');
  }
  const stationId = input.stationId ?? approval.stationId;
  if (approval.stationId !== stationId) throw refuse(`it was approved for station ${approval.stationId}`);

  const hashes = hashesOf(contents);
  if (digestOf(hashes) !== approval.bundleSha256) throw altered('model.onnx, model.json or evidence.json');
  let card: ModelCard;
  try {
    card = modelCardSchema.parse(JSON.parse(contents.card.toString('utf8')));
  } catch (cause) {
    throw altered('model.json', cause);
  }
  // Signed files that contradict each other: a mistake of whoever made the bundle, and no ground to inspect on.
  if (card.modelSha256 !== hashes['model.onnx']) throw altered('model.onnx');
  if (card.id !== approval.candidateId) throw altered('model.json');
  if (card.demo !== input.demo) throw refuse('its card and this data folder differ in their demo mark');
  if (card.stationId !== null && card.stationId !== stationId)
    throw refuse(`it is a model of station ${card.stationId}`);
  return { card, approval, model: contents.model };
};

/**
 * Proves that these files were approved for this station by a supervisor of this home.
 * Errors: NOT_APPROVED (no approval that can be read, or one of another home, station, role or demo mark), BUNDLE_ALTERED (files are not those signed).
 */
export const verifyBundle = async (input: VerifyBundleInput): Promise<VerifiedBundle> => {
  const { bundleDir, rootPublicKey, demo, stationId } = input;
  let approval: string;
  try {
    approval = await readFile(join(bundleDir, 'approval.json'), 'utf8');
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const problem = isMissing ? 'it has no approval' : `its approval cannot be read: ${problemOf(cause)}`;
    throw new AppError('NOT_APPROVED', { model: bundleDir, problem }, { cause });
  }
  return verifyApproved(
    { ...(await readSignedFiles(bundleDir)), approval },
    { where: bundleDir, rootPublicKey, demo, stationId },
  );
};
