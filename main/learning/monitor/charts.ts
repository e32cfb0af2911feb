import { upperBound } from '../exact-statistics.ts';
import { createTail } from './tail-chart.ts';

/*
 * Alarms on what every part brings along, against reference parts of the same line. Three families:
 * - Numbers (novelty, margin): each becomes its place among the reference values, as a deviate of the normal distribution, so that one limit
 *   fits any shape and an outlier is one part and no alarm; then EWMA (Roberts, 1959) and a two-sided CUSUM (Page, 1954).
 * - The feature vector: its Mahalanobis distance from the reference mean, as a multivariate EWMA (Lowry et al., 1992) of whitened
 *   coordinates, each told as a normal deviate too.
 * - Events (verdict mix, classes): CUSUM of the likelihood ratio of their share.
 * - Upper tails (unusual novelty, what a rare new class shows in): tail-chart.ts.
 *
 * Limits: the stated run length is shared evenly among all charts of a monitor. EWMAs cross a high limit as often as the diffusion that they
 * approach (rate 2 w (L^2/2)^(d/2) exp(-L^2/2) / Gamma(d/2) in d dimensions); CUSUMs of normals by Siegmund's formula (1985); those of shares by
 * their Markov chain, exactly (Reynolds & Stoumbos, 1999). Means and shares of the reference are estimates: their error is in the limits.
 */

/** In-control run length that is stated for a whole monitor: at most one false alarm in so many stationary parts. */
export const STATED_RUN_LENGTH = 10_000;
/** Weight of the newest part: about the last forty count. */
const WEIGHT = 0.05;
/** Change that the CUSUM of a number is made for, deviations; slower than this it is the EWMA's smaller sister. */
const SHIFT = 0.5;
/** Deviations of the reference's mean that the limits make room for. */
const GUARD = 2;
/** Confidence of the bound of a share that stands for the reference's. */
const SHARE_CONFIDENCE = 0.9;
/** A share that is worth an alarm: so many times the usual one, and at least so much more. */
const SHARE_TIMES = 2.5;
const SHARE_MORE = 0.04;
/** Its allowance for the error of means and covariances of the reference, in parts of 1 / n. Chosen by false alarms in stationary simulation. */
const VECTOR_ERROR = 2.5;

/** Inverse of the normal distribution function (Acklam's rational approximation, |error| < 1.2e-9): asked of every number of every part, so not by bisection as `normalQuantile`. */
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

/** What one part brings along; the same names for every part. */
export interface PartMeasures {
  values: Readonly<Record<string, number>>;
  /** Feature vector or a cheap picture of it; null: not known of this part. */
  vector?: readonly number[] | null;
  events?: Readonly<Record<string, boolean>>;
  /** Numbers of which few parts far up are watched for; NaN: not known of this part. */
  tails?: Readonly<Record<string, number>>;
}

/** How far each chart has gone; survives a restart as JSON. */
export type ChartLevels = Record<string, number[]>;

export interface Monitor {
  add(part: PartMeasures): Alarm[];
  readonly levels: ChartLevels;
  readonly charts: number;
}

/** Limit of a d-dimensional EWMA in squared deviations, crossed once in `runLength` parts. */
export function ewmaLimit(runLength: number, dimensions = 1): number {
  // Gamma(d / 2) from Gamma(1/2) or Gamma(1) upwards.
  let gamma = dimensions % 2 === 0 ? 1 : Math.sqrt(Math.PI);
  for (let half = dimensions % 2 === 0 ? 1 : 0.5; half < dimensions / 2; half += 1) gamma *= half;
  const rate = (h: number) => (2 * WEIGHT * (h / 2) ** (dimensions / 2) * Math.exp(-h / 2)) / gamma;
  let [low, high] = [dimensions + 1, 200];
  while (high - low > 1e-6) {
    const middle = (low + high) / 2;
    if (rate(middle) > 1 / runLength) low = middle;
    else high = middle;
  }
  return high;
}

/** Height of a one-sided CUSUM of normal deviates with slack k that is crossed once in `runLength` parts (Siegmund's approximation). */
export function cusumHeight(runLength: number, k: number): number {
  const runOf = (h: number) => {
    const x = 2 * k * (h + 1.166);
    return (Math.exp(x) - x - 1) / (2 * k * k);
  };
  let [low, high] = [0, 200];
  while (high - low > 1e-6) {
    const middle = (low + high) / 2;
    if (runOf(middle) < runLength) low = middle;
    else high = middle;
  }
  return high;
}

