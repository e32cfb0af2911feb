import type { LineRecord } from '../../contract/line.ts';

/** Records per event. */
const BATCH = 64;

/**
 * Hands records to the core in the order of their numbers, each when its verdict is given and its picture stored or given up.
 * In order, because the core acknowledges "everything up to": a record that came after a later one could be dropped from the
 * spool unseen.
 */
export interface Outbox {
  /** A frame is under way; each number is expected once, in order. */
  expect(seq: number): void;
  /** This and `archived` may come before their number is expected: the watchdog, a thread of its own, can be heard of first where the main thread is busy. */
  verdict(record: LineRecord): void;
  /** sha null: no picture. */
  archived(seq: number, sha: string | null): void;
  /** Emits what is ready. */
  flush(): void;
  readonly waiting: number;
  /** Greatest number that was emitted. */
  readonly emitted: number;
}

export function createOutbox(lastSeq: number, emit: (records: LineRecord[]) => void): Outbox {
  interface Entry {
    record: LineRecord | null;
    /** undefined: not yet known. */
    sha: string | null | undefined;
  }
  const entries = new Map<number, Entry>();
  /** Heard of before they were expected. */
  const early = new Map<number, Entry>();
  let emitted = lastSeq;
  const entryOf = (seq: number): Entry => {
    const known = entries.get(seq) ?? early.get(seq);
    if (known) return known;
    const entry: Entry = { record: null, sha: undefined };
    early.set(seq, entry);
    return entry;
  };
  return {
    expect(seq) {
      entries.set(seq, entryOf(seq));
      early.delete(seq);
    },
    verdict(record) {
      entryOf(record.seq).record = record;
    },
    archived(seq, sha) {
      entryOf(seq).sha = sha;
    },
    flush() {
      let batch: LineRecord[] = [];
      // A Map is in the order of insertion, and numbers are expected in order.
      for (const [seq, { record, sha }] of entries) {
        if (!record || sha === undefined) break;
        entries.delete(seq);
        emitted = seq;
        batch.push({ ...record, imageSha: sha });
        if (batch.length === BATCH) {
          emit(batch);
          batch = [];
        }
      }
      if (batch.length > 0) emit(batch);
    },
    get waiting() {
      return entries.size;
    },
    get emitted() {
      return emitted;
    },
  };
}
