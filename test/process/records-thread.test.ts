import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageChannel, Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  createRingMemory,
  createRingReader,
  createRingWriter,
  setLastNumber,
  type FrameNotice,
} from '../../main/capture/ring.ts';
import { silentLog } from '../../main/contract/log.ts';
import type { LineState } from '../../main/host/line/line-state.ts';
import { createOutbox } from '../../main/host/line/outbox.ts';
import { createProblems } from '../../main/host/line/problems.ts';
import type { FromRecords, RecordsThreadData, ToRecords } from '../../main/host/line/records-thread.ts';
import { createTally } from '../../main/host/line/tally.ts';
import { createVerdicts } from '../../main/host/line/verdicts.ts';
import { openSpool, type Spool } from '../../main/inspection/spool.ts';
import { createImageFiles } from '../../main/store/images.ts';
import { smallDisk } from '../helpers/small-disk.ts';
import { spoolRecord } from '../helpers/spool-record.ts';
import { lineStation } from './line-home.ts';

/* The watchdog's own writing into the spool, and what the main thread of the line makes of it: the real threads' code, without a camera and a model. */

let dir: string;
let unmount: (() => void) | null = null;
let worker: Worker | null = null;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mekiki-late-'));
  mkdirSync(join(dir, 'spool'));
});
afterEach(async () => {
  await worker?.terminate();
  worker = null;
  unmount?.();
  unmount = null;
  rmSync(dir, { recursive: true, force: true });
});

const open = (onTurn?: () => void) =>
  openSpool({ dir: join(dir, 'spool'), stationId: 'st', acknowledged: 0, ...(onTurn && { onTurn }) });
const file = () => join(dir, 'spool', 'st.ndjson');
const record = (seq: number, note: string) => spoolRecord(seq, [note]);
const seqsIn = (spool: Spool, after = 0) => [...spool.after(after)].flat().map(({ seq }) => seq);

/** The thread with a ring of its own; `next` gives what it says of a kind the next time, `noticed` waits until it has heard of a frame. */
const recordsThread = (settings: { lateAfterMs: number; keepOkImages: number | null }) => {
  const memory = createRingMemory();
  const dirty = new Int32Array(new SharedArrayBuffer(4));
  const [notices, lineio] = [new MessageChannel(), new MessageChannel()];
  worker = new Worker(new URL('../../main/host/line/records-thread.ts', import.meta.url), {
    workerData: { memory, notices: notices.port2, lineio: lineio.port2, dirty } satisfies RecordsThreadData,
    transferList: [notices.port2, lineio.port2],
  });
  const tell = (message: ToRecords) => worker!.postMessage(message);
  const configure = () => tell({ kind: 'configure', home: dir, okImagesFile: join(dir, 'ok'), ...settings });
  configure();
  let last: FrameNotice | null = null;
  const ring = createRingWriter(
    memory,
    () => Number(process.hrtime.bigint()) / 1e6,
    (notice) => {
      last = notice;
      notices.port1.postMessage(notice);
    },
  );
  return {
    memory,
    dirty,
    tell,
    configure,
    offer(value = 0): FrameNotice {
      const image = { width: 8, height: 8, channels: 1 as const, data: new Uint8Array(64).fill(value) };
      ring.offer({ image, capturedAt: new Date(0), notes: [], source: 'test' });
      return last!;
    },
    noticed: () => new Promise((resolve) => void lineio.port1.once('message', resolve)),
    async next<K extends FromRecords['kind']>(kind: K): Promise<Extract<FromRecords, { kind: K }>> {
      for (;;) {
        const [message] = (await once(worker!, 'message')) as [FromRecords];
        if (message.kind === kind) return message as Extract<FromRecords, { kind: K }>;
      }
    },
  };
};

/** A line whose inference hangs at the next frame: `late` gives what the watchdog makes of it, `hear` tells the main thread. */
const hangingLine = (spool: Spool) => {
  const { memory, dirty, tell, offer, next } = recordsThread({ lateAfterMs: 20, keepOkImages: null });
  tell({ kind: 'spool', path: spool.path, turns: spool.turns });
  const line: LineState = {
    setup: { home: dir, station: lineStation({ kind: 'simulated' }), spool, outbox: createOutbox(0, () => {}) },
    state: 'running',
    camera: 'well',
    lineOutput: null,
    startedAt: null,
    tally: createTally(() => 0),
    droppedBefore: 0,
    triggersBefore: [0, 0],
    changed: false,
  };
  const problems = createProblems(() => {});
  const threads = { dirty, capture() {}, records: tell, lineio() {}, terminate: async () => {} };
  const verdicts = createVerdicts(line, { ring: createRingReader(memory), threads, problems, log: silentLog });
  return {
    hear: verdicts.fromRecords,
    late() {
      setLastNumber(memory, spool.lastSeq);
      offer();
      return next('late');
    },
  };
};

test('a record of which a full disk took a part is written again, and spoils none that comes meanwhile', async (context) => {
  unmount = smallDisk(join(dir, 'spool'), '64k');
  context.skip(unmount === null, 'this account may not mount a small disk');
  {
    using spool = open();
    const bytes = () => readFileSync(file()).length;
    const before = bytes();
    spool.append(record(1, ''));
    // Forty bytes of its last page are left: less than a record, and all that the disk has then.
    const line = bytes() - before;
    spool.append(record(2, 'x'.repeat(3 * 4096 - 40 - bytes() - line)));
    expect(bytes()).toBe(3 * 4096 - 40);
    const filler = join(dir, 'spool', 'filler');
    expect(() => appendFileSync(filler, Buffer.alloc(2 ** 17))).toThrow(/ENOSPC/);
    const { late, hear } = hangingLine(spool);
    const message = await late();
    expect(message).toMatchObject({ record: { seq: 3 }, written: null });
    expect(bytes()).toBe(3 * 4096);
    rmSync(filler);
    spool.append(record(4, ''));
    hear(message);
    expect(seqsIn(spool)).toEqual([1, 2, 3, 4]);
  }
  using spool = open();
  expect(seqsIn(spool)).toEqual([1, 2, 3, 4]);
});

test('a record that went into an older file, as the turn was under way, is kept until it is acknowledged', async () => {
  let turned = false;
  using spool = open(() => void (turned = true));
  spool.append(record(1, ''));
  const { late, hear } = hangingLine(spool);
  hear(await late());
  expect(seqsIn(spool)).toEqual([1, 2]);
  for (let seq = 3; !turned; seq += 1) spool.append(record(seq, 'x'.repeat(40_000)));
  const last = spool.lastSeq;
  // The records thread has not heard of the turn.
  hear(await late());
  spool.acknowledge(last);
  expect(seqsIn(spool, last)).toEqual([last + 1]);
});

test('a picture that is being stored when the line is configured is one of those that go', async () => {
  const { memory, tell, configure, offer, noticed, next } = recordsThread({ lateAfterMs: 60_000, keepOkImages: 1 });
  const ring = createRingReader(memory);
  const okPart = async (value: number) => {
    const { slot, seq } = offer(value);
    await noticed();
    ring.claimDecided(slot);
    ring.release(slot);
    tell({ kind: 'verdict', seq, ok: true, frame: 0 });
  };
  const shas: string[] = [];
  for (const value of [1, 2, 3]) {
    await okPart(value);
    if (value === 1) configure();
    shas.push((await next('archived')).sha!);
  }
  const { pathOf } = createImageFiles(dir);
  expect(shas.map((sha) => existsSync(pathOf(sha)))).toEqual([false, false, true]);
});
