import type { Criteria, Gate } from '../../contract/domain.ts';
import type { NoveltyLoss } from '../../learning/held-out-novelty.ts';
import { isPoor, LEAST_R2, type MapFit } from '../../learning/statistics-map.ts';
import { isBlind, MOST_NOVELTY_LOSS } from './blindness.ts';
import {
  balancedDropBounds,
  holm,
  mcnemarExact,
  pairedDropBounds,
  quantile,
  quantileUpperBound,
  samplesForQuantileBound,
  type Discordant,
} from './statistics.ts';
import { clopperPearsonBounds } from '../../learning/exact-statistics.ts';

/*
 * Gates of an approval. Each is three-valued: pass when the 95 % bound keeps the limit, fail when the opposite bound breaks
 * it, not-enough-evidence in between, with the number of further images after which it could pass if all of them go well.
 */

const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;
const points = (value: number): string => `${(100 * value).toFixed(1)} pp`;
const MOST_IMAGES = 1_000_000;

/** Smallest number of further images, all judged well, for which `passes(more)` holds; passes is monotone. */
const missingUntil = (passes: (more: number) => boolean): number => {
  if (passes(0)) return 0;
  let high = 1;
  while (!passes(high)) {
    high *= 2;
    if (high > MOST_IMAGES) return MOST_IMAGES;
  }
  let low = high / 2;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (passes(middle)) high = middle;
    else low = middle;
  }
  return high;
};

/** A share of failures that must stay below a limit. @param hasRoom whether further parts would be judged too */
const shareGate = (name: string, failures: number, n: number, limit: number, hasRoom: boolean): Gate => {
  const { lower, upper } = clopperPearsonBounds(failures, n);
  const outcome = n > 0 && upper <= limit ? 'pass' : n > 0 && lower > limit ? 'fail' : 'not-enough-evidence';
  return {
    name,
    limit: `<= ${percent(limit)}`,
    measured: n === 0 ? '-' : `${percent(failures / n)} (${failures} / ${n})`,
    bound: n === 0 ? null : percent(upper),
    outcome,
    missing:
      outcome === 'not-enough-evidence' && hasRoom
        ? missingUntil((more) => n + more > 0 && clopperPearsonBounds(failures, n + more).upper <= limit)
        : 0,
  };
};

/** Share of NG parts judged ok. @param hasRoom as in shareGate */
export const escapeGate = (counts: { ng: number; escaped: number }, criteria: Criteria, hasRoom = true): Gate =>
  shareGate('escape', counts.escaped, counts.ng, criteria.maxEscape, hasRoom);

/** Share of OK parts judged ng. @param hasRoom as in shareGate */
export const overkillGate = (counts: { ok: number; overkilled: number }, criteria: Criteria, hasRoom = true): Gate =>
  shareGate('overkill', counts.overkilled, counts.ok, criteria.maxOverkill, hasRoom);

interface Drop extends Pick<Gate, 'outcome' | 'missing'> {
  drop: number;
  upper: number;
}

const dropOver = (classes: readonly Discordant[], limit: number): Drop => {
  const { drop, lower, upper } = balancedDropBounds(classes);
  const seen = classes.filter(({ n }) => n > 0);
  const outcome = seen.length > 0 && upper <= limit ? 'pass' : lower > limit ? 'fail' : 'not-enough-evidence';
  // Spread evenly over the classes: that is how one would go and label.
  const missing =
    outcome === 'not-enough-evidence' && seen.length > 0
      ? seen.length *
        missingUntil(
          (more) => balancedDropBounds(seen.map((pairs) => ({ ...pairs, n: pairs.n + more }))).upper <= limit,
        )
      : 0;
  return { drop, upper, outcome, missing };
};

const severity = { pass: 0, 'not-enough-evidence': 1, fail: 2 } as const satisfies Record<Gate['outcome'], number>;

const isWorse = (a: Drop, b: Drop): boolean =>
  a.outcome === b.outcome ? a.upper > b.upper : severity[a.outcome] > severity[b.outcome];

const imagesOf = (classes: readonly Discordant[]): number => classes.reduce((sum, { n }) => sum + n, 0);

/**
 * Drop of balanced accuracy against the uncompressed model, paired on the same images. What a network was fitted to flatters it, so that the limit has to hold on the others alone as well: the
 * worse of the two is told.
 * @param classes reference -> candidate
 * @param unfitted those of them that the network was not fitted to; null: all
 */
export const dropGate = (
  classes: readonly Discordant[],
  criteria: Criteria,
  unfitted: readonly Discordant[] | null = null,
): Gate => {
  const limit = criteria.maxDropPp / 100;
  const all = dropOver(classes, limit);
  const apart = unfitted && dropOver(unfitted, limit);
  const { drop, upper, outcome } = apart && isWorse(apart, all) ? apart : all;
  // Of further images as few are kept from the network as of these.
  const missingApart =
    apart && unfitted ? Math.ceil((apart.missing * imagesOf(classes)) / Math.max(1, imagesOf(unfitted))) : 0;
  return {
    name: 'drop',
    limit: `<= ${points(limit)}`,
    measured: points(drop),
    bound: points(upper),
    outcome,
    missing: outcome === 'not-enough-evidence' ? Math.min(MOST_IMAGES, Math.max(all.missing, missingApart)) : 0,
  };
};

/** Greatest drop of one class's recall that counts as "no worse"; a class is rarer than the whole, so wider than maxDropPp. */
const RECALL_MARGIN = 0.05;

/**
 * Recall of every class against the active model: fails when a class is significantly worse (one-sided exact McNemar, Holm
 * over the classes) and its recall fell by more than the margin; passes when the score bound of every class keeps the margin.
 */
