import { isAppError, problemOf } from '../contract/errors.ts';
import { embed } from '../learning/embedding.ts';
import { rankQueue, usefulness } from '../learning/queue.ts';
import type { Backbones } from './backbones.ts';
import type { CoreContext } from './context.ts';
import { placeOf } from './ingest.ts';
import type { JobService } from './jobs.ts';

/** Items looked at per ranking: features take about 15 ms each. */
const RANKED_AT_MOST = 200;
/** New unranked items that make another ranking worth its time. */
const WORTH_IT = 4;
export interface QueueRanking {
  /** Somebody looks at this queue: rank it in the background, unless that was done or a job needs the trainer. */
  wanted(stationId: string): void;
  close(): Promise<void>;
}

/**
 * Look-alike groups and diversity of the labelling queue, from the backbone's features. Without it (no trainer, a job under way)
 * the queue keeps its order by novelty and margin: this is an improvement, never a condition.
 */
export const createQueueRanking = (context: CoreContext, backbones: Backbones, jobs: JobService): QueueRanking => {
  const { store, processes, log } = context;
  const controller = new AbortController();
  let running: Promise<void> | null = null;

  const rank = async (stationId: string): Promise<void> => {
    const { items, unranked } = store.queue.forRanking(stationId, RANKED_AT_MOST);
    if (unranked < Math.min(WORTH_IT, items.length) || unranked === 0) return;
    const station = store.stations.get(stationId);
    const backbone = await backbones.get(station.backboneId);
    const trainer = await processes.trainer();
    let features: Float32Array;
    try {
      const images = items.map(({ imageSha }) => ({
        sha: imageSha,
        file: store.images.pathOf(imageSha),
        region: null,
      }));
      ({ features } = await trainer.call(
        'trainer.features',
        { backbone, recipe: station.recipe, images, threads: context.trainerThreads },
        { signal: controller.signal },
      ));
    } finally {
      trainer.close?.();
    }
    const judgements = items.map(({ partId }) => store.parts.get(partId).judgement);
    const stages = backbone.featureOutputs.map(({ channels }) => channels);
    const order = rankQueue(embed(features, stages), judgements.map(usefulness));
    store.transaction(() => {
      for (const { index, usefulness: useful, groupId } of order) {
        const { partId } = items[index]!;
        const item = store.queue.item(partId);
        // Labelled or skipped while the trainer was at work.
        if (item === null || store.queue.state(partId) !== 'open') continue;
        store.queue.setRank(partId, { usefulness: placeOf(item.reason, useful), groupId, suggestedClassId: null });
      }
    });
    context.emit('queue.changed', { stationId, total: store.queue.count(stationId) });
  };

  return {
    wanted(stationId) {
      if (running !== null || jobs.busy() || controller.signal.aborted) return;
      running = rank(stationId)
        .catch((error: unknown) => {
          if (controller.signal.aborted) return;
          const expected = isAppError(error);
          log[expected ? 'info' : 'error']('queue not ranked; it keeps its order', {
            stationId,
            problem: problemOf(error),
          });
        })
        .finally(() => {
          running = null;
        });
    },
    async close() {
      controller.abort();
      await running;
    },
  };
};
