import { assert } from '../contract/errors.ts';
import { clopperPearson } from '../learning/exact-statistics.ts';

/*
 * Agreement of people (and models) who judge the same parts: what an attribute agreement study reports (AIAG, Measurement Systems
 * Analysis, 4th ed., chapter III.C). Pure.
 */

/** A share by counts, with its exact two-sided 95 % interval (Clopper-Pearson); none counted: [0, 1]. */
export interface CountedShare {
  count: number;
  of: number;
  low: number;
  high: number;
}
export const countedShare = (count: number, of: number): CountedShare => {
  const [low, high] = clopperPearson(count, of);
  return { count, of, low, high };
};

export interface Kappa {
  /** Judgements that were compared. */
  n: number;
  agreed: number;
  /** Agreement beyond chance, 1 at most; null: nothing compared, or only one category occurs, where chance explains everything. */
  kappa: number | null;
  /** Large-sample 95 % interval, cut to [-1, 1]; null where kappa is, or where the sample has no spread. */
  interval: [low: number, high: number] | null;
}

const Z95 = 1.959963984540054;

/**
 * Agreement of two raters: Cohen, "A coefficient of agreement for nominal scales", Educ. Psychol. Meas. 20 (1960), eq. 1; standard error
 * by Fleiss, Cohen & Everitt, "Large sample standard errors of kappa and weighted kappa", Psychol. Bull. 72 (1969), eq. 13.
 */
export function cohenKappa(pairs: readonly (readonly [a: string, b: string])[]): Kappa {
  const n = pairs.length;
  const agreed = pairs.filter(([a, b]) => a === b).length;
  const categories = [...new Set(pairs.flat())];
  const place = new Map(categories.map((category, i) => [category, i]));
  const k = categories.length;
  const table = Array.from({ length: k }, () => new Float64Array(k));
  for (const [a, b] of pairs) table[place.get(a)!]![place.get(b)!]! += 1 / n;
  const rows = table.map((row) => row.reduce((sum, p) => sum + p, 0));
  const columns = categories.map((_, j) => table.reduce((sum, row) => sum + row[j]!, 0));
  const observed = agreed / n;
  const expected = rows.reduce((sum, p, i) => sum + p * columns[i]!, 0);
  if (n === 0 || k === 1) return { n, agreed, kappa: null, interval: null };
  const kappa = (observed - expected) / (1 - expected);
  const rest = 1 - kappa;
  let diagonal = 0;
  let beside = 0;
  for (let i = 0; i < k; i += 1)
    for (let j = 0; j < k; j += 1) {
      const p = table[i]![j]!;
      if (i === j) diagonal += p * (1 - (rows[i]! + columns[i]!) * rest) ** 2;
      else beside += p * (columns[i]! + rows[j]!) ** 2;
    }
  const variance = (diagonal + rest ** 2 * beside - (kappa - expected * rest) ** 2) / (n * (1 - expected) ** 2);
  const half = Z95 * Math.sqrt(Math.max(0, variance));
  // Full agreement leaves no spread but that of the arithmetic.
  const interval: Kappa['interval'] = half > 1e-6 ? [Math.max(-1, kappa - half), Math.min(1, kappa + half)] : null;
  return { n, agreed, kappa, interval };
}

/**
 * Agreement of several raters: Fleiss, "Measuring nominal scale agreement among many raters", Psychol. Bull. 76 (1971), eq. 7.
 * @param counts [items][categories], how many gave that category; every item was judged equally often, twice at least.
 * @returns null: nothing to compare, or only one category occurs
 */
export function fleissKappa(counts: readonly (readonly number[])[]): number | null {
  const perItem = counts[0]?.reduce((sum, c) => sum + c, 0) ?? 0;
  if (counts.length === 0 || perItem < 2) return null;
  for (const row of counts)
    assert(row.reduce((sum, c) => sum + c, 0) === perItem, 'every item was judged equally often');
  const share = counts[0]!.map((_, j) => counts.reduce((sum, row) => sum + row[j]!, 0) / (counts.length * perItem));
  const expected = share.reduce((sum, p) => sum + p * p, 0);
  if (expected >= 1 - 1e-12) return null;
  const observed =
    counts.reduce((sum, row) => sum + row.reduce((s, c) => s + c * (c - 1), 0) / (perItem * (perItem - 1)), 0) /
    counts.length;
  return (observed - expected) / (1 - expected);
}

export type Call = 'ok' | 'ng' | 'unsure';
export interface StudyPart {
  partId: number;
  /** The reference. */
  good: boolean;
}
export interface StudyRating {
  rater: string;
  partId: number;
  trial: number;
  call: Call;
}

