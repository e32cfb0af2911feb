import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Backbone } from '../../contract/domain.ts';
import { AppError, problemOf } from '../../contract/errors.ts';
import { importBackbone, readImportedBackbone } from '../../learning/backbone-file.ts';
import { assumedNormalisation } from '../../onnx/index.ts';
import { earlierShipped, ensureShippedBackbone } from '../../../native-models/shipped.ts';
import type { Context } from './context.ts';
import { warn } from './output.ts';
import { keptFolder } from './temporary-folder.ts';

/** What `<file>.json` is for. */
export const SIDECAR_HELP =
  '<file>.json beside it, {"mean": [r, g, b], "std": [r, g, b]}, says how pixels are scaled (else -1 to 1)';

/** Of every command that learns on a folder of images. */
export const BACKBONE_OPTION = [
  '--backbone <id|file>',
  `backbone (default: the shipped one); ${SIDECAR_HELP}`,
] as const;

const folderOf = (home: string) => join(home, 'backbones');

/** Says on stderr where the scaling of a backbone's pixels is no more than assumed. */
export function tellAssumed({ normalisationFrom, source }: Backbone): void {
  if (normalisationFrom === 'assumed') warn(assumedNormalisation(source));
}

/** --backbone: a file, an id of the data folder, or nothing for the shipped one. Tells where its scaling is assumed. */
export async function resolveBackbone(
  asked: string | undefined,
  context: Pick<Context, 'home' | 'threads'>,
): Promise<Backbone> {
  const backbone = await findBackbone(asked, context);
  tellAssumed(backbone);
  return backbone;
}

async function findBackbone(asked: string | undefined, context: Pick<Context, 'home' | 'threads'>): Promise<Backbone> {
  const shipped = await ensureShippedBackbone();
  if (asked === undefined || asked === shipped.id) return shipped;
  if ((await earlierShipped()).includes(asked)) return await ensureShippedBackbone(undefined, asked);
  const file = resolve(asked);
  if ((await stat(file).catch(() => null))?.isFile()) {
    // A run on a folder of images makes no data folder: its prepared backbone is scratch.
    return await importBackbone(file, { folder: keptFolder('backbones'), threads: context.threads });
  }
  try {
    return await readImportedBackbone(folderOf(context.home), asked);
  } catch (cause) {
    throw cause instanceof AppError ? cause : new AppError('BACKBONE_MISSING', { id: asked }, { cause });
  }
}

/** The shipped backbone and those added to the data folder that can be read; the others are told on stderr. */
export async function installedBackbones(context: Pick<Context, 'home'>): Promise<Backbone[]> {
  const files = await readdir(folderOf(context.home)).catch(() => []);
  const ids = files.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length));
  const added = await Promise.all(
    ids.sort().map((id) =>
      readImportedBackbone(folderOf(context.home), id).catch((error: unknown) => {
        warn(`backbone ${id} is left out: ${problemOf(error)}`);
        return null;
      }),
    ),
  );
  return [await ensureShippedBackbone(), ...added.filter((backbone) => backbone !== null)];
}
