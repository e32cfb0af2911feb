import type { Backbone } from '../../contract/domain.ts';
import { keepsLimits } from './evaluate.ts';
import { paretoFront } from './offers.ts';
import { SLACK_PP } from './search.ts';
import type { TrialRecord } from './trials.ts';

/** Whole candidates that are finished, timed together and reported. */
const MOST_FINALISTS = 5;
const MOST_NEAR = 2;
const MOST_OF_ALL = 6;
/** How many are finished beyond the finalists while none holds. */
const MOST_MORE = 3;
/** A choice needs something to choose from. */
const FEWEST_FINALISTS = 2;

/**
 * Fastest first: of the trials that keep the limit those on the front of validation accuracy against time, and the fastest on the front of all that
 * do not, so that the report shows what going further would cost. A front of one point is filled up with the most accurate of the
 * others. `all`: whatever was tried (a strategy was named).
 */
export function chooseFinalists(
  records: readonly TrialRecord[],
  { maxDropPp, all }: { maxDropPp: number; all: boolean },
): TrialRecord[] {
  const byTime = records.toSorted((a, b) => a.latencyMs - b.latencyMs);
  if (all && byTime.length <= MOST_OF_ALL) return byTime;
  const keeps = (record: TrialRecord) => keepsLimits(record, maxDropPp);
  const front = paretoFront(byTime);
  // Finishing validates on more images than the search did: what nearly keeps the limit may turn out to.
  const near = front.filter((record) => !keeps(record) && record.lost.expectedPp <= maxDropPp + SLACK_PP);
  const beyond = near.length > 0 ? near.slice(0, MOST_NEAR) : front.filter((record) => !keeps(record)).slice(0, 1);
  // Of those that keep the limit: one that does not may well be faster and, by chance, more accurate.
  const good = paretoFront(byTime.filter(keeps)).slice(0, MOST_FINALISTS - beyond.length);
  const others = byTime.filter((record) => keeps(record) && !good.includes(record));
  others.sort((a, b) => b.balancedAccuracy - a.balancedAccuracy || a.latencyMs - b.latencyMs);
  good.push(...others.slice(0, Math.max(0, FEWEST_FINALISTS - good.length)));
  const chosen = [...good, ...beyond];
  return (chosen.length > 0 ? chosen : byTime.slice(0, 1)).toSorted((a, b) => a.latencyMs - b.latencyMs);
}

/**
 * Finishes the finalists. The fastest of many variants hold in the search partly by chance, and finishing validates on more images: while none holds that is as fast, the
 * next that held in the search is finished.
 * @param places how many there may be; further ones take the place of the fastest that failed
 */
export async function finishFinalists<T>(
  finalists: readonly TrialRecord[],
  records: readonly TrialRecord[],
  { maxDropPp, places }: { maxDropPp: number; places: number },
  port: { finish(record: TrialRecord, place: number): Promise<T>; holds(done: T): boolean },
): Promise<T[]> {
  const done: { made: T; holds: boolean; latencyMs: number }[] = [];
  const finish = async (record: TrialRecord, place: number) => {
    const made = await port.finish(record, place);
    done[place] = { made, holds: port.holds(made), latencyMs: record.latencyMs };
  };
  for (const [place, record] of finalists.entries()) await finish(record, place);
  const others = records
    .filter((record) => keepsLimits(record, maxDropPp) && !finalists.includes(record))
    .toSorted((a, b) => a.latencyMs - b.latencyMs);
  for (const record of others.slice(0, MOST_MORE)) {
    if (done.some(({ holds, latencyMs }) => holds && latencyMs <= record.latencyMs)) break;
    const failed = done.filter(({ holds }) => !holds).toSorted((a, b) => a.latencyMs - b.latencyMs);
    await finish(record, done.length < places ? done.length : done.indexOf(failed[0]!));
  }
  return done.map(({ made }) => made);
}

/** Shares of the backbone's own size that are tried, rounded to its stride. */
const SIZE_SHARES = [0.86, 0.72, 0.57, 0.43, 0.29];
const STRIDE = 32;
const LEAST_SIZE = 64;

/** Lower input sizes, largest first: 192, 160, 128, 96, 64 for 224; none for a backbone of fixed size. */
export const inputSizesOf = (backbone: Pick<Backbone, 'inputSize' | 'dynamicSize'>): number[] => {
  if (!backbone.dynamicSize) return [];
  const sizes = SIZE_SHARES.map((share) => Math.round((share * backbone.inputSize) / STRIDE) * STRIDE);
  return [...new Set(sizes)].filter((size) => size >= LEAST_SIZE && size < backbone.inputSize);
};
