import { subtle } from 'node:crypto';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sha256Schema } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { diskError, nodeFiles, writeDurably, type FilePort } from './files.ts';

/** Pictures by content: images/ab/<sha256 of the file's bytes>.png. The same picture is stored once, and never changed. */
export interface ImageFiles {
  pathOf(sha: string): string;
  /** Stores PNG bytes; gives their sha256. On the disk for good when it returns. DISK_FULL, HOME_NOT_WRITABLE. */
  put(png: Uint8Array): Promise<string>;
  /** As `put`, and says whether it made the file: of two who bring the same picture, at once or not, the first alone. */
  putNew(png: Uint8Array): Promise<{ sha: string; isNew: boolean }>;
  has(sha: string): Promise<boolean>;
  /** Marks a picture that must outlive the line's ring of ok pictures: labelled, queued, imported. Done when it returns. */
  keep(sha: string): void;
  /** Takes pictures and their marks away, for good when it returns; what is not there is no error. HOME_NOT_WRITABLE. */
  remove(shas: readonly string[]): Promise<void>;
  /** Bytes of the file; null: there is none. */
  size(sha: string): Promise<number | null>;
  /** NOT_FOUND when there is no such file, or none that still has this hash. */
  read(sha: string): Promise<Buffer>;
}

/** Where a picture lies, by its sha256. @param sha of hexadecimal digits only, or it could point elsewhere */
export const imageFile = (home: string, sha: string): string => join(home, 'images', sha.slice(0, 2), `${sha}.png`);

/** Of whole frames, several at a time: off the thread that answers the window and the lines. */
const sha256Of = async (bytes: Uint8Array): Promise<string> =>
  Buffer.from(await subtle.digest('SHA-256', bytes)).toString('hex');

export const createImageFiles = (home: string, files: FilePort = nodeFiles): ImageFiles => {
  const pathOf = (sha: string): string => {
    // Also keeps '../' out of the path, wherever the name came from.
    if (!sha256Schema.safeParse(sha).success) throw new AppError('NOT_FOUND', { kind: 'image', id: sha.slice(0, 80) });
    return imageFile(home, sha);
  };
  const store = async (path: string, png: Uint8Array): Promise<boolean> => {
    const size = await files.size(path);
    // A file of another length is what a torn disk left: it is replaced, and was there.
    if (size === png.length) return false;
    const folder = dirname(path);
    const folderIsNew = (await files.size(folder)) === null;
    await writeDurably(path, png, { files });
    if (folderIsNew) await files.syncDirectory(dirname(folder));
    return size === null;
  };
  const storing = new Map<string, Promise<unknown>>();
  const putNew = async (png: Uint8Array) => {
    const sha = await sha256Of(png);
    const path = pathOf(sha);
    // One that brings the same picture may fail: this one tries then.
    while (storing.has(sha)) await storing.get(sha)!.catch(() => {});
    const stored = store(path, png);
    storing.set(sha, stored);
    try {
      return { sha, isNew: await stored };
    } finally {
      storing.delete(sha);
    }
  };
  return {
    pathOf,
    putNew,
    put: async (png) => (await putNew(png)).sha,
    keep(sha) {
      try {
        mkdirSync(dirname(pathOf(sha)), { recursive: true });
        closeSync(openSync(pathOf(sha).replace(/\.png$/, '.keep'), 'a'));
      } catch (cause) {
        throw diskError(cause, home);
      }
    },
    async remove(shas) {
      const folders = new Set<string>();
      try {
        for (const path of shas.map(pathOf)) {
          const folder = dirname(path);
          // The line's ring may have taken it, and the last of its folder was never there after a restore.
          if ((await files.size(folder)) === null) continue;
          await files.remove(path);
          await files.remove(path.replace(/\.png$/, '.keep'));
          folders.add(folder);
        }
        for (const folder of folders) await files.syncDirectory(folder);
      } catch (cause) {
        throw diskError(cause, home);
      }
    },
    size: async (sha) => files.size(pathOf(sha)),
    has: async (sha) => (await files.size(pathOf(sha))) !== null,
    async read(sha) {
      const missing = (cause?: unknown) => new AppError('NOT_FOUND', { kind: 'image', id: sha }, { cause });
      const bytes = await readFile(pathOf(sha)).catch((cause: NodeJS.ErrnoException) => {
        throw cause.code === 'ENOENT' ? missing(cause) : cause;
      });
      if ((await sha256Of(bytes)) !== sha) throw missing();
      return bytes;
    },
  };
};
