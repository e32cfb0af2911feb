import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { assert } from '../contract/errors.ts';
import { lineRecordSchema, type LineRecord } from '../contract/line.ts';

/*
 * The line's own memory of its records until the core has stored them: spool/<station>.ndjson and older pieces
 * <station>.<n>.ndjson, in lines of JSON. A record is written here before anyone hears of the verdict. fdatasync is the
 * records thread's work, at most every 100 ms: the verdict never waits for the disk to turn.
 *
 *   {"spool":1,"after":N,"lost":K}   first line of a piece: its numbers begin after N; K numbers were lost before
 *   {"seq":…, …}                     a LineRecord, imageSha null
 *   {"image":seq,"sha":"…"}          the picture of an earlier record was stored
 *
 * Two threads write. Each line but the first has a line feed before it too: one that a full disk tore spoils no other.
 */

/** A piece is closed at this size. */
const PIECE_BYTES = 2 ** 20;
/** Pieces kept for a core that does not answer: the oldest is given up beyond that, and its records counted as lost. */
const MAX_PIECES = 64;

/** Lines read, or records given out, at a time. */
const SLICE = 200;

interface Piece {
  path: string;
  /** Number of an old piece; null: the one being written. */
  number: number | null;
  after: number;
  lost: number;
  last: number;
  records: number;
  /** Pictures noted here of records that lie in older pieces, by their numbers. */
  strays: Map<number, string>;
}

interface PieceContent extends Piece {
  lines: LineRecord[];
  /** A record that was cut short by a crash, or lines that are no JSON: numbers from `last` on that must not be given again. */
  burnt: number;
  /** Bytes up to the end of the last whole line. */
  goodBytes: number;
  bytes: number;
}

const fileStem = (stationId: string): string => encodeURIComponent(stationId);

