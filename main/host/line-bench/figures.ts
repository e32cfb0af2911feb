import { quantile as nearestRank } from '../../inspection/latency.ts';

/** As the line's own latencies are told, of a list that stays as it is; NaN of an empty one. */
export const quantile = (values: readonly number[], share: number): number =>
  values.length === 0 ? NaN : nearestRank(Float64Array.from(values), share);

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
