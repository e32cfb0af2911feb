import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backbone } from '../contract/domain.ts';
import { AppError, problemOf } from '../contract/errors.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';

/** Where backbones come from; handed in, so that nothing of ONNX is loaded before somebody adds one. */
export interface BackboneSources {
  /** The one that the program ships, made if need be. BACKBONE_NOT_MADE, BUNDLE_ALTERED. */
  shipped(): Promise<Backbone>;
  /** One that the program shipped before, for a station that has learnt on it; null: there was none of this id. */
  earlier?(id: string): Promise<Backbone | null>;
  /**
   * Looks a file over by running it, and writes a prepared copy and its description into the folder.
   * NOT_FOUND, INVALID_INPUT, MODEL_UNREADABLE, MODEL_DATA_MISSING, GRAPH_INVALID, UNSUPPORTED_OP, BACKBONE_UNSUITABLE.
   */
  take(file: string, options: { folder: string; features?: readonly string[]; threads: number }): Promise<Backbone>;
  /** One that `take` left in the folder, its file compared with its hash. BACKBONE_MISSING, BUNDLE_ALTERED. */
  read(folder: string, id: string): Promise<Backbone>;
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
          return [await sources.read(folder, name.slice(0, -'.json'.length))];
        } catch (error) {
          log.warn('backbone left out: it cannot be read, or its file was changed', {
            name,
            problem: problemOf(error),
          });
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
      const found = (await list()).find((backbone) => backbone.id === id) ?? (await sources.earlier?.(id)) ?? undefined;
      if (found === undefined) throw new AppError('BACKBONE_MISSING', { id });
      return found;
    },
    handlers: {
      'backbones.list': list,
      async 'backbones.add'({ file, features }, session) {
        const backbone = await sources.take(file, {
          folder,
          threads: context.trainerThreads,
          ...(features !== undefined && { features }),
        });
        const { id, sha256 } = backbone;
        store.transaction(() =>
          store.audit.append({ user: actor(session), action: 'backbones.add', subject: id, details: { file, sha256 } }),
        );
        return backbone;
      },
    },
  };
};
