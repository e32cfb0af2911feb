import type { LineRecord } from '../contract/line.ts';
import type { Judgement, Part } from '../contract/domain.ts';
import type { QueueReason } from '../store/queue.ts';
import type { CoreContext } from './context.ts';

/** Records per transaction: one fsync for all of them, without holding up other calls for long. */
const BATCH = 500;
/** Parts told to the windows per batch; who was away longer asks for the list. */
const TOLD = 50;

/** Why a judged part belongs into the labelling queue; null: it does not. */
export const queueReasonOf = (judgement: Judgement): QueueReason | null => {
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

/**
 * Order of the queue before features are looked at; higher comes first. Sent by a person: 3. Novel: 1..2 by how far beyond the
 * limit. Low margin: 0.5..1 by how near the decision was. Imported and errors below.
 */
export const usefulnessOf = (reason: QueueReason, judgement: Judgement): number => {
  switch (reason) {
    case 'sent':
      return 3;
    case 'novel': {
      const beyond = judgement.noveltyLimit > 0 ? judgement.novelty / judgement.noveltyLimit - 1 : 1;
      return 1 + Math.min(1, Math.max(0, Number.isFinite(beyond) ? beyond : 0));
    }
    case 'low-margin':
      return 0.5 + 0.5 * (1 - Math.min(1, Math.max(0, judgement.margin)));
    case 'imported':
      return 0.4;
    case 'error':
      return 0.3;
  }
};

export interface Ingest {
  /**
   * Stores line records, durably when it returns: duplicates (a spool that re-sends) are left out, holes in the numbering are
   * noted as lost records. Gives the greatest number that is stored.
   */
  store(stationId: string, records: LineRecord[]): number;
}

export const createIngest = (context: CoreContext): Ingest => {
  const { store, log } = context;
  const storeBatch = (
    stationId: string,
    records: LineRecord[],
  ): { stored: Part[]; queued: number; acknowledged: number } =>
    store.transaction(() => {
      let acknowledged = store.stations.acknowledged(stationId);
      const stored: Part[] = [];
      let queued = 0;
      for (const record of records) {
        if (record.seq <= acknowledged) continue;
        if (record.seq > acknowledged + 1) {
          store.stations.insertGap(stationId, acknowledged + 1, record.seq - 1, context.now());
          log.warn('line records missing', { stationId, from: acknowledged + 1, to: record.seq - 1 });
        }
        const partId = store.parts.insert({ ...record, stationId, origin: 'line', source: null });
        const reason = queueReasonOf(record.judgement);
        // Without a picture, or without a model (then every part would come), there is nothing to gain from a label.
        if (reason !== null && record.imageSha !== null && record.judgement.unsureReason !== 'no-model') {
          store.queue.put(partId, stationId, reason, usefulnessOf(reason, record.judgement), record.judgement.classId);
          queued += 1;
        }
        acknowledged = record.seq;
        if (stored.length === TOLD) stored.shift();
        stored.push(store.parts.get(partId));
      }
      store.stations.setAcknowledged(stationId, acknowledged);
      return { stored, queued, acknowledged };
    });
  return {
    store(stationId, records) {
      const inOrder = records.toSorted((a, b) => a.seq - b.seq);
      let acknowledged = store.stations.acknowledged(stationId);
      for (let at = 0; at < inOrder.length; at += BATCH) {
        const batch = storeBatch(stationId, inOrder.slice(at, at + BATCH));
        acknowledged = batch.acknowledged;
        for (const part of batch.stored) context.emit('parts.inspected', part);
        if (batch.queued > 0) context.emit('queue.changed', { stationId, total: store.queue.count(stationId) });
      }
      return acknowledged;
    },
  };
};
