import type { Candidate, Measures } from '../../../main/contract/domain.ts';

/* The chart's numbers: which candidates are on the front, and where things stand, in per cent of the drawing. Pure. */

export type Standing = 'recommended' | 'front' | 'beaten' | 'not-offered';

/** On the front: offered, and no other offered one is both faster and at least as accurate (or as fast and better). */
export function standings(candidates: readonly Candidate[]): Map<string, Standing> {
  const offered = candidates.filter((candidate) => candidate.offered);
  const beats = (a: Measures, b: Measures) =>
    a.latencyMsP50 <= b.latencyMsP50 &&
    a.balancedAccuracy >= b.balancedAccuracy &&
    (a.latencyMsP50 < b.latencyMsP50 || a.balancedAccuracy > b.balancedAccuracy);
  return new Map(
    candidates.map((candidate) => {
      const { id, evidence } = candidate;
      if (!candidate.offered) return [id, 'not-offered'];
      if (candidate.recommended) return [id, 'recommended'];
      const beaten = offered.some((other) => beats(other.evidence.candidate, evidence.candidate));
      return [id, beaten ? 'beaten' : 'front'];
    }),
  );
}

const order: Record<Standing, number> = { recommended: 0, front: 1, beaten: 2, 'not-offered': 3 };

/** Recommended first, then the front, then what is beaten, then what is not offered; within each by accuracy. */
export function sortCandidates(candidates: readonly Candidate[]): Candidate[] {
  const standing = standings(candidates);
  const rank = ({ id }: Candidate) => order[standing.get(id) ?? 'beaten'];
  return [...candidates].sort(
    (a, b) => rank(a) - rank(b) || b.evidence.candidate.balancedAccuracy - a.evidence.candidate.balancedAccuracy,
  );
}

export interface Scale {
  /** Value to per cent of the drawing. */
  at(value: number): number;
  ticks: number[];
}

const steps = [1, 2, 5];

/** Even steps of 1, 2 or 5 times a power of ten, about `wanted` of them, over a range that is widened to fit. */
export function linearScale(
  low: number,
  high: number,
  from: number,
  to: number,
  wanted = 8,
): Scale & { low: number; high: number } {
  const span = Math.max(high - low, 1e-6);
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [...steps.map((n) => n * power), 10 * power].find((size) => span / size <= wanted) ?? 10 * power;
  const first = Math.ceil(low / step - 1e-9);
  const ticks: number[] = [];
  for (let i = first; i * step <= high + step * 1e-9; i += 1) ticks.push(Number((i * step).toPrecision(12)));
  return { low, high, ticks, at: (value) => from + ((value - low) / (high - low || 1)) * (to - from) };
}

/** Logarithmic, for latencies: ticks at 1, 2, 3, 4, 6, 8, 12, 16 and their tens, thinned where they crowd. */
export function logScale(low: number, high: number, from: number, to: number): Scale {
  const a = Math.log(low);
  const b = Math.log(high);
  const at = (value: number) => from + ((Math.log(value) - a) / (b - a || 1)) * (to - from);
  const candidates: number[] = [];
  for (let power = -3; power <= 5; power += 1)
    for (const n of [1, 1.5, 2, 3, 4, 6, 8]) candidates.push(Number((n * 10 ** power).toPrecision(6)));
  const ticks: number[] = [];
  for (const value of candidates) {
    if (value < low || value > high) continue;
    const last = ticks.at(-1);
    // Numbers of 12 px need some 5 % of the width.
    if (last === undefined || Math.abs(at(value) - at(last)) >= 6) ticks.push(value);
  }
  return { at, ticks };
}

export interface PlotScales {
  x: Scale;
  y: Scale & { low: number; high: number };
}

/** Drawing area in per cent: room for the y labels on the left, what they are above, and the x labels below. */
export const AREA = { left: 8, right: 97, top: 9, bottom: 87 } as const;

/** Scales that hold every candidate, the reference and the limit; y never wider than the accuracies with their intervals. */
export function plotScales(measures: readonly Measures[], limitMs: number | null): PlotScales {
  const latencies = measures.map(({ latencyMsP50 }) => latencyMsP50).filter((ms) => ms > 0);
  const slowest = Math.max(...latencies);
  // A limit far to the right would squeeze all points together: it is then left out of the picture.
  if (limitMs !== null && limitMs < slowest * 3) latencies.push(limitMs);
  const x = logScale(Math.min(...latencies) / 1.35, Math.max(...latencies) * 1.35, AREA.left, AREA.right);
  const lows = measures.map(({ balancedAccuracy, interval }) => Math.min(balancedAccuracy, interval[0]));
  const highs = measures.map(({ balancedAccuracy, interval }) => Math.max(balancedAccuracy, interval[1]));
  const low = 100 * Math.min(...lows);
  const high = 100 * Math.max(...highs);
  const room = Math.max(0.15, (high - low) * 0.12);
  return { x, y: linearScale(Math.max(0, low - room), Math.min(100.4, high + room), AREA.bottom, AREA.top) };
}

/** Width of a name beside its point, per cent of the narrowest drawing; and its height. */
const NAME = { width: 13, height: 6 };

/**
 * Names stand above their points; every second one of a row that is too close stands below.
 * @param points of the front, fastest first, in per cent of the drawing
 * @returns ids of those whose name stands below
 */
export function namesBelow(points: readonly { id: string; x: number; y: number }[]): Set<string> {
  const below = new Set<string>();
  for (const [i, { id, x, y }] of points.entries()) {
    const before = points[i - 1];
    if (!before || below.has(before.id)) continue;
    if (x - before.x < NAME.width && Math.abs(y - before.y) < NAME.height) below.add(id);
  }
  return below;
}
