import { closeSync, fdatasync, fsync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { createRingReader, type FrameNotice, type RingMemory } from '../../capture/ring.ts';
import type { LineRecord } from '../../contract/line.ts';
import { asAppError, assert, type WireError } from '../../contract/errors.ts';
import type { ToLineioWatch } from '../../lineio/lineio-thread.ts';
import { unsure } from '../../inspection/decide.ts';
import { writeRecord } from '../../inspection/spool.ts';
import { createImageFiles } from '../../store/images.ts';
import { encodePng, loadDecoder } from '../../vision/decode.ts';
import { createOkImages, type OkImages } from './ok-images.ts';

/*
 * The records thread of a line process. It answers `unsure: late` for a frame that the main thread has not judged in time (inference
 * hangs: that thread cannot say so itself), makes the spool durable, and stores the pictures after their verdicts. Nothing here is
 * on the way of a verdict.
 */

export interface RecordsThreadData {
  memory: RingMemory;
  /** From the capture thread. */
  notices: MessagePort;
  /** To the line-output thread: frames and late parts, told though the main thread hangs. */
  lineio: MessagePort;
  /** [0] 1 when the spool was written to since the last fdatasync. */
  dirty: Int32Array;
}

export type ToRecords =
  | {
      kind: 'configure';
      home: string;
      lateAfterMs: number;
      /** Pictures of ok parts kept; null: all. */
      keepOkImages: number | null;
      okImagesFile: string;
    }
  /** `turns`: which file lies under the path (inspection/spool.ts). */
  | { kind: 'spool'; path: string; turns: number }
  | { kind: 'model'; modelId: string | null }
  /** The disk has little room: no picture is stored from now on, or again. */
  | { kind: 'archive'; pictures: boolean }
  /** The main thread has given its verdict and let go of the frame. */
  | { kind: 'verdict'; seq: number; ok: boolean; frame: number };

export type FromRecords =
  /** The watchdog has given a verdict. `written`: its record is in the spool's file after so many turns; null: in none. */
  | { kind: 'late'; record: LineRecord; written: number | null; part: number | null }
  /** `sha` null: not stored; `problem` says why, or nobody had time (null). */
  | { kind: 'archived'; seq: number; sha: string | null; problem: WireError | null };

const SYNC_MS = 100;
const WATCH_MS = 5;
/** Frames that may wait for their picture to be stored; the rest of the ring is left to the camera. */
const MAX_ARCHIVING = 8;
/** Pictures being encoded and written at once. */
const AT_ONCE = 2;

assert(parentPort, 'this file is the entry of a worker thread');
const main = parentPort;
await loadDecoder();
const { memory, notices, lineio, dirty } = workerData as RecordsThreadData;
const ring = createRingReader(memory);
const say = (message: FromRecords) => main.postMessage(message);
const now = () => Number(process.hrtime.bigint()) / 1e6;
const datasync = promisify(fdatasync);

let lateAfterMs = 500;
let modelId: string | null = null;
let spool: { turns: number; handle: number } | null = null;
/** Frames without a verdict that this thread knows of. */
const open = new Map<number, FrameNotice>();
/** Verdicts that came before their notice: the two take different ways. */
const early = new Map<number, { ok: boolean; frame: number }>();

// ---------------------------------------------------------------- pictures
interface Waiting {
  notice: FrameNotice;
  image: ReturnType<typeof ring.pixels>;
  ok: boolean;
}
const waiting: Waiting[] = [];
let storing = 0;
let pictures = true;
let keepOkImages: number | null = null;
let okImages: OkImages | null = null;

const asWire = (error: unknown): WireError => asAppError(error, 'records').toWire('records');

async function store({ notice, image, ok }: Waiting): Promise<void> {
  storing += 1;
  let sha: string | null = null;
  let problem: WireError | null = null;
  try {
    assert(okImages, 'frames come after configure');
    if (!pictures) return;
    sha = await okImages.store(await encodePng(image), ok);
  } catch (error) {
    problem = asWire(error);
  } finally {
    ring.release(notice.slot);
    say({ kind: 'archived', seq: notice.seq, sha, problem });
    storing -= 1;
    next();
  }
}

const next = () => {
  while (storing < AT_ONCE && waiting.length > 0) void store(waiting.shift()!);
};

/** @param picture the frame, of several of one part, that is kept */
function archive(seq: number, ok: boolean, picture: number): void {
  const notice = open.get(seq);
  assert(notice, 'a verdict is archived after its notice');
  open.delete(seq);
  const frame = { notice, image: ring.pixels(notice, picture) };
  if (waiting.length + storing >= MAX_ARCHIVING) {
    // The disk is slower than the line. An ok picture is given up first, whoever waits longest.
    const spare = ok ? -1 : waiting.findIndex((w) => w.ok);
    const givenUp = spare < 0 ? { ...frame, ok } : waiting.splice(spare, 1)[0]!;
    if (spare >= 0) waiting.push({ ...frame, ok });
    ring.release(givenUp.notice.slot);
    say({ kind: 'archived', seq: givenUp.notice.seq, sha: null, problem: null });
    return;
  }
  waiting.push({ ...frame, ok });
  next();
}

// ---------------------------------------------------------------- watchdog
function judgeLate(notice: FrameNotice, waitedMs: number): void {
  const record: LineRecord = {
    seq: notice.seq,
    at: new Date(notice.capturedAt).toISOString(),
    imageSha: null,
    width: notice.width,
    height: notice.height,
    judgement: unsure('late', { modelId, latencyMs: waitedMs }),
    notes: notice.notes,
  };
  let written: number | null = null;
  try {
    if (spool && writeRecord(spool.handle, record)) {
      Atomics.store(dirty, 0, 1);
      written = spool.turns;
    }
  } catch {
    // Told by `written`: the main thread tries again, or counts it as lost and shows the disk's problem.
  }
  const { seq, part } = notice;
  say({ kind: 'late', record, written, part });
  lineio.postMessage({ kind: 'late', seq, part } satisfies ToLineioWatch);
  archive(notice.seq, false, 0);
}

setInterval(() => {
  for (const notice of open.values()) {
    const waitedMs = now() - (notice.triggeredAtMs ?? notice.arrivedAtMs);
    if (waitedMs < lateAfterMs) continue;
    if (ring.claimLate(notice.slot)) judgeLate(notice, waitedMs);
  }
}, WATCH_MS);

// ---------------------------------------------------------------- spool
let syncing: Promise<void> = Promise.resolve();
const sync = () => {
  syncing = syncing.then(async () => {
    if (!spool || Atomics.exchange(dirty, 0, 0) === 0) return;
    const { handle } = spool;
    // A disk that refuses is told by the next write; the records are in the system's memory meanwhile.
    await datasync(handle).catch(() => Atomics.store(dirty, 0, 1));
  });
};
setInterval(sync, SYNC_MS);

function openSpoolFile(path: string, turns: number): void {
  const before = spool;
  mkdirSync(dirname(path), { recursive: true });
  spool = { turns, handle: openSync(path, 'a') };
  syncing = syncing.then(async () => {
    if (before) {
      // What was written to the old piece, by whoever.
      await datasync(before.handle).catch(() => {});
      closeSync(before.handle);
    }
    if (process.platform === 'win32') return;
    const folder = openSync(dirname(path), 'r');
    await promisify(fsync)(folder).catch(() => {});
    closeSync(folder);
  });
}

// ---------------------------------------------------------------- messages
notices.on('message', (notice: FrameNotice | { kind: 'overtaken'; slot: number }) => {
  if (notice.kind === 'overtaken') {
    // The capture thread has claimed it: no one else gives this frame's verdict.
    const given = [...open.values()].find(({ slot }) => slot === notice.slot);
    assert(given, 'a frame is noticed before it is overtaken');
    judgeLate(given, now() - (given.triggeredAtMs ?? given.arrivedAtMs));
    return;
  }
  lineio.postMessage({ kind: 'frame', seq: notice.seq, part: notice.part } satisfies ToLineioWatch);
  open.set(notice.seq, notice);
  // A notice brings the memory of its slot.
  ring.pixels(notice);
  const given = early.get(notice.seq);
  if (given === undefined) return;
  early.delete(notice.seq);
  archive(notice.seq, given.ok, given.frame);
});

main.on('message', (message: ToRecords) => {
  switch (message.kind) {
    case 'configure': {
      lateAfterMs = message.lateAfterMs;
      keepOkImages = message.keepOkImages;
      // Not anew: a picture that is being stored would be on no list, and stay for ever.
      okImages ??= createOkImages(message.okImagesFile, () => keepOkImages, createImageFiles(message.home));
      break;
    }
    case 'spool':
      openSpoolFile(message.path, message.turns);
      break;
    case 'model':
      modelId = message.modelId;
      break;
    case 'archive':
      pictures = message.pictures;
      break;
    case 'verdict':
      if (open.has(message.seq)) archive(message.seq, message.ok, message.frame);
      else early.set(message.seq, message);
      break;
  }
});
