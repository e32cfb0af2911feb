import { isAppError, problemOf } from '../contract/errors.ts';
import { embed } from '../learning/embedding.ts';
import { readRowsOf } from '../learning/feature-rows.ts';
import { likenessOf, rankQueue, usefulness } from '../learning/queue.ts';
import { viewOf } from '../store/features.ts';
import type { Backbones } from './backbones.ts';
import type { CoreContext } from './context.ts';
import { featureFileOf } from './feature-file.ts';
import { placeOf } from './ingest.ts';
import type { JobService } from './jobs.ts';

/** Items looked at per ranking: features take about 15 ms each. */
const RANKED_AT_MOST = 200;
/** Newest labelled pictures that what waits is compared with: what is like them teaches less. */
const LABELLED_AT_MOST = 200;
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
    const view = viewOf(station.recipe, null);
    const rows = store.labels
      .list(stationId)
      .map(({ imageSha, at }) => ({ at, row: store.features.row(backbone.id, imageSha, view) }))
      .filter(({ row }) => row >= 0)
      .sort((a, b) => (a.at < b.at ? 1 : -1))
      .slice(0, LABELLED_AT_MOST)
      .map(({ row }) => row);
    const known =
      rows.length > 0 ? await readRowsOf(featureFileOf(store.home, backbone.id), rows, backbone) : new Float32Array(0);
    const all = new Float32Array(features.length + known.length);
    all.set(features);
    all.set(known, features.length);
    const judged = judgements.some(({ modelId }) => modelId !== null);
    const order = rankQueue(
      likenessOf(embed(all, stages)),
      judged ? [...judgements.map(usefulness), ...rows.map(() => 0)] : null,
      { labelled: rows.map((_, i) => items.length + i) },
    );
    store.transaction(() => {
      store.queue.clearGroups(stationId);
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
