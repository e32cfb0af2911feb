import type { Judgement } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { createPartMonitor, REFERENCE_PARTS, type WatchedPart } from '../learning/monitor/part-monitor.ts';
import type { MonitorRow } from '../store/alarms.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';

/** Alarms that a list shows. */
const LISTED = 200;

export interface MonitorService {
  handlers: HandlersOf<'alarms.list' | 'alarms.acknowledge' | 'alarms.state'>;
  /**
   * Feeds the charts with parts that were just stored, in order, within the caller's transaction: after a power cut charts and archive agree.
   * @returns whether an alarm was raised
   */
  watch(stationId: string, parts: readonly { partId: number; judgement: Judgement }[]): boolean;
  /** That transaction failed: charts are as they were stored. */
  undo(stationId: string): void;
  /** A model was activated, also one that ran before: what is usual is learnt anew. Within the caller's transaction. */
  restart(stationId: string): void;
}

interface Watch extends MonitorRow {
  /** Until they are enough; afterwards in the charts. */
  reference: WatchedPart[];
  charts: ReturnType<typeof createPartMonitor> | null;
}

/**
 * Control charts per station (learning/monitor): the first parts after an activation are what is usual, all later ones are watched. An open alarm
 * keeps its measure silent until somebody acknowledges it.
 */
export const createMonitorService = (context: CoreContext): MonitorService => {
  const { store, log } = context;
  const watches = new Map<string, Watch>();

  /** As it was before a restart: levels from its row, the reference from the archive. */
  const known = (stationId: string): Watch | null => {
    const here = watches.get(stationId);
    if (here !== undefined) return here;
    const row = store.alarms.monitor(stationId);
    if (row === null) return null;
    const reference = store.alarms.firstJudgements(stationId, row, Math.min(row.seen, REFERENCE_PARTS));
    const charts = row.seen >= REFERENCE_PARTS ? createPartMonitor(reference, row.levels) : null;
    const watch = { ...row, reference: charts ? [] : reference, charts };
    watches.set(stationId, watch);
    return watch;
  };

  /** Whoever looks at an alarm wants to see its part. Records are stored all the same where that fails. */
  const keepPicture = (partId: number): void => {
    const { imageSha } = store.parts.get(partId);
    if (imageSha === null) return;
    try {
      store.images.keep(imageSha);
    } catch (error) {
      log.warn('the picture of an alarm is not kept', { partId, error });
    }
  };

  return {
    watch(stationId, parts) {
      let raised = false;
      let watch = known(stationId);
      for (const { partId, judgement } of parts) {
        // Not judged by a model: nothing to compare.
        if (judgement.modelId === null) continue;
        if (watch?.modelId !== judgement.modelId) {
          const { modelId } = judgement;
          watch = { modelId, firstPartId: partId, seen: 0, levels: {}, reference: [], charts: null };
          watches.set(stationId, watch);
        }
        watch.seen += 1;
        if (watch.charts === null) {
          watch.reference.push(judgement);
          if (watch.reference.length < REFERENCE_PARTS) continue;
          watch.charts = createPartMonitor(watch.reference);
          watch.reference = [];
          log.info('monitor knows what is usual', { stationId, modelId: watch.modelId, parts: REFERENCE_PARTS });
          continue;
        }
        const measures = watch.charts.add(judgement);
        if (measures.length === 0) continue;
        const silent = new Set(
          store.alarms
            .list(stationId, { openOnly: true, limit: LISTED })
            .flatMap(({ modelId, measure }) => (modelId === watch!.modelId ? [measure] : [])),
        );
        for (const measure of measures) {
          if (silent.has(measure)) continue;
          keepPicture(partId);
          const at = context.now().toISOString();
          const alarmId = store.alarms.raise({ stationId, modelId: watch.modelId, measure, at, partId });
          store.audit.append({
            user: actor(null),
            action: 'alarms.raise',
            subject: String(alarmId),
            details: { stationId, modelId: watch.modelId, measure, partId },
          });
          log.warn('alarm', { stationId, measure, partId });
          raised = true;
        }
      }
      if (watch !== null && parts.length > 0) {
        const { modelId, firstPartId, seen, charts } = watch;
        store.alarms.setMonitor(stationId, { modelId, firstPartId, seen, levels: charts?.levels ?? {} });
      }
      return raised;
    },
    undo: (stationId) => void watches.delete(stationId),
    restart(stationId) {
      if (store.alarms.monitor(stationId) === null) return;
      // No model has this name: the next part starts a reference of its own.
      store.alarms.setMonitor(stationId, { modelId: '', firstPartId: 0, seen: 0, levels: {} });
      // Read again from the row, whether it stands or the transaction fails.
      watches.delete(stationId);
    },
    handlers: {
      'alarms.list': async ({ stationId, openOnly }) => store.alarms.list(stationId, { openOnly, limit: LISTED }),
      async 'alarms.acknowledge'({ alarmId }, session) {
        const alarm = store.alarms.get(alarmId);
        if (alarm.measure === 'revalidation')
          throw new AppError('CONFLICT', {
            what: `alarm ${alarmId}`,
            state: 'a reminder to look at the model again',
            needed: 'a measurement that passes, or a newer approved model',
          });
        if (alarm.acknowledged === null) {
          store.transaction(() => {
            store.alarms.acknowledge(alarmId, actor(session), context.now().toISOString());
            const { stationId, measure } = alarm;
            store.audit.append({
              user: actor(session),
              action: 'alarms.acknowledge',
              subject: String(alarmId),
              details: { stationId, measure },
            });
          });
          context.emit('alarms.changed', { stationId: alarm.stationId });
        }
        return store.alarms.get(alarmId);
      },
      async 'alarms.state'({ stationId }) {
        const watch = known(stationId);
        const seen = watch?.seen ?? 0;
        return {
          reference: Math.min(seen, REFERENCE_PARTS),
          needed: REFERENCE_PARTS,
          watched: Math.max(0, seen - REFERENCE_PARTS),
        };
      },
    },
  };
};
