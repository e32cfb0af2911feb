/*
 * Alarms on the numbers that every part brings along: control charts on normal scores. A value becomes its place among the reference
 * values, told as a deviate of the normal distribution: so one limit fits scores of any shape, and an outlier is one part and no alarm.
 * EWMA (Roberts, 1959) of each measure.
 */

/** Weight of the newest part: about the last forty count. */
const WEIGHT = 0.05;
/** Limit in deviations of the EWMA. Known parameters: in-control run length far above 100,000; the reference's own error is added to the deviation. */
const LIMIT = 5;
/** In-control run length that is stated for a whole monitor: at most one false alarm in so many stationary parts. */
export const STATED_RUN_LENGTH = 10_000;

/** Inverse of the normal distribution function (Acklam's rational approximation, |error| < 1.2e-9). */
export function normalDeviate(p: number): number {
  const tail = (q: number) =>
    (((((-7.784894002430293e-3 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) * q +
      4.374664141464968) *
      q +
      2.938163982698783) /
    ((((7.784695709041462e-3 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416) * q + 1);
  if (p < 0.02425) return tail(Math.sqrt(-2 * Math.log(p)));
  if (p > 1 - 0.02425) return -tail(Math.sqrt(-2 * Math.log(1 - p)));
  const q = p - 0.5;
  const r = q * q;
  return (
    ((((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.357751867269) * r -
      30.66479806614716) *
      r +
      2.506628277459239) *
      q) /
    (((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r -
      13.28068155288572) *
      r +
      1)
  );
}

/** Place of x among sorted values as a normal deviate; ties share the middle. */
export function normalScore(sorted: Float64Array, x: number): number {
  const below = (strict: boolean): number => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]! < x || (!strict && sorted[middle] === x)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return normalDeviate(((below(true) + below(false)) / 2 + 0.5) / (sorted.length + 1));
}

export interface Alarm {
  /** Of the part at which the chart went beyond its limit, from 0. */
  index: number;
  measure: string;
}

/** Values of one part by measure; the same measures for every part. */
export type PartMeasures = Readonly<Record<string, number>>;

/**
 * Watches a stream of parts against reference parts. Each measure alarms once and then starts again from its middle.
 */
export function createMonitor(reference: readonly PartMeasures[]): { add(part: PartMeasures): Alarm[] } {
  const names = Object.keys(reference[0] ?? {}).sort();
  // The mean of n reference parts is itself off by 1 / sqrt(n).
  const limit = LIMIT * Math.sqrt(WEIGHT / (2 - WEIGHT) + 1 / Math.max(1, reference.length));
  const charts = names.map((name) => ({
    name,
    sorted: Float64Array.from(reference, (part) => part[name]!).sort(),
    level: 0,
  }));
  let index = -1;
  return {
    add(part) {
      index += 1;
      const alarms: Alarm[] = [];
      for (const chart of charts) {
        const x = part[chart.name];
        if (x === undefined || !Number.isFinite(x)) continue;
        chart.level += WEIGHT * (normalScore(chart.sorted, x) - chart.level);
        if (Math.abs(chart.level) <= limit) continue;
        alarms.push({ index, measure: chart.name });
        chart.level = 0;
      }
      return alarms;
    },
  };
}
