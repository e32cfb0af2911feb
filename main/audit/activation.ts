import { readFile } from 'node:fs/promises';
import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { sha256Schema } from '../contract/domain.ts';
import { AppError, problemOf } from '../contract/errors.ts';
import { verifyBundle, type VerifiedBundle, type VerifyBundleInput } from './approval.ts';
import { signBody, verifyBody } from './keys.ts';

/*
 * Which model may inspect at a station now: trust/active/<station>.json, signed by the home's root key when a supervisor activates. Every
 * retired model is an approved one; this is what tells it from the active one without believing a row of the database, and so a line reads
 * it for itself. A file, since a line does not open the database.
 */

const ACTIVE = 'mekiki active model 1';
const modelSchema = z.strictObject({ candidateId: z.string().min(1), bundleSha256: sha256Schema });
export type ActiveModel = z.infer<typeof modelSchema>;

const bodySchema = z.strictObject({
  format: z.literal(1),
  stationId: z.string().min(1),
  /** One; two while a line goes over from the first to the second, so that a power cut between leaves neither refused. */
  models: z.array(modelSchema).min(1).max(2),
  /** Who activated it, and when. */
  by: z.string(),
  at: z.iso.datetime(),
});
export type ActiveModels = z.infer<typeof bodySchema>;
const fileSchema = bodySchema.extend({ signature: z.base64() });

export const activeFolder = (home: string): string => join(home, 'trust', 'active');
/** Its name in that folder. */
export const activeFileName = (stationId: string): string => `${encodeURIComponent(stationId)}.json`;

/** Text of the file. */
export const signActive = (models: Omit<ActiveModels, 'format'>, rootKey: KeyObject): string => {
  const body = bodySchema.parse({ format: 1, ...models });
  return `${JSON.stringify({ ...body, signature: signBody(ACTIVE, body, rootKey) }, null, 2)}\n`;
};

/** null: there is no such file, or not one that this root key signed for this station. Throws the system's error where it is there and cannot be read just now. */
export const readActive = async (
  home: string,
  stationId: string,
  rootPublicKey: string,
): Promise<ActiveModels | null> => {
  let text: string;
  try {
    text = await readFile(join(activeFolder(home), activeFileName(stationId)), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const { signature, ...body } = fileSchema.parse(JSON.parse(text));
    return body.stationId === stationId && verifyBody(ACTIVE, body, signature, rootPublicKey) ? body : null;
  } catch {
    // Altered is as good as none: nothing inspects on it.
    return null;
  }
};

/**
 * As verifyBundle, and that this very bundle is the one activated here last.
 * @throws NOT_APPROVED, BUNDLE_ALTERED
 */
export const verifyActiveBundle = async (input: VerifyBundleInput & { home: string }): Promise<VerifiedBundle> => {
  const { home, stationId, rootPublicKey, bundleDir } = input;
  const verified = await verifyBundle(input);
  const { candidateId, bundleSha256 } = verified.approval;
  const refuse = (problem: string) => new AppError('NOT_APPROVED', { model: bundleDir, problem });
  const active = await readActive(home, stationId, rootPublicKey).catch((error: unknown) => {
    throw refuse(`it is approved, and its signed activation cannot be read: ${problemOf(error)}`);
  });
  if (active === null) throw refuse('it is approved, and no signed activation for this station is there');
  if (!active.models.some((each) => each.candidateId === candidateId && each.bundleSha256 === bundleSha256)) {
    const named = active.models.map((each) => each.candidateId).join(', ');
    throw refuse(`it is approved, and not active: ${active.by} activated ${named} at ${active.at}`);
  }
  return verified;
};
