import { z } from 'zod';
import { problemOf } from '../contract/errors.ts';
import type { MethodOutput } from '../contract/methods.ts';
import type { Retention } from '../contract/retention.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { RecordRow } from '../store/retention.ts';
import type { JobService } from './jobs.ts';
import type { Lines } from './lines.ts';
import {
  countOf,
  okPicturesOf,
  othersGoOn,
  referencedPictures,
  removablePictures,
  removableRecords,
  type Age,
} from './removable.ts';
import { removePictureFiles } from './removed-pictures.ts';
import { noteRemovedUntil, removedUntil, retentionOf, setRetention } from './retention-settings.ts';

/*
 * Old pictures and records go in small steps while no job runs: rows in a transaction, then the files (removed-pictures.ts). A step is short enough that a line's records wait for it unnoticed, and each
 * ends with a commit, so the write-ahead log stays as small as it is. Pictures of good parts are the line's own to delete (host/line/ok-images.ts).
 */

const DAY_MS = 86_400_000;
const FIRST_AFTER_MS = 2 * 60_000;
const EVERY_MS = 60 * 60_000;
/** Between two steps. */
const PAUSE_MS = 20;
/** Rows that go before the files do, so that many files of one folder wait for the disk together. */
const FILES_AT_ONCE = 1_000;
/** Files that are measured for how much disk a kind takes. */
const SAMPLE = 100;

/** A clock that leapt so far is perhaps wrong: nothing is removed for a day, in which somebody can set it right. Also after so long a time without the program. */
const LEAP_MS = 7 * DAY_MS;
const LOOKED = 'retention.looked';
const NOT_BEFORE = 'retention.notBefore';

/** What a cleaning has removed so far: it may be cut off and go on later, and has one entry in the trail. */
const cleanedSchema = z.object({
  pictures: z.number().int(),
  records: z.number().int(),
  oldest: z.iso.datetime(),
  newest: z.iso.datetime(),
});
type Cleaned = z.infer<typeof cleanedSchema>;
const cleanedOf = (stationId: string): string => `retention.cleaned:${stationId}`;

export interface RetentionService {
  handlers: HandlersOf<'retention.get' | 'retention.set' | 'retention.preview'>;
  /** Cleans all stations, or goes on where a job or the end of the program cut it off. */
  clean(): Promise<void>;
  start(): void;
  close(): Promise<void>;
}

type Preview = MethodOutput<'retention.preview'>;

