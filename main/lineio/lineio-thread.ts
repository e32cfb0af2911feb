import { createHash } from 'node:crypto';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import type { Judgement, LineOutput, LineOutputStatus, LineSettings, TestSignals } from '../contract/domain.ts';
import { AppError, asAppError, assert, type WireError } from '../contract/errors.ts';
import type { CaptureToLineio, LineioToCapture } from '../contract/triggers.ts';
import { createHandshake, type Handshake, type HandshakeEvent, type PartVerdict } from './handshake.ts';
import { openModbusClient } from './modbus-client.ts';
import { openModbusServer, type ModbusServer } from './modbus-server.ts';
import { FIRST_PAUSE_MS, longerPauseMs } from './pauses.ts';
import { createRegisterImage, type RegisterImage } from './register-image.ts';
import { checkClientPlaces, layOut, type ErrorName } from './register-map.ts';

/*
 * The line-output thread of a line process: owns the PLC's connection and the handshake. It hears of frames and of late parts
 * from the records thread, of verdicts from the main thread, and asks the capture thread itself; a main thread that hangs in
 * inference does not hold it up.
 */

export interface LineioThreadData {
  /** From the records thread. */
  watch: MessagePort;
  /** To and from the capture thread: the PLC's triggers. */
  capture: MessagePort;
}

export type ToLineio =
  /** Answered by `configured`. */
  | { kind: 'configure'; output: LineOutput; trigger: LineSettings['trigger']; classCodes: Record<string, number> }
  | { kind: 'state'; running: boolean }
  | { kind: 'model'; modelId: string | null }
  /** Something needs a person. */
  | { kind: 'alarm'; on: boolean }
  | { kind: 'verdict'; seq: number; part: number | null; judgement: Judgement }
  /** By hand, while the line is stopped. */
  | { kind: 'test'; signals: TestSignals; forMs: number }
  | { kind: 'classes'; classCodes: Record<string, number> };

/** What the records thread tells. */
export type ToLineioWatch = { kind: 'frame' | 'late'; seq: number; part: number | null };

export type FromLineio =
  | { kind: 'configured'; problem: WireError | null }
  /** The PLC speaks no more, or speaks again (null). */
  | { kind: 'silent'; problem: WireError | null }
  | { kind: 'status'; status: LineOutputStatus | null };

const TICK_MS = 10;
const HEARTBEAT_MS = 500;
const STATUS_MS = 250;
/** Recipes have no numbers yet: the station's one is number 1. */
const RECIPE = 1;

assert(parentPort, 'this file is the entry of a worker thread');
const main = parentPort;
const { watch, capture } = workerData as LineioThreadData;
const say = (message: FromLineio) => main.postMessage(message);
const now = () => Number(process.hrtime.bigint()) / 1e6;

interface Output {
  config: Exclude<LineOutput, { kind: 'none' }>;
  image: RegisterImage;
  handshake: Handshake;
  wire: ModbusServer;
}
let output: Output | null = null;
let running = false;
let alarm = false;
let modelId: string | null = null;
let classCodes: Record<string, number> = {};
let heartbeat = 0;
let lot = '';
/** Number of the last part, of any handshake that is over. */
let lastPart = 0;
/** When the PLC last asked for something; and whether that is taken as too long ago. */
let heardMs = -Infinity;
let silent = false;
/** The coils of a PLC that only serves have been read, and it has not counted as gone since. */
let known = false;
let test: { signals: TestSignals; untilMs: number } | null = null;

