import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { REFERENCE_PARTS } from '../learning/monitor/part-monitor.ts';
import type { RecordRow } from '../store/retention.ts';
import type { Store } from '../store/open.ts';

/*
 * What of a station is old enough to go and named by nobody. A slice at a time, so that whoever asks can let others go on between two; a slice is true until somebody else had
 * his turn.
 */

/** Looked at, or removed, without a pause: some 20 ms. */
const SLICE = 50;
/** By an index alone: some milliseconds. */
const COUNTED_AT_ONCE = 20_000;
/**
 * After so many younger ones in a row there are no more old ones: a clock that was wrong for a while left some between. What looks old behind them is of a clock that was set
 * back, and is young.
 */
const YOUNGER_AT_MOST = 1_000;
/** Of a clock that was ahead, and in a row: beyond them it is leapt on. */
const AHEAD_AT_MOST = 1_000;

export interface Age {
  stationId: string;
  /** ISO time: what is later is of a clock that was ahead. */
  now: string;
  /** ISO time: what is not older stays. */
  before: string;
  /** Pictures that stay (`referencedPictures`). */
  referenced: ReadonlySet<string>;
}

/** Whatever looks like a picture's name in evidence, shadow runs and lists of what a knowledge learnt, and what people imported. */
export const referencedPictures = async (store: Store, signal?: AbortSignal): Promise<Set<string>> => {
  const found = new Set<string>(store.retention.imported());
  const takeFrom = (text: string) => {
    for (const [sha] of text.matchAll(/\b[0-9a-f]{64}\b/g)) found.add(sha);
  };
  for (const id of store.candidates.ids()) {
    signal?.throwIfAborted();
    takeFrom(store.candidates.documents(id));
    await othersGoOn();
  }
  for (const id of store.knowledge.ids()) {
    signal?.throwIfAborted();
    // One from before there were lists learnt what is labelled.
    takeFrom(await readFile(join(store.home, 'knowledge', id, 'data.json'), 'utf8').catch(noFile));
  }
  return found;
};

const noFile = (error: NodeJS.ErrnoException): string => {
  if (error.code === 'ENOENT') return '';
  throw error;
};

/** Pictures of parts that are not ok, or records, that a station has: counted without holding up others. */
export const countOf = async (
  store: Store,
  kind: 'other' | 'records',
  stationId: string,
  signal: AbortSignal,
): Promise<number> => {
  let all = 0;
  for (let after = 0; ;) {
    const { count, last } = store.retention.count(kind, stationId, after, COUNTED_AT_ONCE);
    if (last === null) return all;
    all += count;
    after = last;
    await othersGoOn();
    signal.throwIfAborted();
  }
};

/** Pictures that good parts name, newest first and counted up to a limit: where none has one, all parts are looked at, without holding up others. */
export const okPicturesOf = async (
  store: Store,
  stationId: string,
  limit: number,
  signal: AbortSignal,
): Promise<string[]> => {
  const found: string[] = [];
  for (let last = store.retention.lastOk(stationId); last > 0 && found.length < limit; last -= COUNTED_AT_ONCE) {
    found.push(...store.retention.okPictures(stationId, last - COUNTED_AT_ONCE, last));
    await othersGoOn();
    signal.throwIfAborted();
  }
  return found.slice(0, limit);
};

export const othersGoOn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Rows that are old, slice by slice. Times that are still to come say nothing of what lies behind them: a clock that was a year ahead for an hour does not keep all that came
 * after it for a year. They are leapt over, as far each time as they have reached so far; a leap that meets others, or goes beyond the last row, is taken back.
 */
function* oldOnes<T extends { id: number; at: string }>(
  { before, now }: Pick<Age, 'before' | 'now'>,
  read: (after: number, limit: number) => T[],
): Generator<T[]> {
  for (let [after, younger, ahead, leap] = [0, 0, 0, 0]; younger < YOUNGER_AT_MOST;) {
    const slice = read(after + leap, SLICE);
    const past = slice.filter(({ at }) => at <= now);
    if (leap > 0 && past.length > 0) {
      [ahead, leap] = [0, 0];
    } else if (slice.length > 0) {
      const old = past.filter(({ at }) => at < before);
      yield old;
      after = slice.at(-1)!.id;
      younger = old.length > 0 ? 0 : younger + past.length;
      ahead = past.length > 0 ? 0 : ahead + leap + slice.length;
      leap = ahead < AHEAD_AT_MOST ? 0 : ahead;
    } else if (leap > 0) leap = Math.floor(leap / 2);
    else return;
  }
}

/** Pictures of parts that are not ok; each once. */
export function* removablePictures(
  store: Store,
  { stationId, now, before, referenced }: Age,
): Generator<{ imageSha: string; at: string }[]> {
  const seen = new Set<string>();
  const isKept = (sha: string) => referenced.has(sha) || store.retention.isPictureNeeded(sha, stationId, before);
  for (const old of oldOnes({ before, now }, (after, limit) => store.retention.pictured(stationId, after, limit))) {
    const byImage = new Map(old.map((row) => [row.imageSha, row]));
    for (const sha of byImage.keys()) if (seen.has(sha) || isKept(sha)) byImage.delete(sha);
    for (const { imageSha } of old) seen.add(imageSha);
    yield [...byImage.values()];
  }
}

/** @param without pictures that would have gone before: their records may go */
export function* removableRecords(
  store: Store,
  { stationId, now, before, referenced }: Age,
  without: ReadonlySet<string> = new Set(),
): Generator<RecordRow[]> {
  const reference = store.retention.reference(stationId, REFERENCE_PARTS);
  const isKept = ({ id, imageSha, isNamed, isPictured }: RecordRow): boolean =>
    isNamed ||
    (reference !== null && id >= reference.first && id <= reference.last) ||
    (imageSha !== null && (referenced.has(imageSha) || (isPictured && !without.has(imageSha))));
  for (const old of oldOnes({ before, now }, (after, limit) => store.retention.records(stationId, after, limit)))
    yield old.filter((row) => !isKept(row));
}
