import { MessageChannel, parentPort, workerData, type MessagePort } from 'node:worker_threads';
import type { CameraConfig } from '../contract/domain.ts';
import { asAppError, assert, type WireError } from '../contract/errors.ts';
import type { Channel } from '../contract/rpc/channel.ts';
import { createEmitterPortChannel } from '../contract/rpc/message-port.ts';
import type { CaptureToLineio, LineioToCapture } from '../contract/triggers.ts';
import type { Camera, FrameSink } from './camera.ts';
import { createIntake, type Intake, type IntakeOptions } from './intake.ts';
import { createCamera, type OpenCameraOptions } from './open-camera.ts';
import { openPreview, type PreviewNews } from './preview.ts';
import { createRingWriter, type FrameNotice, type RingMemory } from './ring.ts';

/*
 * The capture thread of a line process: owns the camera, draws or decodes, and writes frames into the ring. It never waits for
 * inference, and inference never waits for it.
 */

export interface CaptureThreadData {
  memory: RingMemory;
  /** The second reader of notices (records thread); the first is the main thread. */
  records: MessagePort;
  /** From and to the line output: its triggers do not wait for inference. */
  lineio: MessagePort;
}

export type ToCapture =
  | {
      kind: 'open';
      /** Of the question; its answer, and what this camera says, carry it. */
      id: number;
      camera: CameraConfig;
      options: Omit<OpenCameraOptions, 'triggering' | 'openFeed' | 'framesPerPart'>;
      intake: IntakeOptions;
    }
  | { kind: 'trigger' }
  /** Shows what a camera sees, without taking parts; answered as `open` is. `id` comes back with its news. */
  | {
      kind: 'preview';
      id: number;
      camera: CameraConfig;
      options: Pick<OpenCameraOptions, 'cameraId' | 'maxPixels' | 'settingsFile'>;
    }
  /** Answered by `closed` when no more frame will come. */
  | { kind: 'close'; id: number }
  /** Nobody waits any more for the answer to this question, nor wants what it or one before opens: that gives no frame, and is closed. */
  | { kind: 'give-up'; id: number };

export type FromCapture =
  | FrameNotice
  | { kind: 'opened'; id: number }
  | { kind: 'refused'; id: number; error: WireError }
  | { kind: 'closed'; id: number }
  | { kind: 'camera'; id: number; state: 'delivering' | 'lost' | 'starting'; problem: WireError | null }
  /** Has a record, but no frame. */
  | { kind: 'rejected'; seq: number; source: string; problem: WireError }
  | { kind: 'triggered'; taken: boolean }
  | { kind: 'preview'; id: number; news: PreviewNews }
  /** A trigger without a frame: a record, `unsure: late`. */
  | { kind: 'missed'; seq: number; waitedMs: number; part: number | null; notes: string[] }
  | { kind: 'trouble'; id: number; problem: WireError | null }
  /** To be joined to the page that reads USB cameras; closed by either side. */
  | { kind: 'feed'; port: MessagePort };

/** How many undecided frames a source that can wait keeps in the ring: one is judged while the next is ready. */
const PATIENT_PENDING = 2;
const FREE_CHECK_MS = 50;
const TICK_MS = 5;

assert(parentPort, 'this file is the entry of a worker thread');
const main = parentPort;
const { memory, records, lineio } = workerData as CaptureThreadData;
const now = () => Number(process.hrtime.bigint()) / 1e6;
const say = (message: FromCapture) => main.postMessage(message);
const ring = createRingWriter(memory, now, (notice) => {
  intake?.noteSlot(notice.slot);
  records.postMessage(notice);
  say(notice);
});

let intake: Intake | null = null;
let lot = '';
setInterval(() => intake?.tick(), TICK_MS);

let perPart = 1;
let lastLength = 1;
/** The last question that was given up. */
let givenUp = 0;
/** Of the camera that this question opens. */
const sinkOf = (id: number): FrameSink => ({
  offer(frame) {
    lastLength = frame.image.data.length * perPart;
    return id > givenUp && intake !== null && intake.offer(frame);
  },
  async whenFree(signal) {
    while (!signal.aborted && (id <= givenUp || !ring.hasRoom(lastLength, PATIENT_PENDING)))
      await ring.released(FREE_CHECK_MS);
  },
  missed(count) {
    ring.missed(count);
    intake?.lost(count);
  },
  unconfirmed: () => intake?.unconfirmed(),
});

