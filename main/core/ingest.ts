import type { LineRecord } from '../contract/line.ts';
import type { Judgement, Part } from '../contract/domain.ts';
import { usefulness } from '../learning/queue.ts';
import type { QueueReason } from '../store/queue.ts';
import type { CoreContext } from './context.ts';
import type { MonitorService } from './monitor.ts';
import type { PlantEventsService } from './plant-events.ts';

/** Records per transaction: one fsync for all of them, without holding up other calls for long. */
const BATCH = 500;
/** Parts told to the windows per batch; who was away longer asks for the list. */
const TOLD = 50;

/** Why a judged part belongs into the labelling queue; null: it does not. */
const queueReasonOf = (judgement: Judgement): QueueReason | null => {
  if (judgement.verdict !== 'unsure') return null;
  switch (judgement.unsureReason) {
    case 'novel':
      return 'novel';
    case 'error':
    case 'late':
      return 'error';
    default:
      return 'low-margin';
  }
};

/** Where a reason lies in the queue: a person's wish first, then what was taught wrong, what is novel, what is doubtful. */
const BANDS: Record<QueueReason, { from: number; to: number }> = {
  sent: { from: 2.5, to: 3 },
  returned: { from: 2.5, to: 3 },
  suspect: { from: 2, to: 2.5 },
  novel: { from: 1, to: 2 },
  'low-margin': { from: 0.5, to: 1 },
  imported: { from: 0.4, to: 0.5 },
  error: { from: 0.2, to: 0.3 },
};

/** Place in the queue from a usefulness of 0..1 (learning/queue.ts): the reason comes before it. */
export const placeOf = (reason: QueueReason, useful: number): number => {
  const { from, to } = BANDS[reason];
  return from + (to - from) * useful;
};

/** The same before features were looked at: novelty and margin without diversity. */
export const usefulnessOf = (reason: QueueReason, judgement: Judgement): number =>
  placeOf(reason, usefulness(judgement));

export interface Ingest {
  /**
   * Stores line records, durably when it returns: duplicates (a spool that re-sends) are left out, holes in the numbering are
   * noted as lost records. Gives the greatest number that is stored.
   */
  store(stationId: string, records: LineRecord[]): number;
}

export const createIngest = (
  context: Pick<CoreContext, 'store' | 'log' | 'now' | 'emit'>,
  monitor: Pick<MonitorService, 'watch' | 'undo'>,
  plantEvents: Pick<PlantEventsService, 'parts'>,
): Ingest => {
  const { store, log } = context;
  const storeBatch = (
    stationId: string,
    records: LineRecord[],
  ): { fresh: LineRecord[]; stored: Part[]; queued: number; acknowledged: number; alarmed: boolean } =>
    store.transaction(() => {
      let acknowledged = store.stations.acknowledged(stationId);
      const fresh: LineRecord[] = [];
      const told: number[] = [];
      const watched: { partId: number; judgement: Judgement }[] = [];
      let queued = 0;
      for (const record of records) {
        if (record.seq <= acknowledged) continue;
        if (record.seq > acknowledged + 1) {
          store.stations.insertGap(stationId, acknowledged + 1, record.seq - 1, context.now());
          log.warn('line records missing', { stationId, from: acknowledged + 1, to: record.seq - 1 });
        }
        const partId = store.parts.insert({ ...record, stationId, origin: 'line', source: null });
        watched.push({ partId, judgement: record.judgement });
        const reason = queueReasonOf(record.judgement);
        // Without a picture, or without a model (then every part would come), there is nothing to gain from a label.
        if (reason !== null && record.imageSha !== null && record.judgement.unsureReason !== 'no-model') {
          store.queue.put(partId, stationId, reason, usefulnessOf(reason, record.judgement), record.judgement.classId);
          queued += 1;
        }
        acknowledged = record.seq;
        fresh.push(record);
        told.push(partId);
      }
      store.stations.setAcknowledged(stationId, acknowledged);
      const alarmed = monitor.watch(stationId, watched);
      const stored = told.slice(-TOLD).map((partId) => store.parts.get(partId));
      return { fresh, stored, queued, acknowledged, alarmed };
    });
  return {
    store(stationId, all) {
      const inOrder = all.toSorted((a, b) => a.seq - b.seq);
      let acknowledged = store.stations.acknowledged(stationId);
      for (let at = 0; at < inOrder.length; at += BATCH) {
        let batch: ReturnType<typeof storeBatch>;
        try {
          batch = storeBatch(stationId, inOrder.slice(at, at + BATCH));
        } catch (error) {
          monitor.undo(stationId);
          throw error;
        }
        acknowledged = batch.acknowledged;
        plantEvents.parts(stationId, batch.fresh);
        for (const part of batch.stored) context.emit('parts.inspected', part);
        if (batch.alarmed) context.emit('alarms.changed', { stationId });
        if (batch.queued > 0) context.emit('queue.changed', { stationId, total: store.queue.count(stationId) });
      }
      return acknowledged;
    },
  };
};
