import { join } from 'node:path';
import { createRingReader, droppedFrames, setLastNumber, type FrameNotice } from '../../capture/ring.ts';
import type { FromCapture } from '../../capture/capture-thread.ts';
import type { Judgement, LineStatus, Station } from '../../contract/domain.ts';
import { AppError, assert, isAppError, problemOf } from '../../contract/errors.ts';
import type { lineEvents, lineMethods, LineRecord } from '../../contract/line.ts';
import { silentLog, type Logger } from '../../contract/log.ts';
import type { EventOf, Handlers, NameOf } from '../../contract/rpc/api.ts';
import { unsure } from '../../inspection/decide.ts';
import { monotonicMs, type Inspector } from '../../inspection/inspector.ts';
import { openSpool, type Spool } from '../../inspection/spool.ts';
import { diskError } from '../../store/files.ts';
import { isDemoHome, openApprovedModel } from './active-model.ts';
import { createAskCapture } from './ask-capture.ts';
import { createOutbox, type Outbox } from './outbox.ts';
import { createProblems } from './problems.ts';
import type { FromRecords } from './records-thread.ts';
import { createTally, type Tally } from './tally.ts';
import { startThreads, type LineThreads } from './threads.ts';

/*
 * The main thread of a line process: it owns ONNX Runtime and judges one frame after the other. Capture, watchdog, disk and
 * pictures have threads of their own (main/capture/capture-thread.ts, records-thread.ts).
 */

/** A frame without a verdict after so long is answered `unsure: late` by the watchdog: ten times the station's own limit, 500 ms at least. */
export const lateAfterMs = (station: Pick<Station, 'criteria'>): number =>
  Math.max(500, 10 * station.criteria.maxLatencyMsP99);
/** A demo never drives or reads real equipment. */
const DEMO_CAMERAS: readonly string[] = ['simulated', 'folder'];
const STATUS_MS = 250;
const FLUSH_MS = 50;
/** Pictures of the last parts may still be on their way to the disk when the line stops. */
const DRAIN_MS = 5_000;

export type EmitLineEvent = <E extends NameOf<typeof lineEvents>>(
  event: E,
  payload: EventOf<typeof lineEvents, E>,
) => void;

export interface LineOptions {
  emit: EmitLineEvent;
  log?: Logger;
  /** A thread died: the process is to end, and to be started anew. Default: throws, which does the same. */
  onFatal?: (error: Error) => void;
}

export type LineHandlers = Handlers<typeof lineMethods, unknown>;
/** The handlers of one station's line, and what ends it. */
export type Line = LineHandlers & { dispose(): Promise<void> };

interface Setup {
  home: string;
  station: Station;
  spool: Spool;
  outbox: Outbox;
}

