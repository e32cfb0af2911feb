import type { Alarm, Candidate } from '../contract/domain.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { JobService, JobWork } from './jobs.ts';
import type { RecheckService } from './recheck.ts';

/*
 * The active model is to be looked at again from time to time: parts, lamp and lens change slowly, and nobody notices a model that was approved long ago. A reminder is an alarm of
 * the station that no acknowledgement ends: a measurement that passes or a newer approval does.
 */

const DAY_MS = 86_400_000;
/** An interval is days; the clock may be set meanwhile. */
const LOOK_EVERY_MS = 60_000;
/** More open alarms than a station has measures and models to raise them for. */
const OPEN_AT_MOST = 200;

export interface Revalidation {
  handlers: HandlersOf<'candidates.recheck'>;
  /** Raises a station's reminder where it is due, and ends one that is not any more; within the caller's transaction. @param by null: the program itself */
  settle(stationId: string, by: string | null): void;
  /** Looks at all stations, now and from now on. */
  start(): void;
  close(): void;
}

/** When a person or a measurement last said that the model may inspect here, ms; null: nobody has approved it. */
const lookedAt = ({ approval, recheck }: Candidate): number | null => {
  if (approval === null) return null;
  const passed = recheck !== undefined && recheck.gates.every(({ outcome }) => outcome !== 'fail');
  return Math.max(Date.parse(approval.at), passed ? Date.parse(recheck.at) : 0);
};

export const createRevalidation = (
  context: CoreContext,
  jobs: Pick<JobService, 'start' | 'underWay'>,
  recheck: RecheckService,
): Revalidation => {
  const { store, log } = context;

  /** The active model that should have been looked at again by now; null: none. */
  const dueModel = (stationId: string): string | null => {
    const { activeModelId, criteria } = store.stations.get(stationId);
    if (activeModelId === null || criteria.revalidateDays === 0) return null;
    const at = lookedAt(store.candidates.get(activeModelId));
    const due = at !== null && at + criteria.revalidateDays * DAY_MS <= context.now().getTime();
    return due ? activeModelId : null;
  };

  const raise = (stationId: string, modelId: string): void => {
    // An alarm stands at a part. A line that has inspected none relies on no model yet.
    const [newest] = store.parts.recent(stationId, { limit: 1 });
    if (newest === undefined) return;
    const alarm = { stationId, modelId, measure: 'revalidation', partId: newest.id } as const;
    const alarmId = store.alarms.raise({ ...alarm, at: context.now().toISOString() });
    store.audit.append({ user: actor(null), action: 'alarms.raise', subject: String(alarmId), details: alarm });
    log.info('a model should be looked at again', { stationId, modelId });
  };
  const end = ({ id, stationId, measure }: Alarm, by: string): void => {
    store.alarms.acknowledge(id, by, context.now().toISOString());
    store.audit.append({
      user: by,
      action: 'alarms.acknowledge',
      subject: String(id),
      details: { stationId, measure },
    });
  };

  const settle: Revalidation['settle'] = (stationId, by) =>
    store.transaction(() => {
      const due = dueModel(stationId);
      const open = store.alarms
        .list(stationId, { openOnly: true, limit: OPEN_AT_MOST })
        .filter(({ measure }) => measure === 'revalidation');
      const over = open.filter(({ modelId }) => modelId !== due);
      for (const alarm of over) end(alarm, by ?? actor(null));
      const missing = due !== null && over.length === open.length;
      if (missing) raise(stationId, due);
      if (missing || over.length > 0) context.emit('alarms.changed', { stationId });
    });

  const look = (): void => {
    for (const { id } of store.stations.list()) {
      try {
        settle(id, null);
      } catch (error) {
        // A full disk is told by whoever needs it; the next look tries again.
        log.warn('reminder not noted', { stationId: id, error });
      }
    }
  };
  let timer: NodeJS.Timeout | undefined;

  return {
    settle,
    start() {
      look();
      timer = setInterval(look, LOOK_EVERY_MS);
      timer.unref();
    },
    close: () => clearInterval(timer),
    handlers: {
      async 'candidates.recheck'({ candidateId }, session) {
        const { stationId } = store.candidates.get(candidateId);
        const by = actor(session);
        const firstStep = { key: 'recheck.measure', details: {} };
        const what = { kind: 'recheck', stationId, session, firstStep, asked: candidateId } as const;
        const measure = async (job: JobWork): Promise<string[]> => {
          await recheck.measure(candidateId, by, { always: true, job });
          settle(stationId, by);
          return [candidateId];
        };
        return jobs.underWay(what) ?? jobs.start(what, measure);
      },
    },
  };
};
