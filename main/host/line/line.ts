import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import {
  countedSince,
  createRingMemory,
  createRingReader,
  droppedFrames,
  setLastNumber,
  triggersOf,
} from '../../capture/ring.ts';
import type { FromCapture } from '../../capture/capture-thread.ts';
import type { LineStatus, Station } from '../../contract/domain.ts';
import { AppError, assert } from '../../contract/errors.ts';
import { MOST_WAITING_RECORDS, type lineEvents, type lineMethods } from '../../contract/line.ts';
import { silentLog, type Logger } from '../../contract/log.ts';
import type { EventOf, Handlers, NameOf } from '../../contract/rpc/api.ts';
import type { Channel } from '../../contract/rpc/channel.ts';
import { createEmitterPortChannel } from '../../contract/rpc/message-port.ts';
import { bridge } from '../../contract/rpc/multiplex.ts';
import { monotonicMs } from '../../inspection/inspector.ts';
import { openSpool } from '../../inspection/spool.ts';
import type { FromLineio } from '../../lineio/lineio-thread.ts';
import { isDemoHome } from './active-model.ts';
import { createAskCapture } from './ask-capture.ts';
import { createLane } from '../../contract/lane.ts';
import { createLineCamera, refuseInDemo } from './line-camera.ts';
import { createLinePreview } from './line-preview.ts';
import { lateAfterMs, openedWith, setupOf, type LineState, type Setup } from './line-state.ts';
import { createModelSlot } from './model-slot.ts';
import { createOutbox } from './outbox.ts';
import { createProblems } from './problems.ts';
import { createTally } from './tally.ts';
import { startThreads, type LineThreads } from './threads.ts';
import { createVerdicts } from './verdicts.ts';

/*
 * The main thread of a line process: it owns ONNX Runtime and judges one frame after the other. Capture, watchdog, disk and
 * pictures have threads of their own (main/capture/capture-thread.ts, records-thread.ts).
 */

const STATUS_MS = 250;
const FLUSH_MS = 50;

export type EmitLineEvent = <E extends NameOf<typeof lineEvents>>(
  event: E,
  payload: EventOf<typeof lineEvents, E>,
) => void;

export interface LineOptions {
  emit: EmitLineEvent;
  log?: Logger;
  /** A way to the page that reads USB cameras; absent: there is none. */
  openFeed?: () => Channel;
  /** Longest time for a camera to open or close, ms; default 15 s. */
  cameraMs?: number;
  /** A thread died: the process is to end, and to be started anew. Default: throws, which does the same. */
  onFatal?: (error: Error) => void;
}

export type LineHandlers = Handlers<typeof lineMethods, unknown>;
/** The handlers of one station's line, and what ends it. */
export type Line = LineHandlers & { dispose(): Promise<void> };