/** Handlers for lineMethods. One station per process: the first line.configure says which. */
export function createLine({ emit, log = silentLog, onFatal }: LineOptions): Line {
  let setup: Setup | null = null;
  let model: Inspector | null = null;
  let bundleDir: string | null = null;
  let tally: Tally = createTally(monotonicMs);
  let state: LineStatus['state'] = 'stopped';
  let camera: LineStatus['camera'] = 'off';
  let startedAt: string | null = null;
  let droppedBefore = 0;
  let changed = true;
  const problems = createProblems((source, error) => {
    changed = true;
    if (error) log.warn('line problem', { source, code: error.code, problem: error.message });
  });

  // ---------------------------------------------------------------- one thing at a time on this thread
  let lane: Promise<unknown> = Promise.resolve();
  /** Runs between two parts. */
  const between = <T>(work: () => Promise<T> | T): Promise<T> => {
    const result = lane.then(work);
    lane = result.catch(() => {});
    return result;
  };
  /** Calls that change the line, one after the other. */
  let calls: Promise<unknown> = Promise.resolve();
  const exclusive = <T>(work: () => Promise<T>): Promise<T> => {
    const result = calls.then(work);
    calls = result.catch(() => {});
    return result;
  };

  // ---------------------------------------------------------------- verdicts
  const recordOf = (
    frame: Pick<FrameNotice, 'seq' | 'capturedAt' | 'width' | 'height' | 'notes'>,
    judgement: Judgement,
  ): LineRecord => ({
    seq: frame.seq,
    at: new Date(frame.capturedAt).toISOString(),
    imageSha: null,
    width: frame.width,
    height: frame.height,
    judgement,
    notes: frame.notes,
  });

  /** The spool first: nobody hears of a verdict that a crash could take back. */
  const write = (record: LineRecord) => {
    assert(setup, 'frames come after configure');
    try {
      setup.spool.append(record);
      Atomics.store(threads.dirty, 0, 1);
      problems.set('disk', null);
    } catch (error) {
      // The verdict stands and goes out; that its record is in memory only is counted and shown.
      const told = diskError(error, setup.spool.path);
      problems.set(
        'disk',
        isAppError(told) ? told : new AppError('DISK_FULL', { path: setup.spool.path }, { cause: error }),
      );
    }
  };
  const hear = (record: LineRecord) => {
    tally.add(record.judgement);
    setup?.outbox.verdict(record);
    changed = true;
  };

  const judge = async (notice: FrameNotice): Promise<void> => {
    const { slot, seq, arrivedAtMs } = notice;
    const image = ring.pixels(notice);
    try {
      if (!ring.isOpen(slot)) return;
      const judgement = model
        ? await model.inspect(image, {
            recipe: model.card.recipe ?? setup!.station.recipe,
            arrivedAtMs,
            onError: (error) => log.error('part not judged', { seq, code: error.code, error }),
          })
        : unsure('no-model', { modelId: null, latencyMs: Math.max(0, monotonicMs() - arrivedAtMs) });
      // Lost against the watchdog: the part is late, and its record is written already.
      if (!ring.claimDecided(slot)) return;
      const record = recordOf(notice, judgement);
      write(record);
      threads.records({ kind: 'verdict', seq, ok: judgement.verdict === 'ok' });
      hear(record);
    } finally {
      ring.release(slot);
    }
  };

  const onCapture = (message: FromCapture) => {
    switch (message.kind) {
      case 'frame':
        setup?.outbox.expect(message.seq);
        void between(() => judge(message)).catch((error: unknown) => fatal('inspection', error as Error));
        return;
      case 'rejected': {
        // A file that is no picture: a part nobody could judge, told once, without a frame.
        setup?.outbox.expect(message.seq);
        const judgement = unsure('error', {
          modelId: model?.card.id ?? null,
          latencyMs: 0,
          errorCode: message.problem.code,
        });
        const facts = { seq: message.seq, capturedAt: Date.now(), width: 0, height: 0 };
        const record = recordOf({ ...facts, notes: [message.source, message.problem.message] }, judgement);
        log.warn('file not taken', {
          source: message.source,
          code: message.problem.code,
          problem: message.problem.message,
        });
        write(record);
        hear(record);
        setup?.outbox.archived(message.seq, null);
        return;
      }
      case 'camera':
        problems.set('camera', message.problem);
        camera = message.state === 'delivering' ? 'well' : message.state === 'lost' ? 'fault' : 'busy';
        if (state !== 'stopped')
          state = message.state === 'delivering' ? 'running' : message.state === 'lost' ? 'fault' : 'starting';
        changed = true;
        return;
      case 'trouble':
        problems.set('frames', message.problem);
        return;
      case 'opened':
      case 'refused':
      case 'closed':
        capture.answered(message);
        return;
    }
  };

  const onRecords = (message: FromRecords) => {
    if (message.kind === 'late') {
      const { record, written } = message;
      if (written) setup?.spool.noteWritten(record.seq);
      else write(record);
      hear(record);
      return;
    }
    if (message.sha !== null) {
      problems.set('pictures', null);
      try {
        setup?.spool.noteImage(message.seq, message.sha);
        Atomics.store(threads.dirty, 0, 1);
      } catch (error) {
        log.warn('picture not noted', { seq: message.seq, error });
      }
    } else if (message.problem) {
      problems.set('pictures', message.problem);
    }
    setup?.outbox.archived(message.seq, message.sha);
  };

  const fatal = (thread: string, error: Error) => {
    log.error('a thread of the line failed', { thread, error });
    if (onFatal) onFatal(error);
    else
      setImmediate(() => {
        throw error;
      });
  };
  const threads: LineThreads = startThreads({ capture: onCapture, records: onRecords, failed: fatal });
  const ring = createRingReader(threads.memory);

  // ---------------------------------------------------------------- camera
  const capture = createAskCapture(threads.capture);

  const closeCamera = async () => {
    if (state === 'stopped') return;
    await capture.ask({ kind: 'close' });
    const until = monotonicMs() + DRAIN_MS;
    while (setup && setup.outbox.waiting > 0 && monotonicMs() < until) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      setup.outbox.flush();
    }
    setup?.outbox.flush();
    state = 'stopped';
    camera = 'off';
    problems.set('camera', null);
    problems.set('frames', null);
    changed = true;
  };

  const openCamera = async ({ home, station }: Setup) => {
    if (!DEMO_CAMERAS.includes(station.camera.kind) && (await isDemoHome(home))) {
      throw new AppError('DEMO_FORBIDS', { what: `a ${station.camera.kind} camera` });
    }
    state = 'starting';
    camera = 'busy';
    const answer = await capture.ask({
      kind: 'open',
      camera: station.camera,
      options: {
        cameraId: station.name,
        journalFile: join(home, 'spool', `${encodeURIComponent(station.id)}.taken`),
        maxPixels: station.recipe.maxPixels,
      },
    });
    if (answer.kind === 'refused') {
      state = 'stopped';
      camera = 'fault';
      problems.set('camera', answer.error);
      throw AppError.fromWire(answer.error);
    }
  };

  // ---------------------------------------------------------------- model
  const useModel = (next: Inspector | null, from: string | null) =>
    between(async () => {
      const before = model;
      model = next;
      bundleDir = from;
      threads.records({ kind: 'model', modelId: next?.card.id ?? null });
      problems.set('model', null);
      changed = true;
      await before?.dispose();
    });
  const openBundle = (at: Setup, dir: string) =>
    openApprovedModel({ home: at.home, stationId: at.station.id, bundleDir: dir, threads: at.station.threads });

  /** A bundle that fails its check does not inspect, whatever ran before: every part is unsure until one passes. */
  const takeBundle = async (at: Setup, dir: string | null) => {
    if (dir === null) return await useModel(null, null);
    try {
      await useModel(await openBundle(at, dir), dir);
    } catch (error) {
      await useModel(null, dir);
      const told = isAppError(error) ? error : new AppError('INTERNAL', { ref: 'line', problem: problemOf(error) });
      if (!isAppError(error)) log.error('model not opened', { bundleDir: dir, error });
      problems.set('model', told);
    }
  };

  // ---------------------------------------------------------------- status
  const status = (): LineStatus => {
    assert(setup, 'a status is asked for after configure');
    return {
      stationId: setup.station.id,
      state,
      camera,
      problem: problems.shown(),
      modelId: model?.card.id ?? null,
      startedAt,
      ...tally.counts(),
      droppedFrames: droppedFrames(threads.memory) - droppedBefore,
      lostRecords: setup.spool.lostRecords,
      rssBytes: process.memoryUsage.rss(),
    };
  };
  const needSetup = (): Setup => {
    if (!setup) throw new AppError('CONFLICT', { what: 'the line', state: 'not configured', needed: 'line.configure' });
    return setup;
  };

  const flushTimer = setInterval(() => setup?.outbox.flush(), FLUSH_MS);
  let ticks = 0;
  const statusTimer = setInterval(() => {
    ticks += 1;
    // Rate and memory change without a part, too: once a second.
    if (!setup || (!changed && (state === 'stopped' || ticks % 4 !== 0))) return;
    changed = false;
    emit('line.changed', status());
  }, STATUS_MS);

  const resend = (at: Setup, acknowledged: number) => {
    let batch: LineRecord[] = [];
    const { emitted } = at.outbox;
    for (const record of at.spool.after(acknowledged)) {
      // What was not emitted yet comes by itself, in order.
      if (record.seq > emitted) break;
      batch.push(record);
      if (batch.length < 200) continue;
      emit('line.recorded', { records: batch });
      batch = [];
    }
    if (batch.length > 0) emit('line.recorded', { records: batch });
  };

  return {
    'line.configure': (input) =>
      exclusive(async () => {
        const { home, station, acknowledged } = input;
        if (setup && (setup.station.id !== station.id || setup.home !== home)) {
          throw new AppError('CONFLICT', {
            what: 'the line',
            state: `that of ${setup.station.id}`,
            needed: 'a process of its own',
          });
        }
        threads.records({
          kind: 'configure',
          home,
          lateAfterMs: lateAfterMs(station),
          keepOkImages: input.keepOkImages,
          okImagesFile: join(home, 'spool', `${encodeURIComponent(station.id)}.ok-images`),
        });
        const before = setup;
        if (setup) {
          setup = { ...setup, station };
        } else {
          const spool = openSpool({
            dir: join(home, 'spool'),
            stationId: station.id,
            acknowledged,
            onTurn: (path) => threads.records({ kind: 'spool', path }),
          });
          threads.records({ kind: 'spool', path: spool.path });
          setLastNumber(threads.memory, spool.lastSeq);
          setup = {
            home,
            station,
            spool,
            outbox: createOutbox(spool.lastSeq, (records) => emit('line.recorded', { records })),
          };
        }
        const at = setup;
        at.spool.acknowledge(acknowledged);
        const sameThreads = before?.station.threads === station.threads;
        if (!before || input.bundleDir !== bundleDir || !sameThreads) await takeBundle(at, input.bundleDir);
        const sameCamera =
          before === null ||
          JSON.stringify([before.station.camera, before.station.recipe.maxPixels]) ===
            JSON.stringify([station.camera, station.recipe.maxPixels]);
        if (state !== 'stopped' && !sameCamera) {
          await closeCamera();
          await openCamera(at);
        }
        resend(at, acknowledged);
        changed = true;
        return status();
      }),
    'line.start': () =>
      exclusive(async () => {
        const at = needSetup();
        if (state !== 'stopped') return status();
        // Checked again: the files may have been altered since the line was configured.
        if (bundleDir !== null) await takeBundle(at, bundleDir);
        tally = createTally(monotonicMs);
        droppedBefore = droppedFrames(threads.memory);
        startedAt = new Date().toISOString();
        await openCamera(at);
        changed = true;
        return status();
      }),
    'line.stop': () =>
      exclusive(async () => {
        needSetup();
        await closeCamera();
        return status();
      }),
    'line.status': () => {
      needSetup();
      return status();
    },
    'line.activate': (input) =>
      exclusive(async () => {
        const next = await openBundle(needSetup(), input.bundleDir);
        await useModel(next, input.bundleDir);
        return status();
      }),
    'line.acknowledge': ({ seq }) => {
      needSetup().spool.acknowledge(seq);
      return {};
    },
    dispose: () =>
      exclusive(async () => {
        await closeCamera();
        clearInterval(flushTimer);
        clearInterval(statusTimer);
        await lane;
        await model?.dispose();
        model = null;
        await threads.terminate();
        setup?.spool.dispose();
      }),
  };
}