const errorOf = ({ unsureReason, errorCode }: Judgement): ErrorName => {
  if (unsureReason === 'late') return errorCode === 'CAMERA_NO_FRAME' ? 'noImage' : 'late';
  if (unsureReason === 'no-model') return 'noModel';
  if (unsureReason === 'error' && errorCode?.startsWith('PICTURE_')) return 'badPicture';
  if (unsureReason === 'error') return errorCode === 'IMAGE_UNREADABLE' ? 'noImage' : 'notJudged';
  return 'none';
};
const verdictOf = (judgement: Judgement): PartVerdict => {
  const error = errorOf(judgement);
  return {
    verdict: judgement.verdict,
    classCode: error === 'noImage' ? -1 : judgement.classId === null ? 0 : (classCodes[judgement.classId] ?? 0),
    error,
    latencyMs: judgement.latencyMs,
  };
};
const versionOf = (id: string | null): number =>
  id === null ? 0 : createHash('sha256').update(id).digest().readUInt32BE(0);

const refresh = () => {
  if (!output) return;
  const { image, handshake } = output;
  for (const [name, value] of Object.entries(handshake.signals())) image.set(name as never, value);
  const request = Number(image.get('recipeRequest'));
  image.set('recipeError', request !== 0 && request !== RECIPE);
  image.set('recipeActive', RECIPE);
  image.set('alarm', alarm);
  image.set('modelVersion', versionOf(modelId));
  image.set('heartbeat', heartbeat % 2 === 1);
  image.set('heartbeatCounter', heartbeat);
  for (const [name, on] of Object.entries(test?.signals ?? {})) image.set(name as keyof TestSignals, on);
};
const take = (event: HandshakeEvent) => {
  if (!output) return;
  const { handshake } = output;
  const refusedBefore = handshake.statistics.triggerErrors;
  const part = handshake.take(event, now());
  if (part !== null) capture.postMessage({ kind: 'trigger', part } satisfies LineioToCapture);
  const count = handshake.statistics.triggerErrors - refusedBefore;
  if (count > 0) capture.postMessage({ kind: 'refused', count } satisfies LineioToCapture);
  refresh();
};
/** Tells the handshake, and the people, when the PLC falls silent and when it speaks again. */
const watchPeer = () => {
  if (!output) return;
  const { peerTimeoutMs } = output.config;
  const next = peerTimeoutMs !== null && now() - heardMs > peerTimeoutMs;
  if (next === silent) return;
  silent = next;
  if (silent) known = false;
  take({ kind: 'peer', speaks: !silent });
  const seconds = (peerTimeoutMs ?? 0) / 1000;
  say({ kind: 'silent', problem: silent ? new AppError('LINE_OUTPUT_SILENT', { seconds }).toWire('lineio') : null });
};
const takeLot = (next: string) => {
  if (next === lot) return;
  lot = next;
  // The same port as the triggers, and before them: a part never gets the lot of the one before.
  capture.postMessage({ kind: 'lot', lot } satisfies LineioToCapture);
};
/** What the PLC asks for has changed. `found`: there is nothing before to compare it with. */
const onWrite = (found = false) => {
  if (!output) return;
  const { image } = output;
  takeLot(String(image.get('lot')));
  take({
    kind: 'coils',
    trigger: image.get('trigger') === true,
    acknowledge: image.get('acknowledge') === true,
    resetStatistics: image.get('resetStatistics') === true,
    found,
  });
};

const status = (): LineOutputStatus | null =>
  output && {
    lamp: output.wire.connections > 0 ? 'well' : 'look',
    port: output.wire.port,
    peers: output.wire.connections,
    signals: output.image.values(),
  };
let told = '';
const tellStatus = () => {
  const next = status();
  // The heartbeat alone is no news.
  const text = JSON.stringify(next && { ...next, signals: { ...next.signals, heartbeat: 0, heartbeatCounter: 0 } });
  if (text === told) return;
  told = text;
  say({ kind: 'status', status: next });
};

