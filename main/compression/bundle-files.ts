import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isAppError } from '../contract/errors.ts';
import type { Evidence, ModelCard } from '../contract/domain.ts';
import { diskError, writeDurably } from '../store/files.ts';

/** With its parents. @throws DISK_FULL, HOME_NOT_WRITABLE */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw diskError(cause, folder);
  }
}

/** Writes dir/{model.onnx, model.json, evidence.json}; the card last but one, so that a folder with evidence is complete. */
export async function writeBundle(
  dir: string,
  bundle: { model: Uint8Array; card: ModelCard; evidence: Evidence },
): Promise<void> {
  await makeFolder(dir);
  await writeDurably(join(dir, 'model.onnx'), bundle.model);
  await writeDurably(join(dir, 'model.json'), `${JSON.stringify(bundle.card, null, 2)}\n`);
  await writeDurably(join(dir, 'evidence.json'), `${JSON.stringify(bundle.evidence, null, 2)}\n`);
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
    throw diskError(cause, join(out, id));
  }
}
