import { AppError } from '../contract/errors.ts';
import { bundleDirOf } from './bundle-folder.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { usefulnessOf } from './ingest.ts';

export interface PartService {
  handlers: HandlersOf<'parts.recent' | 'parts.get' | 'parts.toQueue' | 'parts.heatMap'>;
}

/** A person waits for it. */
const HEAT_MAP_TIMEOUT_S = 30;

export const createPartService = (context: CoreContext): PartService => {
  const { store } = context;
  return {
    handlers: {
      'parts.recent': async ({ stationId, limit, before, verdict }) =>
        store.parts.recent(stationId, {
          limit,
          ...(before !== undefined && { before }),
          ...(verdict !== undefined && { verdict }),
        }),
      'parts.get': async ({ partId }) => store.parts.get(partId),
      async 'parts.toQueue'({ partId }, session) {
        const part = store.parts.get(partId);
        if (part.imageSha === null) throw new AppError('NOT_FOUND', { kind: 'image of part', id: String(partId) });
        if (store.golden.has(part.stationId, part.imageSha)) throw new AppError('GOLDEN_IMAGE', { part: partId });
        store.images.keep(part.imageSha);
        store.transaction(() => {
          store.queue.put(partId, part.stationId, 'sent', usefulnessOf('sent', part.judgement), part.judgement.classId);
          store.audit.append({ user: actor(session), action: 'parts.toQueue', subject: String(partId) });
        });
        context.emit('queue.changed', { stationId: part.stationId, total: store.queue.count(part.stationId) });
        const item = store.queue.item(partId);
        if (item === null) throw new AppError('NOT_FOUND', { kind: 'queue item', id: String(partId) });
        return item;
      },
      async 'parts.heatMap'({ partId }, _session, signal) {
        const part = store.parts.get(partId);
        const { modelId, classId, tile } = part.judgement;
        if (part.imageSha === null) throw new AppError('NOT_FOUND', { kind: 'image of part', id: String(partId) });
        if (modelId === null || classId === null) {
          throw new AppError('NO_ACTIVE_MODEL', { stationId: part.stationId });
        }
        const candidate = store.candidates.get(modelId);
        const station = store.stations.get(part.stationId);
        const trainer = await context.processes.trainer();
        try {
          return await trainer.call(
            'trainer.heatMap',
            {
              bundleDir: bundleDirOf(store.home, candidate.id),
              file: store.images.pathOf(part.imageSha),
              region: tile === null ? null : { x: tile.x, y: tile.y, width: tile.width, height: tile.height },
              recipe: station.recipe,
              classId,
            },
            { signal: AbortSignal.any([signal, AbortSignal.timeout(HEAT_MAP_TIMEOUT_S * 1000)]) },
          );
        } finally {
          trainer.close?.();
        }
      },
    },
  };
};
