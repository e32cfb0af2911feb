import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Backbone } from '../main/contract/domain.ts';
import { AppError } from '../main/contract/errors.ts';
import { readManifest, sha256, sourceFolder, writeModel } from './make.ts';

/**
 * The backbone that is shipped, ready to use: made now if it is not there yet (under a second), its hash checked against the manifest.
 * @param folder of the manifest and the model; default: this one. Give it where the program runs from a bundle.
 * @param id default: the newest. Earlier ones stay: what a home has learnt on one means nothing on another.
 * @throws BACKBONE_NOT_MADE when it is missing and cannot be made, BUNDLE_ALTERED when it differs from the manifest.
 */
export async function ensureShippedBackbone(folder: string = sourceFolder(), id?: string): Promise<Backbone> {
  const { backbones } = await readManifest(folder);
  const entry = id === undefined ? backbones[0] : backbones.find((each) => each.id === id);
  if (!entry) {
    throw new AppError('BACKBONE_NOT_MADE', { id: id ?? 'manifest.json', problem: 'the manifest does not list it' });
  }
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

/** Ids of those shipped before the newest. @throws BACKBONE_NOT_MADE */
export const earlierShipped = async (folder: string = sourceFolder()): Promise<string[]> =>
  (await readManifest(folder)).backbones.slice(1).map(({ id }) => id);