export const recallGate = (classes: readonly { classId: string; pairs: Discordant }[]): Gate => {
  const seen = classes.filter(({ pairs }) => pairs.n > 0);
  const limit = `<= ${points(RECALL_MARGIN)}`;
  if (seen.length === 0) {
    return { name: 'recall', limit, measured: '-', bound: null, outcome: 'not-enough-evidence', missing: 0 };
  }
  const adjusted = holm(seen.map(({ pairs }) => mcnemarExact(pairs).worse));
  const rows = seen.map(({ classId, pairs }, i) => ({
    classId,
    pairs,
    drop: (pairs.lost - pairs.won) / pairs.n,
    upper: pairedDropBounds(pairs).upper,
    p: adjusted[i]!,
  }));
  const failed = rows.filter(({ p, drop }) => p < 0.05 && drop > RECALL_MARGIN);
  const open = rows.filter(({ upper }) => upper > RECALL_MARGIN);
  const worst = rows.reduce((a, b) => (b.upper > a.upper ? b : a));
  const shown = failed[0] ?? worst;
  return {
    name: 'recall',
    limit,
    measured: `${points(shown.drop)} (${shown.classId})`,
    bound: points(shown.upper),
    outcome: failed.length > 0 ? 'fail' : open.length === 0 ? 'pass' : 'not-enough-evidence',
    missing:
      failed.length > 0
        ? 0
        : open.reduce(
            (sum, { pairs }) =>
              sum + missingUntil((more) => pairedDropBounds({ ...pairs, n: pairs.n + more }).upper <= RECALL_MARGIN),
            0,
          ),
  };
};

/**
 * Sense for new kinds of parts that compression gave up: area under the curve with classes held out, paired part by part.
 * @param parts that it was told on
 * @param most that it is ever told on: beyond them no further image is missing, none would be looked at
 */
export const noveltyGate = (newDefects: NoveltyLoss, parts: number, most: number): Gate => {
  const limit = MOST_NOVELTY_LOSS;
  const { loss, upper } = newDefects;
  const outcome = upper <= limit ? 'pass' : isBlind(newDefects) ? 'fail' : 'not-enough-evidence';
  // The bound comes nearer with the root of the number.
  const missing =
    outcome === 'not-enough-evidence' && loss < limit
      ? Math.ceil(parts * (((upper - loss) / (limit - loss)) ** 2 - 1))
      : 0;
  return {
    name: 'novelty',
    limit: `<= ${percent(limit)}`,
    measured: percent(loss),
    bound: percent(upper),
    outcome,
    missing: parts + missing > most ? 0 : missing,
  };
};

/** How well other stations' sums could be brought to a model's features: below the limit a person has to say that it will do. More classes with pictures help, in no number that can be told. */
export const mappingGate = (fit: Pick<MapFit, 'r2'>): Gate => ({
  name: 'mapping',
  limit: `R² >= ${LEAST_R2.toFixed(2)}`,
  measured: `R² ${fit.r2.toFixed(2)}`,
  bound: null,
  outcome: isPoor(fit) ? 'not-enough-evidence' : 'pass',
  missing: 0,
});

/** 99th percentile of the time for one part; `missing` counts timed runs here, not images. */
export const latencyGate = (samplesMs: readonly number[], criteria: Criteria): Gate => {
  const limit = criteria.maxLatencyMsP99;
  const measured = quantile(samplesMs, 0.99);
  const bound = quantileUpperBound(samplesMs, 0.99);
  const slow = samplesMs.filter((ms) => ms > limit).length;
  // Failed is what is shown to be too slow: more than 1 % of all runs, with confidence. A busy minute alone shows nothing.
  const failed = clopperPearsonBounds(slow, samplesMs.length).lower > 0.01;
  return {
    name: 'latency',
    limit: `p99 <= ${limit} ms`,
    measured: `${measured.toFixed(2)} ms`,
    bound: bound === null ? null : `${bound.toFixed(2)} ms`,
    outcome: failed ? 'fail' : bound !== null && bound <= limit ? 'pass' : 'not-enough-evidence',
    missing: failed || bound !== null ? 0 : Math.max(0, samplesForQuantileBound(0.99) - samplesMs.length),
  };
};

/** The deployed model must decide exactly as the pipeline that was measured. */
const PARITY_LOGIT_TOLERANCE = 1e-2;

/**
 * The worse of two differences. One that is no finite number becomes the largest that there is: it neither passes for equal nor is forgotten by those after it, and JSON can
 * hold it.
 */
export const worseDifference = (worst: number, difference: number): number =>
  Number.isFinite(difference) ? Math.max(worst, difference) : Number.MAX_VALUE;

/** @param parity what the file says of some images beside what the measured pipeline said of them */
export const parityGate = (parity: { images: number; equal: number; maxLogitDifference: number }): Gate => {
  const same = parity.equal === parity.images && parity.maxLogitDifference <= PARITY_LOGIT_TOLERANCE;
  return {
    name: 'parity',
    limit: `all equal, logits within ${PARITY_LOGIT_TOLERANCE}`,
    measured: `${parity.equal} / ${parity.images}, ${parity.maxLogitDifference.toExponential(1)}`,
    bound: null,
    outcome: parity.images === 0 ? 'not-enough-evidence' : same ? 'pass' : 'fail',
    missing: parity.images === 0 ? 1 : 0,
  };
};

/** Refused whatever a supervisor says; too little evidence can be waived. */
export const hasFailed = (gates: readonly Gate[]): boolean => gates.some(({ outcome }) => outcome === 'fail');
