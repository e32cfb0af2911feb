import { z } from 'zod';
import { sha256Schema } from './domain/values.ts';

/* A bundle file (main/audit/bundle-file.ts) as people and desktops see it. */

/** Of its name; installers tie it to the program. */
export const BUNDLE_EXTENSION = '.mekiki';
/** Nobody's compressed model is larger; a bundle is read into memory. */
export const BUNDLE_BYTES_AT_MOST = 1 << 30;

/** What a file that is as its installation signed it says of itself. Whether it may be taken here is `trusted`. */
export const bundleAboutSchema = z.object({
  valid: z.literal(true),
  trusted: z.boolean(),
  sha256: sha256Schema,
  /** Who signed: raw Ed25519 public key, hexadecimal. */
  installation: z.string(),
  demo: z.boolean(),
  exportedAt: z.iso.datetime(),
  candidateId: z.string(),
  stationName: z.string(),
  /** As the exporting home had it. */
  state: z.string(),
  classes: z.array(z.string()),
  /** There, not here. */
  approval: z
    .object({
      signatureId: z.string(),
      userName: z.string(),
      meaning: z.string(),
      waiver: z.string().nullable(),
      at: z.iso.datetime(),
    })
    .nullable(),
});
export type BundleAbout = z.infer<typeof bundleAboutSchema>;