/** Handlers for lineMethods. One station per process: the first line.configure says which. */
export function createLine({ emit, log = silentLog, openFeed, cameraMs, onFatal }: LineOptions): Line {
  const line: LineState = {
    setup: null,
    state: 'stopped',
    camera: 'off',
    lineOutput: null,
    startedAt: null,
    tally: createTally(monotonicMs),
    droppedBefore: 0,
    triggersBefore: [0, 0],
    changed: true,
  };
  const problems = createProblems((source, error) => {
    line.changed = true;
    threads.lineio({ kind: 'alarm', on: problems.shown() !== null });
    if (error) log.warn('line problem', { source, code: error.code, problem: error.message });
  });
  /** Between two parts: this thread judges one after the other. */
  const between = createLane();
  /** Calls that change the line. */
  const exclusive = createLane();

  const fatal = (thread: string, error: Error) => {
    log.error('a thread of the line failed', { thread, error });
    if (onFatal) onFatal(error);
    else
      setImmediate(() => {
        throw error;
      });
  };
  const onCapture = (message: FromCapture) => {
    switch (message.kind) {
      case 'frame':
        line.setup?.outbox.expect(message.seq);
        void between(() => verdicts.judge(message, slot.model)).catch((error: unknown) =>
          fatal('inspection', error as Error),
        );
        return;
      case 'rejected':
        line.setup?.outbox.expect(message.seq);
        verdicts.rejected(message, slot.model?.card.id ?? null);
        return;
      case 'missed':
        line.setup?.outbox.expect(message.seq);
        verdicts.missed(message, slot.model?.card.id ?? null);
        return;
      case 'triggered':
        triggerAnswers.shift()?.(message.taken);
        return;
      case 'camera':
        if (!capture.isWanted(message.id)) return;
        problems.set('camera', message.problem);
        // What is still wrong when it is back is told anew.
        if (message.state === 'lost') problems.set('frames', null);
        line.camera = message.state === 'delivering' ? 'well' : message.state === 'lost' ? 'fault' : 'busy';
        if (line.state !== 'stopped')
          line.state = message.state === 'delivering' ? 'running' : message.state === 'lost' ? 'fault' : 'starting';
        line.changed = true;
        return;
      case 'trouble':
        if (!capture.isWanted(message.id)) return;
        problems.set('frames', message.problem);
        return;
      case 'preview':
        preview.heard(message);
        return;
      case 'feed': {
        const feed = createEmitterPortChannel(message.port, { wrapped: false });
        if (openFeed) bridge(feed, openFeed());
        else feed.close();
        return;
      }
      case 'opened':
      case 'refused':
      case 'closed':
        capture.answered(message);
        return;
    }
  };
  /** Who waits to hear whether his trigger was taken, in order: the capture thread answers each. */
  const triggerAnswers: ((taken: boolean) => void)[] = [];
  const onLineio = (message: FromLineio) => {
    switch (message.kind) {
      case 'configured':
        problems.set('output', message.problem);
        return;
      case 'silent':
        problems.set('control', message.problem);
        return;
      case 'status':
        line.lineOutput = message.status;
        line.changed = true;
        return;
    }
  };
  const memory = createRingMemory();
  const threads: LineThreads = startThreads(memory, {
    capture: onCapture,
    records: (message) => verdicts.fromRecords(message),
    lineio: onLineio,
    failed: fatal,
  });
  const verdicts = createVerdicts(line, { ring: createRingReader(memory), threads, problems, log });
  const slot = createModelSlot(line, { between, threads, problems, log });
  const capture = createAskCapture(threads.capture, cameraMs);
  const camera = createLineCamera(line, { capture, problems });
  const preview = createLinePreview(line, { capture, exclusive });

  /** The PLC hears of it when the camera is refused: the line stands. */
  const openCamera = async (at: Setup): Promise<void> => {
    try {
      // Before whoever looks at a camera loses it.
      await refuseInDemo(at.home, at.station.camera);
      preview.over();
      await camera.open(at);
    } catch (error) {
      threads.lineio({ kind: 'state', running: false });
      throw error;
    }
  };

  // ---------------------------------------------------------------- status
  const status = (): LineStatus => {
    assert(line.setup, 'a status is asked for after configure');
    return {
      stationId: line.setup.station.id,
      state: line.state,
      camera: line.camera,
      problem: problems.shown(),
      modelId: slot.model?.card.id ?? null,
      startedAt: line.startedAt,
      ...line.tally.counts(),
      droppedFrames: countedSince(line.droppedBefore, droppedFrames(memory)),
      triggers: countedSince(line.triggersBefore[0], triggersOf(memory)[0]),
      refusedTriggers: countedSince(line.triggersBefore[1], triggersOf(memory)[1]),
      lostRecords: line.setup.spool.lostRecords,
      lineOutput: line.lineOutput,
      rssBytes: process.memoryUsage.rss(),
    };
  };

  /** The core is told records in order: what is new waits for what is told again. */
  let resending = false;
  const flushTimer = setInterval(() => {
    if (!resending) line.setup?.outbox.flush();
  }, FLUSH_MS);
  let ticks = 0;
  const statusTimer = setInterval(() => {
    ticks += 1;
    // Rate and memory change without a part, too: once a second.
    if (!line.setup || (!line.changed && (line.state === 'stopped' || ticks % 4 !== 0))) return;
    line.changed = false;
    emit('line.changed', status());
  }, STATUS_MS);

  const resend = async (at: Setup, acknowledged: number) => {
    const { emitted } = at.outbox;
    const slices = at.spool.after(acknowledged);
    resending = true;
    try {
      // Beyond what can wait the core drops all until it asks again: told to the end each time, a full spool would be read eight times over.
      for (let told = 0; told <= MOST_WAITING_RECORDS;) {
        // After a long outage there are many: parts are judged before and between them.
        const { value: slice, done } = await between(() => slices.next());
        if (done) return;
        // What was not emitted yet comes by itself, in order.
        const records = slice.filter(({ seq }) => seq <= emitted);
        if (records.length > 0) emit('line.recorded', { records });
        told += records.length;
        if (records.length < slice.length) return;
        await turn();
      }
    } finally {
      resending = false;
    }
  };

  /** Opens the spool at the first call; afterwards a station may change, but not be another. */
  const setUp = (home: string, station: Station, acknowledged: number): Setup => {
    if (line.setup) {
      if (line.setup.station.id !== station.id || line.setup.home !== home) {
        const state = `that of ${line.setup.station.id}`;
        throw new AppError('CONFLICT', { what: 'the line', state, needed: 'a process of its own' });
      }
      return { ...line.setup, station };
    }
    const spool = openSpool({
      dir: join(home, 'spool'),
      stationId: station.id,
      acknowledged,
      onTurn: (path, turns) => threads.records({ kind: 'spool', path, turns }),
    });
    threads.records({ kind: 'spool', path: spool.path, turns: spool.turns });
    setLastNumber(memory, spool.lastSeq);
    const outbox = createOutbox(spool.lastSeq, (records) => emit('line.recorded', { records }));
    return { home, station, spool, outbox };
  };

  return {
    'line.configure': (input) =>
      exclusive(async () => {
        const { home, station, acknowledged } = input;
        const before = line.setup;
        const at = setUp(home, station, acknowledged);
        line.setup = at;
        threads.records({
          kind: 'configure',
          home,
          lateAfterMs: lateAfterMs(station),
          keepOkImages: input.keepOkImages,
          okImagesFile: join(home, 'spool', `${encodeURIComponent(station.id)}.ok-images`),
        });
        // A demo drives no equipment, whatever its database says.
        const output = (await isDemoHome(home)) ? { kind: 'none' as const } : station.lineOutput;
        threads.lineio({ kind: 'configure', output, trigger: station.line.trigger, classCodes: input.classCodes });
        at.spool.acknowledge(acknowledged);
        const sameThreads = before?.station.threads === station.threads;
        if (!before || input.bundleDir !== slot.bundleDir || !sameThreads) await slot.take(at, input.bundleDir);
        if (line.state !== 'stopped' && before && openedWith(before.station) !== openedWith(station)) {
          await camera.close();
          await openCamera(at);
        }
        await resend(at, acknowledged);
        line.changed = true;
        return status();
      }),
    'line.start': () =>
      exclusive(async () => {
        const at = setupOf(line);
        if (line.state !== 'stopped') return status();
        // Checked again: the files may have been altered since the line was configured.
        if (slot.bundleDir !== null) await slot.take(at, slot.bundleDir);
        line.tally = createTally(monotonicMs);
        line.droppedBefore = droppedFrames(memory);
        line.triggersBefore = triggersOf(memory);
        line.startedAt = new Date().toISOString();
        // Frames that come by themselves may come at once; a trigger is not taken before the camera is there.
        const triggered = at.station.line.trigger.source === 'line-output';
        if (!triggered) threads.lineio({ kind: 'state', running: true });
        await openCamera(at);
        if (triggered) threads.lineio({ kind: 'state', running: true });
        line.changed = true;
        return status();
      }),
    'line.stop': () =>
      exclusive(async () => {
        setupOf(line);
        await camera.close();
        threads.lineio({ kind: 'state', running: false });
        return status();
      }),
    'line.trigger': () => {
      setupOf(line);
      if (line.state === 'stopped')
        throw new AppError('CONFLICT', { what: 'the line', state: 'stopped', needed: 'a running line' });
      return new Promise((resolve) => {
        triggerAnswers.push((taken) => resolve({ taken }));
        threads.capture({ kind: 'trigger' });
      });
    },
    'line.status': () => {
      setupOf(line);
      return status();
    },
    'line.preview': (question) => exclusive(() => preview.look(question)),
    'line.endPreview': () => exclusive(async () => (await preview.close(), {})),
    'line.testOutput': async ({ signals, seconds }) => {
      const { station } = setupOf(line);
      if (line.state !== 'stopped')
        throw new AppError('CONFLICT', { what: 'the line', state: line.state, needed: 'a stopped line' });
      if (station.lineOutput.kind === 'none')
        throw new AppError('CONFLICT', { what: 'the line output', state: 'off', needed: 'one that is set up' });
      threads.lineio({ kind: 'test', signals, forMs: 1000 * seconds });
      return {};
    },
    'line.activate': (input) =>
      exclusive(async () => {
        if (input.classCodes) threads.lineio({ kind: 'classes', classCodes: input.classCodes });
        await slot.swap(setupOf(line), input.bundleDir);
        return status();
      }),
    'line.acknowledge': ({ seq }) => {
      setupOf(line).spool.acknowledge(seq);
      return {};
    },
    'line.archive': ({ refused }) => {
      threads.records({ kind: 'archive', pictures: refused === null });
      problems.set('room', refused);
      return {};
    },
    dispose: () =>
      exclusive(async () => {
        // A camera that was only looked at gets its settings back.
        await preview.close();
        preview.dispose();
        await camera.close();
        clearInterval(flushTimer);
        clearInterval(statusTimer);
        await slot.dispose();
        await threads.terminate();
        line.setup?.spool.dispose();
      }),
  };
}
