import type { LineRecord } from '../../contract/line.ts';
import { quantile as nearestRank } from '../../inspection/latency.ts';

/** As the line's own latencies are told, of a list that stays as it is; NaN of an empty one. */
export const quantile = (values: readonly number[], share: number): number =>
  values.length === 0 ? NaN : nearestRank(Float64Array.from(values), share);

/**
 * Of the parts that had a frame. One whose frame had no room is told within microseconds, which says nothing about how long a verdict takes.
 * @param sentAt wall clock of the trigger of each record, milliseconds
 * @returns milliseconds by the line's own clock, and from sending the trigger
 */
export function latenciesOf(
  records: readonly Pick<LineRecord, 'at' | 'width' | 'judgement'>[],
  sentAt: readonly number[],
): { own: number[]; sent: number[] } {
  const own: number[] = [];
  const sent: number[] = [];
  records.forEach(({ at, width, judgement: { latencyMs } }, i) => {
    if (width === 0) return;
    own.push(latencyMs);
    const trigger = sentAt[i];
    if (trigger !== undefined) sent.push(Date.parse(at) + latencyMs - trigger);
  });
  return { own, sent };
}

/** Least-squares slope of y over x; 0 of fewer than two places. */
export function slope(points: readonly { x: number; y: number }[]): number {
  const n = points.length;
  const mx = points.reduce((sum, p) => sum + p.x, 0) / n;
  const my = points.reduce((sum, p) => sum + p.y, 0) / n;
  let xy = 0;
  let xx = 0;
  for (const { x, y } of points) {
    xy += (x - mx) * (y - my);
    xx += (x - mx) ** 2;
  }
  return xx === 0 ? 0 : xy / xx;
}
