import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';
import type { Evidence, ModelCard } from '../contract/domain.ts';

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
    if ((cause as NodeJS.ErrnoException).code === 'ENOSPC') throw new AppError('DISK_FULL', { path: file }, { cause });
    throw new AppError('HOME_NOT_WRITABLE', { home: dirname(file), problem: problemOf(cause) }, { cause });
  }
}

/** Writes dir/{model.onnx, model.json, evidence.json}; the card last but one, so that a folder with evidence is complete. */
export async function writeBundle(
  dir: string,
  bundle: { model: Uint8Array; card: ModelCard; evidence: Evidence },
): Promise<void> {
  try {
    await mkdir(dir, { recursive: true });
  } catch (cause) {
    throw new AppError('HOME_NOT_WRITABLE', { home: dir, problem: problemOf(cause) }, { cause });
  }
  await writeAtomically(join(dir, 'model.onnx'), bundle.model);
  await writeAtomically(join(dir, 'model.json'), `${JSON.stringify(bundle.card, null, 2)}\n`);
  await writeAtomically(join(dir, 'evidence.json'), `${JSON.stringify(bundle.evidence, null, 2)}\n`);
}

/** Writes <out>/<id>/ in the place of what lies there: whoever looks sees a whole bundle or none. @throws as writeBundle */
export async function replaceBundle(
  out: string,
  id: string,
  bundle: { model: Uint8Array; card: ModelCard; evidence: Evidence },
): Promise<void> {
  const making = join(out, `.making-${id}`);
  try {
    // Left by a run that was killed.
    await rm(making, { recursive: true, force: true });
    await writeBundle(making, bundle);
    await rm(join(out, id), { recursive: true, force: true });
    await rename(making, join(out, id));
  } catch (cause) {
    await rm(making, { recursive: true, force: true });
    if (isAppError(cause)) throw cause;
    throw new AppError('HOME_NOT_WRITABLE', { home: out, problem: problemOf(cause) }, { cause });
  }
}
