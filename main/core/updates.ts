import { randomUUID } from 'node:crypto';
import { open, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { compareVersions, openUpdate } from '../audit/update-file.ts';
import { AppError } from '../contract/errors.ts';
import type { UpdateAbout, UpdateManifest } from '../contract/update.ts';
import { nodeFiles, outError, removeLeft } from '../store/files.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { refuseInHome } from './outside.ts';

export interface UpdateTarget {
  /** Of the program that runs. */
  version: string;
  keys: readonly string[];
  platform?: string;
  arch?: string;
}

const aboutOf = (manifest: UpdateManifest, target: UpdateTarget): UpdateAbout => {
  const running = {
    version: target.version,
    platform: target.platform ?? process.platform,
    arch: target.arch ?? process.arch,
  };
  const unfit: UpdateAbout['unfit'] = [
    ...(compareVersions(manifest.version, running.version) < 0 ? (['older'] as const) : []),
    ...(compareVersions(running.version, manifest.minVersion) < 0 ? (['too-far'] as const) : []),
    ...(manifest.platform !== running.platform || manifest.arch !== running.arch ? (['other-platform'] as const) : []),
  ];
  return { manifest, running, unfit };
};

/** A genuine update, and whether it is one for this PC. NO_RELEASE_KEY, NOT_FOUND, UPDATE_REFUSED. */
export const verifyUpdate = async (file: string, target: UpdateTarget, signal?: AbortSignal): Promise<UpdateAbout> =>
  aboutOf(await openUpdate(file, { keys: target.keys, ...(signal && { signal }) }), target);

const quoted = (path: string): string => `'${path.replaceAll("'", `'\\''`)}'`;

/** What an administrator types to install it; null: the file is opened. */
const commandFor = ({ kind }: UpdateManifest, file: string): string | null => {
  if (kind === 'deb') return `sudo dpkg --install ${quoted(file)}`;
  if (kind === 'tar.gz')
    return `sudo tar --extract --strip-components=1 --directory=/opt/mekiki --file=${quoted(file)}`;
  if (kind === 'AppImage') return `chmod +x ${quoted(file)}`;
  return null;
};

/**
 * Writes the package of a genuine update that fits into `folder`, whole or not at all.
 * @throws UPDATE_OLDER (unless `allowDowngrade`), UPDATE_TOO_FAR, UPDATE_OTHER_PLATFORM, ALREADY_EXISTS, DISK_FULL, INVALID_INPUT for the folder, and those of verifyUpdate
 */
export const unpackUpdate = async (
  file: string,
  target: UpdateTarget,
  { folder = dirname(file), allowDowngrade = false }: { folder?: string | undefined; allowDowngrade?: boolean } = {},
  signal?: AbortSignal,
) => {
  // Twice read, once written: what is refused leaves nothing behind, and is told before half a gigabyte is copied.
  const about = await verifyUpdate(file, target, signal);
  const { manifest, running, unfit } = about;
  const details = { file, found: manifest.version, running: running.version };
  if (unfit.includes('older') && !allowDowngrade) throw new AppError('UPDATE_OLDER', details);
  if (unfit.includes('too-far')) throw new AppError('UPDATE_TOO_FAR', { ...details, needed: manifest.minVersion });
  if (unfit.includes('other-platform'))
    throw new AppError('UPDATE_OTHER_PLATFORM', {
      ...details,
      found: `${manifest.platform} ${manifest.arch}`,
      running: `${running.platform} ${running.arch}`,
    });
  const into = join(folder, manifest.fileName);
  const taken = await stat(into).then(
    () => true,
    () => false,
  );
  if (taken) throw new AppError('ALREADY_EXISTS', { kind: 'file', id: into });
  const making = `${into}.part-${randomUUID().slice(0, 8)}`;
  /** The folder is a person's, and none that --home names. */
  const inFolder = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      throw outError(error, folder, folder);
    });
  try {
    const handle = await inFolder(open(making, 'wx', 0o644));
    try {
      const written = await openUpdate(file, {
        keys: target.keys,
        take: (chunk) => inFolder(handle.writeFile(chunk)),
        ...(signal && { signal }),
      });
      if (written.sha256 !== manifest.sha256)
        throw new AppError('UPDATE_REFUSED', { file, problem: 'it was changed while it was read' });
      await inFolder(handle.sync());
    } finally {
      await handle.close();
    }
    await inFolder(rename(making, into));
    await nodeFiles.syncDirectory(folder);
  } finally {
    await removeLeft(making);
  }
  return { ...about, file: into, command: commandFor(manifest, into) };
};

export interface UpdateService {
  handlers: HandlersOf<'updates.verify' | 'updates.unpack'>;
}

/** Updates as files: proved and written out for the administrator who installs them. The program never installs itself. */
export const createUpdateService = (context: CoreContext, keys: readonly string[]): UpdateService => {
  const { store, version } = context;
  const target = { version, keys };
  const note = (action: 'update.verified' | 'update.unpacked', user: string, file: string, about: UpdateAbout) =>
    store.transaction(() =>
      store.audit.append({
        user,
        action,
        subject: about.manifest.version,
        details: { file, sha256: about.manifest.sha256, key: about.manifest.key, running: version },
      }),
    );
  return {
    handlers: {
      async 'updates.verify'({ file }, session, signal) {
        const about = await verifyUpdate(file, target, signal);
        note('update.verified', actor(session), file, about);
        return about;
      },
      async 'updates.unpack'({ file, folder, allowDowngrade }, session, signal) {
        await refuseInHome(store.home, folder ?? dirname(file));
        const made = await unpackUpdate(file, target, { folder, allowDowngrade }, signal);
        note('update.unpacked', actor(session), made.file, made);
        return made;
      },
    },
  };
};