/** Reads a piece, and yields nothing every few lines: whoever has other work does it meanwhile. */
function* readingPiece(path: string, number: number | null): Generator<LineRecord[], PieceContent> {
  const raw = readFileSync(path);
  const goodBytes = raw.lastIndexOf(0x0a) + 1;
  const content: PieceContent = {
    path,
    number,
    after: 0,
    lost: 0,
    last: 0,
    records: 0,
    strays: new Map(),
    lines: [],
    burnt: 0,
    goodBytes,
    bytes: raw.length,
  };
  const images = new Map<number, string>();
  let broken = 0;
  let lines = 0;
  for (const line of raw.toString('utf8', 0, goodBytes).split('\n')) {
    if (line.length === 0) continue;
    lines += 1;
    if (lines % SLICE === 0) yield [];
    let value: { spool?: 1; after?: number; lost?: number; image?: number; sha?: string };
    try {
      value = JSON.parse(line) as typeof value;
    } catch {
      broken += 1;
      continue;
    }
    if (value.spool === 1) {
      content.after = value.after ?? 0;
      content.lost = value.lost ?? 0;
      content.last = Math.max(content.last, content.after);
    } else if (typeof value.image === 'number') {
      images.set(value.image, value.sha ?? '');
    } else {
      const record = lineRecordSchema.safeParse(value);
      if (!record.success) {
        broken += 1;
        continue;
      }
      content.lines.push(record.data);
      content.last = Math.max(content.last, record.data.seq);
      // What is broken before it shows as a gap in the numbers.
      broken = 0;
    }
  }
  content.lines.sort((a, b) => a.seq - b.seq);
  content.lines = content.lines.map((record) => {
    const sha = images.get(record.seq);
    return sha ? { ...record, imageSha: sha } : record;
  });
  content.strays = new Map([...images].filter(([seq]) => seq <= content.after));
  // A late part of before may have been written again here.
  content.records = content.lines.filter(({ seq }) => seq > content.after).length;
  const tail = raw.toString('utf8', goodBytes);
  // A line about a picture that is cut short loses no record; anything else may have been one.
  if (tail.length > 0 && !tail.startsWith('{"image"')) {
    broken += 1;
    content.burnt = Number(/^\{"seq":(\d+),/.exec(tail)?.[1] ?? 0);
  }
  if (broken > 0) content.burnt = Math.max(content.burnt, content.last + 1);
  return content;
}

/** Without its records: those of all pieces are too many to hold. */
function readPiece(path: string, number: number | null): Omit<PieceContent, 'lines'> {
  const reading = readingPiece(path, number);
  for (;;) {
    const step = reading.next();
    if (!step.done) continue;
    const { lines: _records, ...about } = step.value;
    return about;
  }
}

function* slicesOf(records: LineRecord[]): Generator<LineRecord[]> {
  for (let from = 0; from < records.length; from += SLICE) yield records.slice(from, from + SLICE);
}

/** Numbers lost up to the end of a piece: its head counts those before it. */
const lostUpTo = (piece: Piece | undefined): number =>
  piece ? piece.lost + Math.max(0, piece.last - piece.after - piece.records) : 0;

/** @returns bytes written */
function writeAll(handle: number, text: string): number {
  const buffer = Buffer.from(text);
  let done = 0;
  while (done < buffer.length) done += writeSync(handle, buffer, done);
  return buffer.length;
}

function cutOff(path: string, bytes: number): void {
  const handle = openSync(path, 'r+');
  try {
    ftruncateSync(handle, bytes);
  } finally {
    closeSync(handle);
  }
}

/** `{"seq":` comes first in a record's line, so that a torn one still tells its number. */
const recordLine = ({ seq, ...rest }: LineRecord): string => `\n${JSON.stringify({ seq, ...rest })}\n`;

/** For another thread, in one write: it could not go on after a part, where this one may have written. False: the disk took a part only. */
export function writeRecord(handle: number, record: LineRecord): boolean {
  const line = Buffer.from(recordLine(record));
  return writeSync(handle, line) === line.length;
}

export interface Spool extends Disposable {
  /** Number of the last record there is or was. */
  readonly lastSeq: number;
  /** Numbers that no record has: lost by a power cut, or given up while the core was away. */
  readonly lostRecords: number;
  /** File being written; another one after `append` turned the piece (onTurn is called then). */
  readonly path: string;
  /** Counts the turns: which file lies under that path. */
  readonly turns: number;
  /** On the disk as far as a crash of this process goes. Throws what the system says (ENOSPC). */
  append(record: LineRecord): void;
  /** A record that another thread wrote into the file that is being written. */
  noteWritten(seq: number): void;
  noteImage(seq: number, sha: string): void;
  /**
   * Stored records above `seq`, in order, in slices; some are empty. There may be 64 MiB of them: each step is short, and between two steps anything
   * may be done with the spool. What is appended meanwhile need not be among them.
   */
  after(seq: number): Generator<LineRecord[]>;
  /** Everything up to seq may go. */
  acknowledge(seq: number): void;
  dispose(): void;
}

/**
 * Opens and repairs: a torn last line is cut off, or stays unread in an old piece, and its number stays a gap. Where that fails, all is as it was.
 * @param acknowledged greatest number that the core has: the numbering goes on above it, whatever became of the spool.
 */
export function openSpool(options: {
  dir: string;
  stationId: string;
  acknowledged: number;
  onTurn?: (path: string, turns: number) => void;
}): Spool {
  const { dir, stationId } = options;
  mkdirSync(dir, { recursive: true });
  const stem = fileStem(stationId);
  const path = join(dir, `${stem}.ndjson`);
  /** No piece's name: a file that is not whole yet is none. */
  const newPath = `${path}.tmp`;
  const oldPath = (n: number) => join(dir, `${stem}.${String(n).padStart(8, '0')}.ndjson`);

  const oldNumbers = readdirSync(dir)
    .filter((name) => name.startsWith(`${stem}.`) && /^\d{8}\.ndjson$/.test(name.slice(stem.length + 1)))
    .map((name) => Number(name.slice(stem.length + 1, stem.length + 9)))
    .sort((a, b) => a - b);
  const found = oldNumbers.map((n) => readPiece(oldPath(n), n));
  const current = existsSync(path) ? readPiece(path, null) : null;
  if (current) found.push(current);
  let lostRecords = lostUpTo(found.at(-1));
  const written = Math.max(0, ...found.map((piece) => piece.last));
  const burnt = Math.max(written, ...found.map((piece) => piece.burnt));
  lostRecords += burnt - written;
  let { acknowledged } = options;
  let lastSeq = Math.max(burnt, acknowledged);

  const pieces: Piece[] = found.map(({ path: at, number, after, lost, last, records, strays }) => ({
    path: at,
    number,
    after,
    lost,
    last,
    records,
    strays,
  }));
  let handle = current ? openSync(path, 'a') : null;
  let bytes = current?.goodBytes ?? 0;
  let turns = 0;

  const write = (line: string) => {
    assert(handle !== null, 'a piece is begun before anything is written');
    bytes += writeAll(handle, line);
  };
  /** All or nothing: without its first line a piece would count all numbers before it as lost, so that line is there before the names change. */
  const openPiece = () => {
    const old = handle === null ? undefined : pieces.at(-1)!;
    const number = (pieces.findLast((piece) => piece.number !== null)?.number ?? oldNumbers.at(-1) ?? 0) + 1;
    const head = `${JSON.stringify({ spool: 1, after: lastSeq, lost: lostRecords })}\n`;
    // A kill may have left one.
    rmSync(newPath, { force: true });
    const opened = openSync(newPath, 'a');
    try {
      writeAll(opened, head);
      if (old) renameSync(path, oldPath(number));
      renameSync(newPath, path);
    } catch (error) {
      closeSync(opened);
      rmSync(newPath, { force: true });
      if (old && !existsSync(path)) renameSync(oldPath(number), path);
      throw error;
    }
    if (handle !== null) closeSync(handle);
    if (old) {
      old.number = number;
      old.path = oldPath(number);
    }
    handle = opened;
    bytes = head.length;
    pieces.push({
      path,
      number: null,
      after: lastSeq,
      lost: lostRecords,
      last: lastSeq,
      records: 0,
      strays: new Map(),
    });
  };
  const turn = () => {
    openPiece();
    turns += 1;
    options.onTurn?.(path, turns);
    while (pieces.length > MAX_PIECES) {
      const oldest = pieces[0]!;
      unlinkSync(oldest.path);
      pieces.shift();
      lostRecords += Math.min(oldest.records, Math.max(0, oldest.last - Math.max(oldest.after, acknowledged)));
    }
  };
  const dispose = () => {
    if (handle !== null) closeSync(handle);
  };

  const here = pieces.at(-1);
  try {
    // Where the numbering jumps (a gap, or a spool that is older than the core's archive), a new piece says where it begins.
    if (!here || here.number !== null) openPiece();
    else if (lastSeq !== here.last || (here.records === 0 && here.after === 0 && bytes === 0)) turn();
    // Only now: a torn record tells its number until a new piece does.
    else if (current!.goodBytes < current!.bytes) cutOff(path, current!.goodBytes);
  } catch (error) {
    dispose();
    throw error;
  }

  return {
    get lastSeq() {
      return lastSeq;
    },
    get lostRecords() {
      return lostRecords;
    },
    path,
    get turns() {
      return turns;
    },
    append(record) {
      try {
        if (bytes >= PIECE_BYTES) turn();
        write(recordLine(record));
      } catch (error) {
        lostRecords += 1;
        throw error;
      } finally {
        lastSeq = Math.max(lastSeq, record.seq);
      }
      const piece = pieces.at(-1)!;
      piece.last = Math.max(piece.last, record.seq);
      piece.records += 1;
    },
    noteWritten(seq) {
      lastSeq = Math.max(lastSeq, seq);
      const piece = pieces.at(-1)!;
      piece.last = Math.max(piece.last, seq);
      piece.records += 1;
    },
    noteImage(seq, sha) {
      write(`\n${JSON.stringify({ image: seq, sha })}\n`);
      const piece = pieces.at(-1)!;
      if (seq <= piece.after) piece.strays.set(seq, sha);
    },
    *after(seq) {
      const asked = pieces.filter((piece) => piece.last > seq);
      const images = new Map(asked.flatMap(({ strays }) => [...strays]));
      const withPicture = (record: LineRecord) => ({
        ...record,
        imageSha: record.imageSha ?? images.get(record.seq) ?? null,
      });
      // Parts at the end of a piece may be out of order with those at the beginning of the next: it is read first.
      let held: LineRecord[] = [];
      for (const piece of asked) {
        // One that was acknowledged meanwhile is gone.
        if (!pieces.includes(piece)) continue;
        const { lines } = yield* readingPiece(piece.path, piece.number);
        const next = lines.filter((record) => record.seq > seq).map(withPicture);
        const lowest = next[0]?.seq ?? Infinity;
        yield* slicesOf(held.filter((record) => record.seq < lowest));
        held = [...held.filter((record) => record.seq > lowest), ...next].sort((a, b) => a.seq - b.seq);
      }
      yield* slicesOf(held);
    },
    acknowledge(seq) {
      acknowledged = Math.max(acknowledged, seq);
      while (pieces.length > 1 && pieces[0]!.last <= seq) unlinkSync(pieces.shift()!.path);
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
}