export const createRetentionService = (
  context: CoreContext,
  { jobs, lines }: { jobs: Pick<JobService, 'busy'>; lines: Pick<Lines, 'reconfigure'> },
): RetentionService => {
  const { store, log, now } = context;
  let closed = false;
  let timer: NodeJS.Timeout | null = null;
  const ageOf = (days: number): Pick<Age, 'now' | 'before'> => ({
    now: now().toISOString(),
    before: new Date(now().getTime() - days * DAY_MS).toISOString(),
  });
  const mayRemove = () => !closed && !jobs.busy();

  /** Notes that we looked; gives whether the clock can be believed. */
  const clockIsBelieved = (): boolean => {
    const time = now().getTime();
    const looked = store.settings.get(LOOKED);
    const notBefore = store.settings.get(NOT_BEFORE);
    const leapt = typeof looked === 'number' && Math.abs(time - looked) > LEAP_MS;
    store.transaction(() => {
      store.settings.set(LOOKED, time);
      if (leapt) store.settings.set(NOT_BEFORE, time + DAY_MS);
    });
    if (leapt) log.warn('clock leapt: nothing is removed for a day', { from: looked, to: time });
    // One that was set back across it since.
    const waits = typeof notBefore === 'number' && time < notBefore && notBefore - time <= DAY_MS;
    return !leapt && !waits;
  };

  const cleaned = (stationId: string): Cleaned | null => {
    const found = cleanedSchema.safeParse(store.settings.get(cleanedOf(stationId)));
    return found.success ? found.data : null;
  };
  /** Within the transaction that removes. */
  const note = (stationId: string, what: 'pictures' | 'records', rows: readonly { at: string }[]): void => {
    const times = rows.map(({ at }) => at).toSorted();
    const [first, last] = [times[0]!, times.at(-1)!];
    const so = cleaned(stationId) ?? { pictures: 0, records: 0, oldest: first, newest: last };
    store.settings.set(cleanedOf(stationId), {
      ...so,
      [what]: so[what] + rows.length,
      oldest: first < so.oldest ? first : so.oldest,
      newest: last > so.newest ? last : so.newest,
    } satisfies Cleaned);
    if (what === 'records') noteRemovedUntil(store, stationId, last);
  };

  /**
   * Removes slice by slice; false: cut off.
   * @param remove within a transaction; false: not all of it yet
   * @param isKept what was not removed at once is asked again whether it stays
   */
  const removeEach = async <T extends { at: string }>(
    stationId: string,
    what: 'pictures' | 'records',
    slices: Iterable<T[]>,
    { remove, isKept }: { remove(row: T): boolean; isKept?(row: T): boolean },
  ): Promise<boolean> => {
    let withoutRow = 0;
    for (const slice of slices) {
      if (slice.length === 0) await othersGoOn();
      for (let rows = slice; rows.length > 0; rows = rows.filter((row) => isKept?.(row) !== true)) {
        if (!mayRemove()) return false;
        const gone = store.transaction(() => {
          const removed = new Set(rows.filter(remove));
          if (removed.size > 0) note(stationId, what, [...removed]);
          return removed;
        });
        rows = rows.filter((row) => !gone.has(row));
        withoutRow += gone.size;
        if (withoutRow >= FILES_AT_ONCE) {
          await removePictureFiles(store);
          withoutRow = 0;
        }
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
    await removePictureFiles(store);
    return true;
  };
  /** One entry for all that this cleaning removed, also before it was cut off. */
  const tell = (stationId: string, { otherPicturesDays, recordsDays }: Retention): void => {
    const done = cleaned(stationId);
    if (done === null) return;
    store.transaction(() => {
      store.settings.set(cleanedOf(stationId), null);
      store.audit.append({
        user: actor(null),
        action: 'retention.clean',
        subject: stationId,
        details: { ...done, otherPicturesDays, recordsDays },
      });
    });
    log.info('old pictures and records removed', { stationId, ...done });
  };
  const cleanStation = async (stationId: string, kept: Retention, referenced: Set<string>): Promise<void> => {
    const age = (days: number): Age => ({ stationId, referenced, ...ageOf(days) });
    const { retention } = store;
    const { otherPicturesDays, recordsDays } = kept;
    if (otherPicturesDays !== null) {
      const old = age(otherPicturesDays);
      const done = await removeEach(stationId, 'pictures', removablePictures(store, old), {
        remove: ({ imageSha }) => retention.removePicture(imageSha),
        isKept: ({ imageSha }) => retention.isPictureNamed(imageSha, old.before),
      });
      if (!done) return;
    }
    if (recordsDays !== null) {
      const slices = removableRecords(store, age(recordsDays));
      const remove = (row: RecordRow) => {
        retention.removeRecord(row);
        return true;
      };
      if (!(await removeEach(stationId, 'records', slices, { remove }))) return;
    }
    tell(stationId, kept);
  };
  const cleanAll = async (): Promise<void> => {
    const due = store.stations
      .list()
      .map(({ id }) => ({ id, kept: retentionOf(store, id) }))
      .filter(({ id, kept }) => kept.otherPicturesDays !== null || kept.recordsDays !== null || cleaned(id) !== null);
    if (closed || !clockIsBelieved() || due.length === 0 || !mayRemove()) return;
    await removePictureFiles(store);
    const referenced = await referencedPictures(store);
    for (const { id, kept } of due) await cleanStation(id, kept, referenced);
  };
  let cleaning: Promise<void> = Promise.resolve();
  const clean = (): Promise<void> =>
    (cleaning = cleaning.then(cleanAll).catch((error: unknown) => {
      log.warn('old pictures and records not removed; tried again', { problem: problemOf(error), error });
    }));

  const meanBytes = async (shas: readonly string[]): Promise<number> => {
    const sizes = [];
    for (const sha of shas) {
      const size = await store.images.size(sha);
      if (size !== null) sizes.push(size);
    }
    return sizes.reduce((sum, size) => sum + size, 0) / Math.max(1, sizes.length);
  };
  const preview = async (stationId: string, wanted: Retention, signal: AbortSignal): Promise<Preview> => {
    const { retention } = store;
    // Those that the line has not deleted yet.
    const good = await okPicturesOf(store, stationId, retentionOf(store, stationId).okPictures, signal);
    const others = await countOf(store, 'other', stationId, signal);
    const all = await countOf(store, 'records', stationId, signal);
    const okBytes = await meanBytes(good.slice(0, SAMPLE));
    const otherBytes = await meanBytes(retention.newestPictures(stationId, SAMPLE));
    const referenced = await referencedPictures(store, signal);
    const age = (days: number): Age => ({ stationId, referenced, ...ageOf(days) });
    const pictures = new Set<string>();
    const records = { count: 0, bytes: 0 };
    if (wanted.otherPicturesDays !== null)
      for (const rows of removablePictures(store, age(wanted.otherPicturesDays))) {
        for (const { imageSha } of rows) pictures.add(imageSha);
        await othersGoOn();
        signal.throwIfAborted();
      }
    if (wanted.recordsDays !== null)
      for (const rows of removableRecords(store, age(wanted.recordsDays), pictures)) {
        records.count += rows.length;
        records.bytes += rows.reduce((sum, { bytes }) => sum + bytes, 0);
        await othersGoOn();
        signal.throwIfAborted();
      }
    const amount = (count: number, bytesEach: number) => ({ count, bytes: count * bytesEach });
    const okGoes = Math.max(0, good.length - wanted.okPictures);
    return {
      okPictures: { ...amount(good.length, okBytes), goes: amount(okGoes, okBytes) },
      otherPictures: { ...amount(others, otherBytes), goes: amount(pictures.size, otherBytes) },
      records: { ...amount(all, retention.recordBytes(stationId)), goes: records },
    };
  };

  const later = (ms: number): void => {
    timer = setTimeout(() => void clean().then(() => closed || later(EVERY_MS)), ms);
    timer.unref();
  };
  return {
    clean,
    start: () => later(FIRST_AFTER_MS),
    async close() {
      closed = true;
      if (timer !== null) clearTimeout(timer);
      await cleaning;
    },
    handlers: {
      async 'retention.get'({ stationId }) {
        store.stations.get(stationId);
        return { retention: retentionOf(store, stationId), removedUntil: removedUntil(store, stationId) };
      },
      async 'retention.preview'({ stationId, retention }, _session, signal) {
        store.stations.get(stationId);
        return preview(stationId, retention, signal);
      },
      async 'retention.set'({ stationId, retention: after }, session) {
        store.stations.get(stationId);
        const before = retentionOf(store, stationId);
        if (JSON.stringify(before) === JSON.stringify(after)) return { retention: after };
        store.transaction(() => {
          setRetention(store, stationId, after);
          store.audit.append({
            user: actor(session),
            action: 'retention.set',
            subject: stationId,
            details: { before, after },
          });
        });
        context.emit('settings.changed', {});
        if (before.okPictures !== after.okPictures) await lines.reconfigure(stationId);
        void clean();
        return { retention: after };
      },
    },
  };
};