/** Mean parts until a count that rises by `up` on an event of this share, and falls by 1 otherwise (not below 0), reaches `height`. */
export function countRunLength(share: number, up: number, height: number): number {
  // R_i = 1 + (1 - p) R_max(0, i - 1) + p R_(i + up), 0 from `height` on. Solved from above: R_i as c_i + d_i R_(i - 1).
  const c = new Float64Array(height);
  const d = new Float64Array(height);
  for (let i = height - 1; i >= 0; i -= 1) {
    // R_(i + up) by the chain of what lies above i: constant + factor * R_i.
    let constant = 0;
    let factor = 0;
    if (i + up < height) {
      factor = 1;
      for (let j = i + up; j > i; j -= 1) {
        constant += factor * c[j]!;
        factor *= d[j]!;
      }
    }
    const own = 1 - share * factor - (i === 0 ? 1 - share : 0);
    c[i] = (1 + share * constant) / own;
    d[i] = i === 0 ? 0 : (1 - share) / own;
  }
  return c[0]!;
}

/** The same of a count that rises by 1 on an event, and falls by `down` otherwise. */
export function countRunLengthOfUsual(share: number, down: number, height: number): number {
  // The same equation, solved from below: what R_0 is more than R_i. Sums of nothing but gains: exact however far they grow.
  const more = new Float64Array(height + 1);
  for (let i = 0; i < height; i += 1) {
    more[i + 1] = more[i]! + (1 + (1 - share) * (more[i]! - more[Math.max(0, i - down)]!)) / share;
  }
  return more[height]!;
}

interface Chart {
  name: string;
  measure: string;
  /** New level from the old one and the part; null: the part says nothing here. */
  step(level: number[], part: PartMeasures): number[] | null;
  beyond(level: number[]): boolean;
  start: number[];
}

/** Cholesky factor of the covariance of vectors (unbiased, a little ridge: constant coordinates), and their mean. */
function whitening(vectors: readonly (readonly number[])[]): { mean: number[]; factor: number[][] } {
  const size = vectors[0]!.length;
  const mean = Array.from({ length: size }, (_, j) => vectors.reduce((sum, v) => sum + v[j]!, 0) / vectors.length);
  const covariance = mean.map((_, a) =>
    mean.map(
      (__, b) =>
        vectors.reduce((sum, v) => sum + (v[a]! - mean[a]!) * (v[b]! - mean[b]!), 0) / Math.max(1, vectors.length - 1),
    ),
  );
  const factor = mean.map(() => mean.map(() => 0));
  for (let i = 0; i < size; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      let sum = covariance[i]![j]!;
      for (let k = 0; k < j; k += 1) sum -= factor[i]![k]! * factor[j]![k]!;
      // What follows from the others, or never changes, must not be divided by nothing.
      if (i === j) factor[i]![i] = Math.sqrt(Math.max(sum, 1e-6 * covariance[i]![i]! + 1e-12));
      else factor[i]![j] = sum / factor[j]![j]!;
    }
  }
  return { mean, factor };
}

function solveLower(factor: readonly number[][], x: readonly number[]): number[] {
  const y: number[] = [];
  x.forEach((value, i) => {
    let sum = value;
    for (let k = 0; k < i; k += 1) sum -= factor[i]![k]! * y[k]!;
    y.push(sum / factor[i]![i]!);
  });
  return y;
}

function numberCharts(name: string, reference: readonly PartMeasures[], runLength: number): Chart[] {
  const sorted = Float64Array.from(
    reference.map(({ values }) => values[name]!).filter((x) => Number.isFinite(x)),
  ).sort();
  const error = 1 / Math.sqrt(Math.max(1, sorted.length));
  const limit = Math.sqrt(ewmaLimit(runLength) * (WEIGHT / (2 - WEIGHT) + error ** 2));
  // Each side has half of the false alarms.
  const slack = SHIFT / 2 + GUARD * error;
  const height = cusumHeight(2 * runLength, SHIFT / 2);
  const scoreOf = ({ values }: PartMeasures): number | null => {
    const x = values[name];
    return x === undefined || !Number.isFinite(x) ? null : normalScore(sorted, x);
  };
  return [
    {
      name: `${name}/ewma`,
      measure: name,
      start: [0],
      step([level], part) {
        const score = scoreOf(part);
        return score === null ? null : [level! + WEIGHT * (score - level!)];
      },
      beyond: ([level]) => Math.abs(level!) > limit,
    },
    {
      name: `${name}/cusum`,
      measure: name,
      start: [0, 0],
      step([up, down], part) {
        const score = scoreOf(part);
        return score === null ? null : [Math.max(0, up! + score - slack), Math.max(0, down! - score - slack)];
      },
      beyond: ([up, down]) => up! > height || down! > height,
    },
  ];
}

