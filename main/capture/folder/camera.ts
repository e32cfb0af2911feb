import { createHash } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { access, copyFile, link, lstat, mkdir, opendir, readFile, stat, unlink } from 'node:fs/promises';
import { basename, dirname, extname, isAbsolute, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CameraConfig } from '../../contract/domain.ts';
import { AppError, isAppError, problemOf } from '../../contract/errors.ts';
import { nodeFiles, syncFile } from '../../store/files.ts';
import { decodeImage, loadDecoder } from '../../vision/decode.ts';
import type { Camera, CameraListener, FrameSink } from '../camera.ts';
import { openJournal, type FileIdentity, type Journal } from './journal.ts';
import { isClutter } from '../../vision/clutter.ts';

export type FolderConfig = Extract<CameraConfig, { kind: 'folder' }>;

export interface FolderCameraOptions {
  /** Files come by themselves: anything but free run is refused. */
  triggering?: 'free-run' | 'software' | 'hardware';
  /** Named in problems. */
  cameraId: string;
  /** Where it is remembered which files were taken; the caller's, outside the watched folder. */
  journalFile: string;
  maxPixels: number;
}

/** A file whose content does not decode may still be being written, however long its size has not changed: so often it is tried. */
const MAX_TRIES = 5;
/** A file that is written on without end is told once and let be. */
const MAX_BYTES = 2 ** 31 - 1;
/** Names whose next number in the done folder is remembered; for others it is looked for. */
const MAX_NUMBERED = 1000;

/** A name of which not all bytes are UTF-8, as on a share that is mounted without its character set: no file can be opened by it. */
const isGarbled = (name: string): boolean => name.includes('\ufffd');

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** The copy is on the disk when this returns: after a power cut it may be all that is left. */
async function copyDurably(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  await syncFile(to);
  await nodeFiles.syncDirectory(dirname(to));
}

