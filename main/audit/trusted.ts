import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { installationKeySchema, type BundleManifest } from './bundle-file.ts';
import { hexOfKey, signBody, verifyBody } from './keys.ts';
import type { KeyObject } from 'node:crypto';

/*
 * Whose bundles this home takes: trust/installations.json, signed by the home's own root key, so that a key cannot be slipped in by
 * editing the file. A file, and not a table, because `bundle verify` must answer while the window has the database.
 */

const TRUSTED = 'mekiki trusted installations 1';
const bodySchema = z.strictObject({
  format: z.literal(1),
  installations: z.array(
    z.strictObject({
      key: installationKeySchema,
      /** What people call it. */
      name: z.string().max(80),
      by: z.string(),
      at: z.iso.datetime(),
    }),
  ),
});
const fileSchema = bodySchema.extend({ signature: z.base64() });
export type TrustedInstallation = z.infer<typeof bodySchema>['installations'][number];

export const trustedFile = (home: string): string => join(home, 'trust', 'installations.json');

/** Text of the file. */
export const signTrusted = (installations: TrustedInstallation[], rootKey: KeyObject): string => {
  const body = bodySchema.parse({ format: 1, installations });
  return `${JSON.stringify({ ...body, signature: signBody(TRUSTED, body, rootKey) }, null, 2)}\n`;
};

/**
 * `intact` false: the file is there but was not written by this home; then nobody is trusted. Throws the system's error where it cannot be read: whoever adds to the
 * list would write one without all others.
 */
export const readTrusted = (home: string): { installations: TrustedInstallation[]; intact: boolean } => {
  let text: string;
  try {
    text = readFileSync(trustedFile(home), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { installations: [], intact: true };
    throw error;
  }
  const root = readFileSync(join(home, 'trust', 'root.pub'), 'utf8');
  try {
    const { signature, ...body } = fileSchema.parse(JSON.parse(text));
    if (verifyBody(TRUSTED, body, signature, root)) return { installations: body.installations, intact: true };
  } catch {
    // No such list is as good as an altered one.
  }
  return { installations: [], intact: false };
};

/** Raw public key of the home, hexadecimal; null: no home there. */
export const ownInstallation = (home: string): string | null => {
  try {
    return hexOfKey(readFileSync(join(home, 'trust', 'root.pub'), 'utf8'));
  } catch {
    return null;
  }
};

/** Whether this home takes bundles of that signer; nobody's but its own where the list cannot be read. A demo's are taken by that demo alone, whatever the list says. */
export const isTrusted = (home: string, manifest: Pick<BundleManifest, 'installation' | 'demo'>): boolean => {
  if (manifest.installation === ownInstallation(home)) return true;
  if (manifest.demo) return false;
  try {
    return readTrusted(home).installations.some(({ key }) => key === manifest.installation);
  } catch {
    return false;
  }
};