function vectorChart(reference: readonly PartMeasures[], runLength: number): Chart | null {
  const vectors = reference.flatMap(({ vector }) => (vector?.every(Number.isFinite) ? [vector] : []));
  const size = vectors[0]?.length ?? 0;
  const known = vectors.filter(({ length }) => length === size);
  if (size === 0 || known.length < 5 * size) return null;
  const { mean, factor } = whitening(known);
  const white = (vector: readonly number[]) =>
    solveLower(
      factor,
      vector.map((x, j) => x - mean[j]!),
    );
  const usual = known.map(white);
  const sorted = mean.map((_, j) => Float64Array.from(usual, (x) => x[j]!).sort());
  const limit = ewmaLimit(runLength, size) * (WEIGHT / (2 - WEIGHT) + VECTOR_ERROR / known.length);
  return {
    name: 'feature-mean/mewma',
    measure: 'feature-mean',
    start: mean.map(() => 0),
    step(level, { vector }) {
      if (vector?.length !== size || !vector.every(Number.isFinite)) return null;
      const x = white(vector).map((value, j) => normalScore(sorted[j]!, value));
      return level.map((value, j) => value + WEIGHT * (x[j]! - value));
    },
    beyond: (level) => level.reduce((sum, value) => sum + value * value, 0) > limit,
  };
}

function eventChart(name: string, reference: readonly PartMeasures[], runLength: number): Chart | null {
  const seen = reference.flatMap(({ events }) => (events?.[name] === undefined ? [] : [events[name]]));
  const share = upperBound(seen.filter(Boolean).length, seen.length, SHARE_CONFIDENCE);
  // What nearly every part brings along cannot become more.
  if (share + SHARE_MORE > 1) return null;
  const other = Math.min(0.5 + share / 2, Math.max(SHARE_TIMES * share, share + SHARE_MORE));
  // Steps of the likelihood ratio in units of the smaller of the two; rounded. What more than half of the parts bring along rises by the smaller: by as much as it falls, its
  // count would grow without any change.
  const steps = -Math.log(other / share) / Math.log((1 - other) / (1 - share));
  const up = Math.max(1, Math.round(steps));
  const down = Math.max(1, Math.round(1 / steps));
  const runOf = (limit: number) =>
    down > 1 ? countRunLengthOfUsual(share, down, limit) : countRunLength(share, up, limit);
  let height = up;
  while (runOf(height) < runLength) height = Math.ceil(height * 1.05);
  return {
    // A level of one kind says nothing in the other.
    name: `${name}/${down > 1 ? 'usual-share' : 'share'}`,
    measure: name,
    start: [0],
    step: ([level], { events }) =>
      events?.[name] === undefined ? null : [Math.max(0, level! + (events[name] ? up : -down))],
    beyond: ([level]) => level! >= height,
  };
}

function tailChart(name: string, reference: readonly PartMeasures[], runLength: number): Chart | null {
  const tail = createTail(
    reference.map(({ tails }) => tails?.[name] ?? Number.NaN),
    runLength,
  );
  if (tail === null) return null;
  return {
    name: `${name}/tail`,
    measure: name,
    start: [0],
    step([level], { tails }) {
      const x = tails?.[name] ?? Number.NaN;
      return Number.isFinite(x) ? [tail.next(level!, x)] : null;
    },
    beyond: ([level]) => level! >= tail.height,
  };
}

/**
 * Watches a stream of parts against reference parts. A chart that alarms starts again from its beginning.
 * @param levels where the charts of the same reference stood before a restart
 */
export function createMonitor(reference: readonly PartMeasures[], levels: ChartLevels = {}): Monitor {
  const names = Object.keys(reference[0]?.values ?? {}).sort();
  const events = [...new Set(reference.flatMap((part) => Object.keys(part.events ?? {})))].sort();
  const tails = [...new Set(reference.flatMap((part) => Object.keys(part.tails ?? {})))].sort();
  const count = 2 * names.length + 1 + events.length + tails.length;
  const runLength = STATED_RUN_LENGTH * count;
  const vector = vectorChart(reference, runLength);
  const charts = [
    ...names.flatMap((name) => numberCharts(name, reference, runLength)),
    ...(vector ? [vector] : []),
    ...events.flatMap((name) => eventChart(name, reference, runLength) ?? []),
    ...tails.flatMap((name) => tailChart(name, reference, runLength) ?? []),
  ];
  const state: ChartLevels = Object.fromEntries(
    charts.map(({ name, start }) => [name, levels[name]?.length === start.length ? levels[name] : start]),
  );
  let index = -1;
  return {
    levels: state,
    charts: charts.length,
    add(part) {
      index += 1;
      const alarms: Alarm[] = [];
      for (const chart of charts) {
        const next = chart.step(state[chart.name]!, part);
        if (next === null) continue;
        const beyond = chart.beyond(next);
        state[chart.name] = beyond ? chart.start : next;
        if (beyond && !alarms.some(({ measure }) => measure === chart.measure))
          alarms.push({ index, measure: chart.measure });
      }
      return alarms;
    },
  };
}
