import { randomUUID } from 'node:crypto';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { AppError } from '../contract/errors.ts';
import { normalisationBeside } from '../learning/backbone-file.ts';
import { sidecarOf, writeModelFile, type Model, type SourcedNormalisation } from '../onnx/index.ts';
import { outError, requireWritable } from '../store/files.ts';

/*
 * A model that an option names the place of, with a file beside it that says how its pixels are scaled where that is known: the next tool would assume it.
 */

/**
 * Before the work that makes the model.
 * @throws INVALID_INPUT where it or that file could not be written; and where a file that lies there already states a scaling, while that of this model is only assumed: it would be taken for its own
 */
export async function requirePlace(out: string, normalisation: SourcedNormalisation): Promise<void> {
  await requireWritable(out);
  const sidecar = sidecarOf(out, normalisation);
  if (sidecar) await requireWritable(sidecar.file);
  else if ((await normalisationBeside(out)).from === 'file') {
    const problem = `a file beside ${out} states how pixels are scaled, and for this model that is only assumed; take that file away, or choose another name`;
    throw new AppError('INVALID_INPUT', { what: '--out', problem });
  }
}

/** Both files whole, or none. @throws INVALID_INPUT, DISK_FULL */
export function writeModelOut(out: string, made: Model, normalisation: SourcedNormalisation): void {
  const sidecar = sidecarOf(out, normalisation);
  const waiting = `${out}.${randomUUID()}.tmp`;
  try {
    // On the disk before the model is: only its name is then missing.
    if (sidecar) writeFileSync(waiting, sidecar.text, { flag: 'wx', flush: true });
    writeModelFile(out, made);
    if (sidecar) renameSync(waiting, sidecar.file);
  } catch (cause) {
    rmSync(waiting, { force: true });
    throw outError(cause, out);
  }
}
