import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Backbone } from '../main/contract/domain.ts';
import { AppError } from '../main/contract/errors.ts';
import { readManifest, sha256, sourceFolder, writeModel } from './make.ts';

/**
 * The backbone that is shipped, ready to use: made now if it is not there yet (under a second), its hash checked against the manifest.
 * @param folder of the manifest and the model; default: this one. Give it where the program runs from a bundle.
 * @throws BACKBONE_NOT_MADE when it is missing and cannot be made, BUNDLE_ALTERED when it differs from the manifest.
 */
export async function ensureShippedBackbone(folder: string = sourceFolder()): Promise<Backbone> {
  const [entry] = (await readManifest(folder)).backbones;
  if (!entry) throw new AppError('BACKBONE_NOT_MADE', { id: 'manifest.json', problem: 'it lists no backbone' });
  const file = resolve(join(folder, entry.fileName));
  let bytes: Uint8Array | null = null;
  try {
    bytes = await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new AppError('BACKBONE_NOT_MADE', { id: entry.id, problem: (error as Error).message }, { cause: error });
    }
  }
  if (!bytes) await writeModel(entry, folder);
  // Never replaced silently: a file that differs may be someone's doing.
  else if (sha256(bytes) !== entry.sha256) throw new AppError('BUNDLE_ALTERED', { file });
  const { fileName: _name, opset: _opset, inputs: _inputs, outputs: _outputs, made: _made, ...backbone } = entry;
  return { ...backbone, file };
}
