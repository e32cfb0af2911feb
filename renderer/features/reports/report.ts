import type { LineStatus } from '../../../main/contract/domain.ts';
import type { MethodOutput } from '../../../main/contract/methods.ts';
import { shiftOf } from '../../lib/shifts.ts';

/* What a report shows, computed from counts per hour. Pure; days and shifts are those of this PC's time zone. */

export type Summary = MethodOutput<'reports.summary'>;
export type HourCount = Summary['hours'][number];

export interface Bucket {
  /** Start, local, as milliseconds. */
  start: number;
  ok: number;
  ng: number;
  unsure: number;
}

const startOf = (at: string, point: 'hour' | 'day'): number => {
  const date = new Date(at);
  if (point === 'day') date.setHours(0, 0, 0, 0);
  return date.getTime();
};

/** Hours without parts are left out: a stopped line has no yield. */
export function bucketsOf(hours: readonly HourCount[], point: 'hour' | 'day'): Bucket[] {
  const buckets = new Map<number, Bucket>();
  for (const { at, ok, ng, unsure } of hours) {
    const start = startOf(at, point);
    const bucket = buckets.get(start) ?? { start, ok: 0, ng: 0, unsure: 0 };
    bucket.ok += ok;
    bucket.ng += ng;
    bucket.unsure += unsure;
    buckets.set(start, bucket);
  }
  return [...buckets.values()].sort((a, b) => a.start - b.start);
}

export const partsOf = ({ ok, ng, unsure }: Pick<Bucket, 'ok' | 'ng' | 'unsure'>): number => ok + ng + unsure;

export const totalOf = (counts: readonly Pick<Bucket, 'ok' | 'ng' | 'unsure'>[]): Omit<Bucket, 'start'> =>
  counts.reduce<Omit<Bucket, 'start'>>(
    (sum, { ok, ng, unsure }) => ({ ok: sum.ok + ok, ng: sum.ng + ng, unsure: sum.unsure + unsure }),
    { ok: 0, ng: 0, unsure: 0 },
  );

export function shiftsOf(
  hours: readonly HourCount[],
  starts: readonly number[],
): (Omit<Bucket, 'start'> & { startHour: number })[] {
  return starts.map((startHour, i) => ({
    startHour,
    ...totalOf(hours.filter(({ at }) => shiftOf(new Date(at).getHours(), starts) === i)),
  }));
}

/** Of the frames of a run those that were dropped, as a share; null: none has come yet. Judged parts are the others: a dropped frame is no part. */
export function droppedShare({ parts, droppedFrames }: Pick<LineStatus, 'parts' | 'droppedFrames'>): number | null {
  const frames = parts + droppedFrames;
  return frames === 0 ? null : droppedFrames / frames;
}

/** The least yield that an axis shows: a whole per cent below the worst, as a share. */
export function yieldFloor(buckets: readonly Bucket[]): number {
  const least = Math.min(1, ...buckets.filter((b) => partsOf(b) > 0).map((bucket) => bucket.ok / partsOf(bucket)));
  return Math.max(0, Math.floor(100 * least - 1) / 100);
}