/** @throws EEXIST where another file has the name: rename() would replace it. */
async function giveName(from: string, to: string): Promise<void> {
  // A symbolic link would be linked itself.
  if ((await lstat(from)).isSymbolicLink()) return copyDurably(from, to);
  try {
    await link(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
    // Another volume, or one without links, or a file that is not ours.
    await copyDurably(from, to);
  }
}

interface Watched extends FileIdentity {
  /** Polls at which it looked the same. */
  stable: number;
  tries: number;
  /** Told as rejected; only looked at again when it changes. */
  given: boolean;
}

/**
 * Takes each file of a folder once, oldest name first, by polling: notifications of the system are lost on network shares. A file
 * is taken when two polls found it alike and it decodes. Waits for room instead of dropping: files do not run away.
 *
 * Unlike a real camera it does not lose frames while the line is stopped: they are taken at the next start.
 */
export function createFolderCamera(config: FolderConfig, options: FolderCameraOptions): Camera {
  const stop = new AbortController();
  const { signal } = stop;
  const watched = new Map<string, Watched>();
  const doneDir = config.moveTo ?? join(dirname(resolve(config.path)), 'done');
  const nextNumbers = new Map<string, number>();
  let running: Promise<void> = Promise.resolve();
  let delivering: boolean | null = null;
  let moves = true;

  const lost = (problem: string, cause?: unknown) =>
    new AppError('CAMERA_LOST', { cameraId: options.cameraId, problem }, { cause });
  const misconfigured = (problem: string, cause?: unknown) =>
    new AppError('CAMERA_CONFIG', { cameraId: options.cameraId, problem }, { cause });

  /** Files there are now, in order of name. `names` has those, too, that could not be looked at: they are not known to be gone. */
  const list = async (): Promise<{ files: FileIdentity[]; names: Set<string> }> => {
    const found: string[] = [];
    const folder = await opendir(config.path);
    for await (const entry of folder as AsyncIterable<Dirent>) {
      if (!entry.isDirectory() && !isClutter(entry.name)) found.push(entry.name);
    }
    found.sort();
    const files: FileIdentity[] = [];
    const names = new Set<string>();
    for (const name of found) {
      try {
        const info = await stat(join(config.path, name));
        // A pipe would block whoever reads it.
        if (!info.isFile()) continue;
        files.push({ name, size: info.size, mtimeMs: info.mtimeMs });
      } catch (error) {
        // Gone again between listing and looking. Anything else may be the share that goes away: the next listing tells.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
          if (!isGarbled(name)) continue;
          files.push({ name, size: 0, mtimeMs: 0 });
        }
      }
      names.add(name);
    }
    return { files, names };
  };

  /** False: it is gone, was written on, or another one has its name by now. */
  const isStill = async ({ name, size, mtimeMs }: FileIdentity): Promise<boolean> => {
    try {
      const info = await stat(join(config.path, name));
      return info.size === size && info.mtimeMs === mtimeMs;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
  };

  /** The name that a file has in the done folder when others have had its own. */
  const numbered = (name: string, number: number): string => {
    const ending = extname(name);
    return join(doneDir, number === 0 ? name : `${basename(name, ending)} (${number})${ending}`);
  };

  /** A number that nobody has, above one that is taken. In steps that double, then halve: a source that uses one name again has thousands. */
  const freeAbove = async (name: string, number: number): Promise<number> => {
    let taken = number;
    let free = number + 1;
    for (let step = 1; await isThere(numbered(name, free)); step *= 2) {
      taken = free;
      free += step;
    }
    while (free - taken > 1) {
      const middle = Math.floor((taken + free) / 2);
      if (await isThere(numbered(name, middle))) taken = middle;
      else free = middle;
    }
    return free;
  };

  /** To a name in the done folder that nobody has. */
  const moveAway = async (name: string): Promise<void> => {
    await mkdir(doneDir, { recursive: true });
    const from = join(config.path, name);
    let number = nextNumbers.get(name) ?? 0;
    for (;;) {
      try {
        await giveName(from, numbered(name, number));
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        number = await freeAbove(name, number);
      }
    }
    // Most sources give each file a name of its own: those need no number.
    if (number > 0) {
      if (nextNumbers.size >= MAX_NUMBERED) nextNumbers.clear();
      nextNumbers.set(name, number + 1);
    }
    await unlink(from);
  };

  const finish = async (file: Watched, journal: Journal, listener: CameraListener) => {
    if (config.after !== 'move') return;
    try {
      // What came under its name while it waited for room was not inspected: the next polls find it.
      if (!(await isStill(file))) return;
      await moveAway(file.name);
      journal.forget(file.name);
      watched.delete(file.name);
      if (!moves) listener.onTrouble(null);
      moves = true;
    } catch (error) {
      moves = false;
      // It was taken and is remembered; that it stays is the engineer's to know, not the line's to stop for.
      listener.onTrouble(misconfigured(`${file.name} cannot be moved to ${doneDir}: ${problemOf(error)}`, error));
    }
  };

  const reject = async (file: Watched, problem: AppError, journal: Journal, sha: string, listener: CameraListener) => {
    file.given = true;
    journal.add(file, sha);
    listener.onRejected({ source: file.name, problem });
    await finish(file, journal, listener);
  };

  const take = async (file: Watched, journal: Journal, sink: FrameSink, listener: CameraListener) => {
    const path = join(config.path, file.name);
    if (file.size > MAX_BYTES) {
      const problem = new AppError('IMAGE_UNREADABLE', { file: file.name, problem: `it has ${file.size} bytes` });
      return reject(file, problem, journal, '', listener);
    }
    let bytes: Buffer;
    try {
      bytes = await readFile(path);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT' && !isGarbled(file.name)) return;
      // Held by its writer (Windows: EBUSY), or not ours to read: tried again a few times.
      file.tries += 1;
      if (file.tries < MAX_TRIES) return;
      const why = isGarbled(file.name) ? 'its name is not UTF-8, and no file is found by it' : problemOf(cause);
      const problem = new AppError('IMAGE_UNREADABLE', { file: file.name, problem: why }, { cause });
      return reject(file, problem, journal, '', listener);
    }
    // Many were listed before it, each of which took its time: it may be half another picture by now.
    if (!(await isStill(file))) return;
    const sha = createHash('sha256').update(bytes).digest('hex');
    if (journal.hashOf(file.name) === sha) {
      // Only touched or copied over itself: the same picture under the same name.
      journal.add(file, sha);
      return finish(file, journal, listener);
    }
    let decoded: Awaited<ReturnType<typeof decodeImage>>;
    try {
      decoded = await decodeImage(bytes, { name: file.name, maxPixels: options.maxPixels });
    } catch (error) {
      if (!isAppError(error)) throw error;
      file.tries += 1;
      const mayBeUnfinished = error.code === 'IMAGE_UNREADABLE' && file.tries < MAX_TRIES;
      if (mayBeUnfinished) {
        file.stable = 0;
        return;
      }
      return reject(file, error, journal, sha, listener);
    }
    const { image, notes } = decoded;
    for (;;) {
      await sink.whenFree(signal);
      if (signal.aborted) return;
      if (sink.offer({ image, capturedAt: new Date(), notes, source: file.name })) break;
    }
    journal.add(file, sha);
    await finish(file, journal, listener);
  };

  const poll = async (journal: Journal, sink: FrameSink, listener: CameraListener): Promise<void> => {
    const { files, names } = await list();
    for (const name of watched.keys()) if (!names.has(name)) watched.delete(name);
    journal.retain(names);
    for (const file of files) {
      const before = watched.get(file.name);
      const alike = before !== undefined && before.size === file.size && before.mtimeMs === file.mtimeMs;
      if (alike) before.stable += 1;
      else watched.set(file.name, { ...file, stable: 0, tries: 0, given: false });
      if (!alike || before.given || before.stable < 1 || journal.knows(file)) continue;
      await take(before, journal, sink, listener);
      if (signal.aborted) return;
    }
  };

  const run = async (journal: Journal, sink: FrameSink, listener: CameraListener) => {
    while (!signal.aborted) {
      try {
        await poll(journal, sink, listener);
        if (delivering !== true) listener.onState({ kind: 'delivering' });
        delivering = true;
      } catch (error) {
        // The folder is away (share or stick unplugged) or cannot be listed: told once, tried on.
        if (delivering !== false) {
          listener.onState({ kind: 'lost', problem: lost(`${config.path}: ${problemOf(error)}`, error) });
        }
        delivering = false;
        watched.clear();
      }
      await sleep(config.pollMs, undefined, { signal }).catch(() => {});
    }
  };

  const dispose = async () => {
    stop.abort();
    await running;
  };
  return {
    async open(sink: FrameSink, listener: CameraListener) {
      if (!isAbsolute(config.path)) throw misconfigured(`"${config.path}" is not an absolute path`);
      const info = await stat(config.path).catch(() => null);
      if (info && !info.isDirectory()) throw misconfigured(`${config.path} is not a folder`);
      if (options.triggering !== undefined && options.triggering !== 'free-run')
        throw misconfigured('files come by themselves: the trigger has to be free run');
      if (config.after === 'move') {
        if (resolve(doneDir) === resolve(config.path)) throw misconfigured('the folder to move to is the watched one');
        try {
          await mkdir(doneDir, { recursive: true });
          await access(doneDir, constants.W_OK);
        } catch (cause) {
          throw misconfigured(`${doneDir} cannot be written: ${problemOf(cause)}`, cause);
        }
      }
      await loadDecoder();
      const journal = openJournal(options.journalFile);
      running = run(journal, sink, listener);
    },
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}
