import { randomUUID } from 'node:crypto';
import { copyFile, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { backboneSchema, type Backbone } from '../contract/domain.ts';
import { AppError, problemOf } from '../contract/errors.ts';
import { nodeFiles, writeDurably } from '../store/files.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { syncFile } from './feature-file.ts';

/** Where backbones come from; handed in, so that the core does not run models itself. */
export interface BackboneSources {
  /** The one that the program ships, made if need be. BACKBONE_NOT_MADE, BACKBONE_MISSING. */
  shipped(): Promise<Backbone>;
  /** Looks a file over by running it. `features`: output names. MODEL_UNREADABLE, UNSUPPORTED_OP, BACKBONE_UNSUITABLE. */
  analyse(file: string, features: string[] | undefined): Promise<Backbone>;
}

export interface Backbones {
  handlers: HandlersOf<'backbones.list' | 'backbones.add'>;
  shipped(): Promise<Backbone>;
  /** BACKBONE_MISSING. */
  get(id: string): Promise<Backbone>;
}

export const createBackbones = (context: CoreContext, sources: BackboneSources): Backbones => {
  const { store, log } = context;
  const folder = join(store.home, 'backbones');
  let shippedOne: Promise<Backbone> | null = null;
  const shipped = (): Promise<Backbone> => {
    shippedOne ??= sources.shipped().catch((error: unknown) => {
      // The next call tries again: the package may be there by then.
      shippedOne = null;
      throw error;
    });
    return shippedOne;
  };

  const added = async (): Promise<Backbone[]> => {
    const names = (await readdir(folder)).filter((name) => name.endsWith('.json')).toSorted();
    const found = await Promise.all(
      names.map(async (name) => {
        try {
          const backbone = backboneSchema.parse(JSON.parse(await readFile(join(folder, name), 'utf8')));
          // The home may have been moved since.
          return [{ ...backbone, file: join(folder, `${backbone.id}.onnx`) }];
        } catch (error) {
          log.warn('backbone left out: its description cannot be read', { name, problem: problemOf(error) });
          return [];
        }
      }),
    );
    return found.flat();
  };
  const list = async (): Promise<Backbone[]> => {
    const first = await shipped().catch((error: unknown) => {
      log.warn('no shipped backbone', { problem: problemOf(error) });
      return null;
    });
    return [...(first === null ? [] : [first]), ...(await added())];
  };

  return {
    shipped,
    async get(id) {
      const found = (await list()).find((backbone) => backbone.id === id);
      if (found === undefined) throw new AppError('BACKBONE_MISSING', { id });
      return found;
    },
    handlers: {
      'backbones.list': list,
      async 'backbones.add'({ file, features }, session) {
        // Copied first: what was looked over is what is kept.
        const temporary = join(folder, `${randomUUID()}.onnx.tmp`);
        try {
          await copyFile(file, temporary);
        } catch (cause) {
          throw new AppError('MODEL_UNREADABLE', { file, problem: problemOf(cause) }, { cause });
        }
        try {
          const backbone = { ...(await sources.analyse(temporary, features)), source: file };
          const known = (await list()).find((other) => other.sha256 === backbone.sha256);
          if (known !== undefined) throw new AppError('ALREADY_EXISTS', { kind: 'backbone', id: known.id });
          const id = `bb-${backbone.sha256.slice(0, 12)}`;
          const kept: Backbone = { ...backbone, id, file: join(folder, `${id}.onnx`) };
          await syncFile(temporary);
          await rename(temporary, kept.file);
          await nodeFiles.syncDirectory(folder);
          await writeDurably(join(folder, `${id}.json`), `${JSON.stringify(kept, null, 2)}\n`);
          store.transaction(() =>
            store.audit.append({
              user: actor(session),
              action: 'backbones.add',
              subject: id,
              details: { file, sha256: kept.sha256 },
            }),
          );
          return kept;
        } finally {
          await rm(temporary, { force: true });
        }
      },
    },
  };
};