const wire = (error: unknown): WireError => asAppError(error, 'capture').toWire('capture');

const openFeed = (): Channel => {
  const { port1, port2 } = new MessageChannel();
  main.postMessage({ kind: 'feed', port: port2 } satisfies FromCapture, [port2]);
  return createEmitterPortChannel(port1, { wrapped: false });
};

let camera: Camera | null = null;
let preview: AsyncDisposable | null = null;
/** Where the simulated line stands; a line that is set up differently begins anew. */
let simulated = { config: '', position: { next: 0 } };
const close = async () => {
  const [open, shown] = [camera, preview];
  camera = null;
  preview = null;
  await shown?.[Symbol.asyncDispose]();
  await open?.dispose();
  // No more frame comes: who still waits for one is answered before anybody hears that it is closed.
  intake?.setCamera('lost');
};

const open = async ({ id, ...message }: Extract<ToCapture, { kind: 'open' }>): Promise<void> => {
  const sameLine = JSON.stringify(message.camera) === simulated.config;
  if (!sameLine) simulated = { config: JSON.stringify(message.camera), position: { next: 0 } };
  ({ perPart } = message.intake.frames);
  const { source } = message.intake.trigger;
  const triggering = source === 'free-run' ? 'free-run' : source === 'camera' ? 'hardware' : 'software';
  const next = createCamera(
    message.camera,
    { ...message.options, triggering, openFeed, framesPerPart: perPart },
    simulated.position,
  );
  intake = createIntake(message.intake, {
    ring,
    now,
    fire: () => next.trigger?.() ?? false,
    missed: ({ atMs, ...trigger }) =>
      say({ kind: 'missed', seq: ring.takeNumber(), waitedMs: Math.max(0, now() - atMs), ...trigger }),
    overtaken: (slot) => records.postMessage({ kind: 'overtaken', slot }),
  });
  intake.setLot(lot);
  await next.open(sinkOf(id), {
    onState(state) {
      if (state.kind !== 'starting') intake?.setCamera(state.kind === 'lost' ? 'lost' : 'there');
      say({ kind: 'camera', id, state: state.kind, problem: state.kind === 'lost' ? wire(state.problem) : null });
    },
    onRejected({ source, problem }) {
      say({ kind: 'rejected', seq: ring.takeNumber(), source, problem: wire(problem) });
      // It had a place among the frames of its part.
      if (perPart > 1) intake?.lost(1);
    },
    onTrouble: (problem) => say({ kind: 'trouble', id, problem: problem && wire(problem) }),
  });
  camera = next;
};

const openToLook = async ({ id, camera, options }: Extract<ToCapture, { kind: 'preview' }>): Promise<void> => {
  const tell = (news: PreviewNews) => say({ kind: 'preview', id, news });
  preview = await openPreview(camera, { ...options, openFeed, next: simulated.position.next, tell });
};

// One after the other: a close that is asked for while the camera opens must find it open.
let queue: Promise<void> = Promise.resolve();
main.on('message', (message: ToCapture) => {
  // Not behind an opening that takes its time: whoever asked waits for the answer.
  if (message.kind === 'trigger')
    return say({ kind: 'triggered', taken: camera !== null && (intake?.trigger() ?? false) });
  const { id } = message;
  if (message.kind === 'give-up') givenUp = id;
  queue = queue.then(async () => {
    await close();
    if (message.kind === 'close') return say({ kind: 'closed', id });
    // One that waited behind a slow one is not opened to be closed again.
    if (message.kind === 'give-up' || id <= givenUp) return;
    try {
      if (message.kind === 'preview') await openToLook(message);
      else await open(message);
      say({ kind: 'opened', id });
    } catch (error) {
      say({ kind: 'refused', id, error: wire(error) });
    }
  });
});

lineio.on('message', (message: LineioToCapture) => {
  if (message.kind === 'lot') {
    lot = message.lot;
    intake?.setLot(lot);
    return;
  }
  if (message.kind === 'refused') {
    for (let n = 0; n < message.count; n += 1) ring.countTrigger(false);
    return;
  }
  const { part } = message;
  if (camera === null || !intake?.trigger(part))
    lineio.postMessage({ kind: 'untaken', part } satisfies CaptureToLineio);
});
