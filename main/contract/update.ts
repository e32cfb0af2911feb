import { z } from 'zod';
import { sha256Schema } from './domain/values.ts';

/* An update file (main/audit/update-file.ts): a package of the program, signed by whoever releases it. */

export const UPDATE_EXTENSION = '.mekiki-update';
/** Bytes: several times the largest package. */
export const UPDATE_BYTES_AT_MOST = 4 * 2 ** 30;

const version = z
  .string()
  .max(60)
  .regex(/^\d{1,6}\.\d{1,6}\.\d{1,6}(-[0-9A-Za-z.-]{1,40})?$/);
/** Shown on terminals: no control characters but line ends. */
const notes = z
  .string()
  .max(8000)
  // oxlint-disable-next-line no-control-regex
  .regex(/^[^\u0000-\u0009\u000b-\u001f\u007f-\u009f]*$/);

export const packageKindSchema = z.enum(['deb', 'tar.gz', 'AppImage', 'exe']);
const platformSchema = z.enum(['linux', 'win32']);
export const platformOf = (kind: z.infer<typeof packageKindSchema>): z.infer<typeof platformSchema> =>
  kind === 'exe' ? 'win32' : 'linux';

export const updateManifestSchema = z
  .strictObject({
    format: z.literal(1),
    /** Release key that signed: raw Ed25519 public key, hexadecimal. */
    key: z.string().regex(/^[0-9a-f]{64}$/),
    version,
    platform: platformSchema,
    arch: z.enum(['x64', 'arm64']),
    kind: packageKindSchema,
    /** Of the package; a plain name, no way into another folder. */
    fileName: z
      .string()
      .regex(
        /^[A-Za-z0-9][A-Za-z0-9._+~-]{0,120}$/,
        'it holds other signs than letters, digits and . _ + ~ -, or too many',
      ),
    bytes: z.int().min(1).max(UPDATE_BYTES_AT_MOST),
    sha256: sha256Schema,
    /** Oldest version that may be replaced by it. */
    minVersion: version,
    releasedAt: z.iso.datetime(),
    notes: z.strictObject({ en: notes, ja: notes }),
  })
  .refine(({ fileName, kind }) => fileName.endsWith(`.${kind}`), { message: 'the name is not that of such a package' })
  .refine(({ platform, kind }) => platform === platformOf(kind), {
    message: 'there is no such package for this platform',
  });
export type UpdateManifest = z.infer<typeof updateManifestSchema>;

/** Why a genuine update is none for this PC as it is. */
const unfitSchema = z.enum(['older', 'too-far', 'other-platform']);

export const updateAboutSchema = z.object({
  manifest: updateManifestSchema,
  /** What runs now. */
  running: z.object({ version: z.string(), platform: z.string(), arch: z.string() }),
  /** Empty: it can be installed here. */
  unfit: z.array(unfitSchema),
});
export type UpdateAbout = z.infer<typeof updateAboutSchema>;

/** A package that was written beside its update. */
export const unpackedUpdateSchema = updateAboutSchema.extend({
  file: z.string(),
  /** What an administrator types, or null: the file is opened as such files are. */
  command: z.string().nullable(),
});
