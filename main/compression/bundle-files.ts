import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';
import type { Evidence, ModelCard } from '../contract/domain.ts';

/** What a failed write is to the user. */
const writeProblem = (cause: unknown, path: string, folder: string): AppError =>
  (cause as NodeJS.ErrnoException).code === 'ENOSPC'
    ? new AppError('DISK_FULL', { path }, { cause })
    : new AppError('HOME_NOT_WRITABLE', { home: folder, problem: problemOf(cause) }, { cause });

/** With its parents. @throws DISK_FULL, HOME_NOT_WRITABLE */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw writeProblem(cause, folder, folder);
  }
}

/** Whole or not at all: temporary name, fsync, rename, fsync of the folder. @throws DISK_FULL, HOME_NOT_WRITABLE */
export async function writeAtomically(file: string, bytes: Uint8Array | string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const handle = await open(temporary, 'w');
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
    // Windows cannot open a folder; there the rename is as durable as it gets.
    if (process.platform !== 'win32') {
      const folder = await open(dirname(file), 'r');
      await folder.sync().finally(() => folder.close());
    }
  } catch (cause) {
    await rm(temporary, { force: true });
    throw writeProblem(cause, file, dirname(file));
  }
}

/** Writes dir/{model.onnx, model.json, evidence.json}; the card last but one, so that a folder with evidence is complete. */
export async function writeBundle(
  dir: string,
  bundle: { model: Uint8Array; card: ModelCard; evidence: Evidence },
): Promise<void> {
  await makeFolder(dir);
  await writeAtomically(join(dir, 'model.onnx'), bundle.model);
  await writeAtomically(join(dir, 'model.json'), `${JSON.stringify(bundle.card, null, 2)}\n`);
  await writeAtomically(join(dir, 'evidence.json'), `${JSON.stringify(bundle.evidence, null, 2)}\n`);
}

const MAKING = '.making-';

/** Takes away what a run that was killed left half-made in `out`. A folder that is not there: nothing to do. */
export async function sweepBundles(out: string): Promise<void> {
  const names = await readdir(out).catch(() => []);
  for (const name of names) if (name.startsWith(MAKING)) await rm(join(out, name), { recursive: true, force: true });
}

/** Writes <out>/<id>/ in the place of what lies there: whoever looks sees a whole bundle or none. @throws as writeBundle */
export async function replaceBundle(
  out: string,
  id: string,
  bundle: { model: Uint8Array; card: ModelCard; evidence: Evidence },
): Promise<void> {
  const making = join(out, `${MAKING}${id}`);
  try {
    // Left by a run that was killed.
    await rm(making, { recursive: true, force: true });
    await writeBundle(making, bundle);
    await rm(join(out, id), { recursive: true, force: true });
    await rename(making, join(out, id));
  } catch (cause) {
    await rm(making, { recursive: true, force: true });
    if (isAppError(cause)) throw cause;
    throw writeProblem(cause, join(out, id), out);
  }
}
