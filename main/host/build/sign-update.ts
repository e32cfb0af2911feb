// Signs a package as an update file: node main/host/build/launch.mjs main/host/build/sign-update.ts PACKAGE --key FILE --out FILE
//   [--version V, default: that of this checkout] [--min-version V] [--arch x64|arm64, where the package's name does not tell] [--notes-en FILE] [--notes-ja FILE]
// The key: a PEM file made by `openssl genpkey -algorithm ed25519 -out FILE`, kept off this machine and never in the repository.
import { createHash, createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { encodeUpdate, openUpdate } from '../../audit/update-file.ts';
import { hexOfKey } from '../../audit/keys.ts';
import { packageKindSchema, platformOf, updateManifestSchema, type UpdateManifest } from '../../contract/update.ts';
import { programVersion } from '../version.ts';

export interface SignedUpdate {
  packageFile: string;
  out: string;
  key: KeyObject;
  about: Pick<UpdateManifest, 'version' | 'minVersion' | 'notes' | 'releasedAt'>;
  /** Default: what the package's name tells. */
  arch?: UpdateManifest['arch'] | undefined;
}

/** As electron-builder and Debian write it into names. */
const ARCHS = { x64: /[-_.](x64|amd64|x86_64)\b/, arm64: /[-_.](arm64|aarch64)\b/ } as const;

/** @throws where the name tells none and none is given, or another than is given: such an update would fit no PC, or the wrong one */
function archOf(fileName: string, given: UpdateManifest['arch'] | undefined): UpdateManifest['arch'] {
  const named = (['x64', 'arm64'] as const).find((arch) => ARCHS[arch].test(fileName));
  if (named !== undefined && given !== undefined && named !== given)
    throw new Error(`${fileName} is for ${named}, and not for ${given}`);
  const arch = given ?? named;
  if (arch === undefined)
    throw new Error(`${fileName} does not tell its architecture: give --arch x64 or --arch arm64`);
  return arch;
}

/** @throws where the name tells another version than the update would: its order among others, and what it may replace, would be wrong */
function checkVersion(fileName: string, version: string): void {
  const named = /[-_](\d+\.\d+\.\d+)/.exec(fileName)?.[1];
  if (named !== undefined && named !== version.split('-')[0])
    throw new Error(`${fileName} is of version ${named}, and not ${version}: give --version`);
}

/** Raw public half in hexadecimal: what a release is built with. */
export const releaseKeyOf = (key: KeyObject): string =>
  hexOfKey(createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString());

/** Writes the update, and opens it once as a PC will. The package is read twice and never held in memory. */
export async function signUpdate({ packageFile, out, key, about, arch }: SignedUpdate): Promise<UpdateManifest> {
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('the key is no Ed25519 key');
  const fileName = basename(packageFile);
  const kind = packageKindSchema.options.find((each) => fileName.endsWith(`.${each}`));
  if (kind === undefined) throw new Error(`${fileName} is none of ${packageKindSchema.options.join(', ')}`);
  checkVersion(fileName, about.version);
  const target = { platform: platformOf(kind), arch: archOf(fileName, arch) };
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(packageFile)) hash.update(chunk as Buffer);
  const parsed = updateManifestSchema.safeParse({
    format: 1,
    key: releaseKeyOf(key),
    ...about,
    ...target,
    kind,
    fileName,
    bytes: (await stat(packageFile)).size,
    sha256: hash.digest('hex'),
  } satisfies UpdateManifest);
  if (!parsed.success)
    throw new Error(
      `${fileName} cannot be signed: ${parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')}`,
    );
  const manifest = parsed.data;
  const { head, signature } = encodeUpdate(manifest, (bytes) => sign(null, bytes, key));
  const making = `${out}.part`;
  try {
    const handle = await open(making, 'w');
    try {
      await handle.writeFile(head);
      for await (const chunk of createReadStream(packageFile)) await handle.writeFile(chunk as Buffer);
      await handle.writeFile(signature);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await openUpdate(making, { keys: [manifest.key] });
    await rename(making, out);
  } finally {
    await rm(making, { force: true });
  }
  return manifest;
}

if (process.argv[1] && pathToFileURL(process.argv[1]).href === import.meta.url) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      key: { type: 'string' },
      out: { type: 'string' },
      version: { type: 'string', default: programVersion() },
      'min-version': { type: 'string', default: '0.0.0' },
      arch: { type: 'string' },
      'notes-en': { type: 'string' },
      'notes-ja': { type: 'string' },
    },
  });
  const [packageFile] = positionals;
  if (packageFile === undefined || values.key === undefined || values.out === undefined)
    throw new Error('give PACKAGE --key FILE --out FILE');
  const notes = (file: string | undefined) => (file === undefined ? '' : readFileSync(file, 'utf8').trim());
  const manifest = await signUpdate({
    packageFile,
    out: values.out,
    key: createPrivateKey(readFileSync(values.key)),
    // The schema refuses what is none of them.
    arch: values.arch as UpdateManifest['arch'] | undefined,
    about: {
      version: values.version,
      minVersion: values['min-version'],
      releasedAt: new Date().toISOString(),
      notes: { en: notes(values['notes-en']), ja: notes(values['notes-ja']) },
    },
  });
  process.stdout.write(`${values.out}: ${manifest.version}, key ${manifest.key}\n`);
}
