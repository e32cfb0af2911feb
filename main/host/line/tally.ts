import type { Judgement, LineStatus } from '../../contract/domain.ts';
import { createLatencyStats } from '../../inspection/latency.ts';

type Counts = Pick<
  LineStatus,
  | 'parts'
  | 'ok'
  | 'ng'
  | 'unsure'
  | 'late'
  | 'ngByClass'
  | 'partsPerMinute'
  | 'latencyMsP50'
  | 'latencyMsP99'
  | 'latencyTrend'
>;

/** What the line has counted since it was started. */
export interface Tally {
  add(judgement: Judgement): void;
  counts(): Counts;
}

const SECONDS = 60;

/** @param now milliseconds that only go forward. */
export function createTally(now: () => number): Tally {
  const counts = { parts: 0, ok: 0, ng: 0, unsure: 0, late: 0 };
  const ngByClass: Record<string, number> = {};
  const latency = createLatencyStats(now);
  const begun = now();
  const perSecond = new Uint32Array(SECONDS);
  let second = Math.floor(begun / 1000);
  const turn = () => {
    const current = Math.floor(now() / 1000);
    for (let s = Math.max(second + 1, current - SECONDS + 1); s <= current; s += 1) perSecond[s % SECONDS] = 0;
    second = current;
  };
  return {
    add(judgement) {
      turn();
      counts.parts += 1;
      counts[judgement.verdict] += 1;
      if (judgement.unsureReason === 'late') counts.late += 1;
      perSecond[second % SECONDS]! += 1;
      if (judgement.verdict === 'ng' && judgement.classId !== null) {
        ngByClass[judgement.classId] = (ngByClass[judgement.classId] ?? 0) + 1;
      }
      // A part that was not inferred says nothing about how fast this PC infers; a late one does.
      if (judgement.unsureReason !== 'no-model') latency.add(judgement.latencyMs);
    },
    counts() {
      turn();
      const span = Math.min(SECONDS, Math.max(1, (now() - begun) / 1000));
      const recent = perSecond.reduce((sum, n) => sum + n, 0);
      return {
        ...counts,
        ngByClass: { ...ngByClass },
        partsPerMinute: Math.round((recent / span) * 600) / 10,
        latencyMsP50: latency.p50(),
        latencyMsP99: latency.p99(),
        latencyTrend: latency.trend(),
      };
    },
  };
}