export interface RaterResult {
  rater: string;
  trials: number;
  /** Parts that were called the same in all rounds; null after one round alone. */
  repeated: CountedShare | null;
  /** Parts that were called as the reference in all rounds. */
  right: CountedShare;
  /** Calls `ok` of NG parts, of all calls of NG parts. */
  escape: CountedShare;
  /** NG parts that passed in one round at least: the independent units, so the bound that counts. */
  escapedParts: CountedShare;
  overkill: CountedShare;
  overkilledParts: CountedShare;
  /** Against the reference, all calls. */
  kappa: Kappa;
}

export interface AgreementResult {
  raters: RaterResult[];
  /** Every two raters, round by round. */
  pairs: { a: string; b: string; kappa: Kappa }[];
  /** Parts that everybody called the same in all rounds, and those that everybody called as the reference. */
  allSame: CountedShare;
  allRight: CountedShare;
  /** Of all raters and rounds together; null: nothing to compare. */
  fleiss: number | null;
}

/** Rounds that a rater did not finish are left out, and raters who finished none: what they skipped is not a matter of chance. */
export function analyseAgreement(parts: readonly StudyPart[], ratings: readonly StudyRating[]): AgreementResult {
  const ids = new Set(parts.map(({ partId }) => partId));
  const byRater = new Map<string, Map<number, Call[]>>();
  for (const { rater, partId, trial, call } of ratings) {
    if (!ids.has(partId)) continue;
    const calls = byRater.get(rater) ?? new Map<number, Call[]>();
    byRater.set(rater, calls);
    const ofPart = calls.get(partId) ?? [];
    calls.set(partId, ofPart);
    ofPart[trial] = call;
  }
  const rounds = (calls: ReadonlyMap<number, Call[]>) =>
    Math.min(...parts.map(({ partId }) => (calls.get(partId) ?? []).filter((call) => call !== undefined).length));
  const finished = [...byRater].flatMap(([rater, calls]) => {
    const whole = parts.length === 0 ? 0 : rounds(calls);
    // One round follows the other: what lies behind the last whole one belongs to one that was not finished.
    const kept = new Map([...calls].map(([partId, ofPart]) => [partId, ofPart.slice(0, whole)]));
    return whole === 0 ? [] : [[rater, kept] as const];
  });
  const wanted = (part: StudyPart): Call => (part.good ? 'ok' : 'ng');
  const partsWhere = (of: readonly StudyPart[], test: (part: StudyPart) => boolean) =>
    countedShare(of.filter(test).length, of.length);

  const bad = parts.filter(({ good }) => !good);
  const good = parts.filter((part) => part.good);
  const raters = finished.map(([rater, calls]): RaterResult => {
    const of = (part: StudyPart) => calls.get(part.partId)!;
    const wrong = (among: readonly StudyPart[], call: Call) =>
      countedShare(among.flatMap(of).filter((given) => given === call).length, among.flatMap(of).length);
    const trials = rounds(calls);
    return {
      rater,
      trials,
      repeated: trials < 2 ? null : partsWhere(parts, (part) => new Set(of(part)).size === 1),
      right: partsWhere(parts, (part) => of(part).every((call) => call === wanted(part))),
      escape: wrong(bad, 'ok'),
      escapedParts: partsWhere(bad, (part) => of(part).includes('ok')),
      overkill: wrong(good, 'ng'),
      overkilledParts: partsWhere(good, (part) => of(part).includes('ng')),
      kappa: cohenKappa(parts.flatMap((part) => of(part).map((call) => [call, wanted(part)] as const))),
    };
  });
  const pairs = finished.flatMap(([a, ofA], i) =>
    finished.slice(i + 1).map(([b, ofB]) => ({
      a,
      b,
      kappa: cohenKappa(
        parts.flatMap(({ partId }) => {
          const [first, second] = [ofA.get(partId)!, ofB.get(partId)!];
          return first.slice(0, second.length).map((call, trial) => [call, second[trial]!] as const);
        }),
      ),
    })),
  );
  const every = (part: StudyPart) => finished.flatMap(([, calls]) => calls.get(part.partId)!);
  const categories: readonly Call[] = ['ok', 'ng', 'unsure'];
  const least = Math.min(...raters.map(({ trials }) => trials));
  return {
    raters,
    pairs,
    allSame: partsWhere(finished.length > 0 ? parts : [], (part) => new Set(every(part)).size === 1),
    allRight: partsWhere(finished.length > 0 ? parts : [], (part) =>
      every(part).every((call) => call === wanted(part)),
    ),
    fleiss:
      raters.length === 0
        ? null
        : fleissKappa(
            parts.map(({ partId }) => {
              const calls = finished.flatMap(([, ofRater]) => ofRater.get(partId)!.slice(0, least));
              return categories.map((category) => calls.filter((call) => call === category).length);
            }),
          ),
  };
}
