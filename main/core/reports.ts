import { clopperPearson } from '../learning/exact-statistics.ts';
import { REFERENCE_PARTS } from '../learning/monitor/part-monitor.ts';
import { shiftStartsSchema, USUAL_SHIFTS, type ShiftStarts } from '../contract/shifts.ts';
import type { Store } from '../store/open.ts';
import { mergedInto } from './class-successors.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { removedUntil } from './retention-settings.ts';
import { DRIFT_GROUP, driftLimits, groupValues } from './drift-chart.ts';

export interface ReportService {
  handlers: HandlersOf<'reports.summary' | 'reports.drift' | 'reports.shifts' | 'reports.setShifts'>;
}

interface Counted {
  ok: number;
  ng: number;
  unsure: number;
}

const SHIFTS = 'shifts';
const shiftsOf = (store: Store): ShiftStarts => shiftStartsSchema.catch(USUAL_SHIFTS).parse(store.settings.get(SHIFTS));

/** Yield, defects and what people found when they checked: figures of the archive, never of the running line alone. */
export const createReportService = ({ store, emit }: CoreContext): ReportService => ({
  handlers: {
    'reports.shifts': async () => ({ starts: shiftsOf(store) }),
    async 'reports.setShifts'({ starts }, session) {
      const before = shiftsOf(store);
      if (starts.join() !== before.join())
        store.transaction(() => {
          store.settings.set(SHIFTS, starts);
          store.audit.append({
            user: actor(session),
            action: 'reports.setShifts',
            subject: starts.join(', '),
            details: { before },
          });
        });
      emit('settings.changed', {});
      return { starts };
    },
    async 'reports.drift'({ stationId, groups: most }) {
      store.stations.get(stationId);
      const monitor = store.alarms.monitor(stationId);
      const newest = store.reports.newestPart(stationId);
      const none = {
        modelId: null,
        groupSize: DRIFT_GROUP,
        reference: 0,
        needed: REFERENCE_PARTS,
        limits: null,
        groups: [],
      };
      if (monitor === null || monitor.modelId === '' || newest === null) return none;
      const { modelId, firstPartId } = monitor;
      const reference = store.reports.partsFrom(stationId, firstPartId, REFERENCE_PARTS);
      // Ids are shared by all stations: evenly spaced ones are where to look for the next group, not the groups themselves.
      const step = Math.max(DRIFT_GROUP, (newest - firstPartId + 1) / most);
      const groups = [];
      for (let from = firstPartId; from <= newest && groups.length < most;) {
        const parts = store.reports.partsFrom(stationId, Math.floor(from), DRIFT_GROUP);
        const [first, last] = [parts[0], parts.at(-1)];
        if (first === undefined || last === undefined || parts.length < DRIFT_GROUP) break;
        const values = groupValues(parts);
        if (values !== null) groups.push({ partId: first.id, at: first.at, ...values });
        from = Math.max(from + step, last.id + 1);
      }
      return { ...none, modelId, reference: reference.length, limits: driftLimits(reference), groups };
    },
    async 'reports.summary'({ stationId, from, to }) {
      store.stations.get(stationId);
      const hours = new Map<string, Counted>();
      const ngByClass = new Map<string | null, number>();
      const until = new Date(to).toISOString();
      const since = new Date(from).toISOString();
      for (const { hour, verdict, classId, parts } of store.reports.hours(stationId, since, until)) {
        const counted = hours.get(hour) ?? { ok: 0, ng: 0, unsure: 0 };
        counted[verdict] += parts;
        hours.set(hour, counted);
        if (verdict === 'ng') ngByClass.set(classId, (ngByClass.get(classId) ?? 0) + parts);
      }
      const okIds = store.classes.okIds();
      // What a person found stays found when its picture goes to the golden set.
      const golden = store.reports
        .checkedGolden(stationId, since, until)
        .map(({ classId, ...row }) => ({ ...row, good: okIds.has(mergedInto(store, classId)) }));
      const checked = [...store.reports.checked(stationId, since, until), ...golden];
      const removed = removedUntil(store, stationId);
      /** Of the parts that are good (or are not), how many had the wrong verdict. */
      const wrongOf = (good: boolean, wrong: 'ok' | 'ng') => {
        const rows = checked.filter((row) => row.good === good);
        const sum = (all: typeof rows) => all.reduce((n, { parts }) => n + parts, 0);
        const found = sum(rows.filter(({ verdict }) => verdict === wrong));
        const parts = sum(rows);
        const [low, high] = clopperPearson(found, parts);
        return { wrong: found, parts, low, high };
      };
      return {
        hours: [...hours].map(([hour, counted]) => ({ at: `${hour}:00:00.000Z`, ...counted })),
        ngByClass: [...ngByClass].map(([classId, parts]) => ({ classId, parts })).sort((a, b) => b.parts - a.parts),
        escape: wrongOf(false, 'ok'),
        overkill: wrongOf(true, 'ng'),
        removedUntil: removed !== null && removed >= since ? removed : null,
        models: store.candidates.activeBetween(stationId, since, until),
      };
    },
  },
});
