import { clopperPearson } from '../compression/evidence/statistics.ts';
import type { CoreContext, HandlersOf } from './context.ts';

export interface ReportService {
  handlers: HandlersOf<'reports.summary'>;
}

interface Counted {
  ok: number;
  ng: number;
  unsure: number;
}

/** Yield, defects and what people found when they checked: figures of the archive, never of the running line alone. */
export const createReportService = ({ store }: CoreContext): ReportService => ({
  handlers: {
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
      const checked = store.reports.checked(stationId, since, until);
      /** Of the parts that are good (or are not), how many had the wrong verdict. */
      const wrongOf = (good: boolean, wrong: 'ok' | 'ng') => {
        const rows = checked.filter((row) => row.good === good);
        const sum = (all: typeof rows) => all.reduce((n, { parts }) => n + parts, 0);
        const found = sum(rows.filter(({ verdict }) => verdict === wrong));
        const parts = sum(rows);
        const [low, high] = parts === 0 ? [0, 1] : clopperPearson(found, parts);
        return { wrong: found, parts, low, high };
      };
      return {
        hours: [...hours].map(([hour, counted]) => ({ at: `${hour}:00:00.000Z`, ...counted })),
        ngByClass: [...ngByClass].map(([classId, parts]) => ({ classId, parts })).sort((a, b) => b.parts - a.parts),
        escape: wrongOf(false, 'ok'),
        overkill: wrongOf(true, 'ng'),
      };
    },
  },
});