type Configure = Extract<ToLineio, { kind: 'configure' }>;
const configure = async (message: Configure): Promise<void> => {
  const before = output;
  output = null;
  lastPart = before?.handshake.lastPart ?? lastPart;
  await before?.wire[Symbol.asyncDispose]();
  if (silent) say({ kind: 'silent', problem: null });
  silent = false;
  known = false;
  const { output: config } = message;
  // Nobody is left who could say that the lot is over.
  if (config.kind === 'none') return takeLot('');
  const layout = layOut(config.addresses);
  const image = createRegisterImage(layout);
  const { source, minSpacingMs, debounceMs } = message.trigger;
  const handshake = createHandshake({
    ...config,
    minSpacingMs,
    debounceMs,
    triggered: source === 'line-output',
    written: config.kind === 'modbus-client',
    lastPart,
  });
  if (running) handshake.take({ kind: 'start' }, now());
  const onRefused = () => take({ kind: 'refused' });
  const onHeard = () => {
    heardMs = now();
    if (silent) watchPeer();
  };
  if (config.kind === 'modbus-client') {
    checkClientPlaces(layout, config);
    // A trigger or an acknowledgement of a short break counts; a PLC that was gone has given that part up.
    const onRead = (first: boolean) => {
      onWrite(first && !known);
      known = true;
    };
    const onWithdrawn = () => take({ kind: 'withdrawn' });
    const wire = openModbusClient({ ...config, layout, image, onAnswer: onHeard, onRead, onWithdrawn });
    output = { config, image, handshake, wire };
  } else {
    // The PLC wrote it once, and does not know that the registers are new.
    image.set('lot', lot);
    const wire = await openModbusServer({
      ...config,
      layout,
      image,
      onRequest: onHeard,
      onWrite: () => onWrite(),
      onRefused,
    });
    output = { config, image, handshake, wire };
  }
  refresh();
};

let queue: Promise<void> = Promise.resolve();
let lastConfig = '';
/** The one that came last. */
let asked: Configure | null = null;
const enqueue = (message: Configure, pauseMs: number) => {
  queue = queue.then(async () => {
    const key = JSON.stringify([message.output, message.trigger]);
    // A PLC is not cut off because the core was restarted.
    if (key === lastConfig && (output !== null || message.output.kind === 'none'))
      return say({ kind: 'configured', problem: null });
    lastConfig = key;
    try {
      await configure(message);
      say({ kind: 'configured', problem: null });
    } catch (error) {
      lastConfig = '';
      say({ kind: 'configured', problem: asAppError(error, 'lineio').toWire('lineio') });
      // Its network may not be there yet, or another program have the port for a moment.
      setTimeout(() => {
        if (asked === message) enqueue(message, longerPauseMs(pauseMs));
      }, pauseMs);
    }
    tellStatus();
  });
};
main.on('message', (message: ToLineio) => {
  if (message.kind === 'configure') {
    asked = message;
    classCodes = message.classCodes;
    return enqueue(message, FIRST_PAUSE_MS);
  }
  switch (message.kind) {
    case 'state':
      if (running === message.running) return;
      running = message.running;
      // A part's signals are never those of a test.
      test = null;
      return take({ kind: running ? 'start' : 'stop' });
    case 'model':
      modelId = message.modelId;
      return refresh();
    case 'test':
      test = running ? null : { signals: message.signals, untilMs: now() + message.forMs };
      return refresh();
    case 'alarm':
      alarm = message.on;
      return refresh();
    case 'classes':
      classCodes = message.classCodes;
      return;
    case 'verdict':
      return take({ kind: 'verdict', seq: message.seq, part: message.part, result: verdictOf(message.judgement) });
  }
});
watch.on('message', (message: ToLineioWatch) => {
  const { kind, seq, part } = message;
  if (kind === 'frame') return take({ kind, seq, part });
  const result: PartVerdict = { verdict: 'unsure', classCode: 0, error: 'late', latencyMs: 0 };
  take({ kind: 'verdict', seq, part, result });
});
capture.on('message', ({ part }: CaptureToLineio) => take({ kind: 'no-frame', part }));
setInterval(() => {
  watchPeer();
  if (test && now() >= test.untilMs) test = null;
  take({ kind: 'tick' });
}, TICK_MS);
setInterval(() => {
  heartbeat += 1;
  refresh();
}, HEARTBEAT_MS);
setInterval(tellStatus, STATUS_MS);
