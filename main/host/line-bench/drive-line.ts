import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cameraConfigSchema, lineSettingsSchema, stationSchema, type Station } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { lineEvents, lineMethods, LineRecord } from '../../contract/line.ts';
import type { Client } from '../../contract/rpc/api.ts';
import { createClient } from '../../contract/rpc/client.ts';
import type { trainerEvents, trainerMethods } from '../../contract/trainer.ts';
import { createChildren, type Children, type Entries } from '../children.ts';
import { createLogger } from '../log.ts';
import { createForkSpawnPort } from '../spawn.ts';
import { programVersion } from '../version.ts';
import { builtEntries } from './built-entries.ts';
import { keepTrainerBusy, type TrainerWork } from './busy-trainer.ts';
import { latenciesOf, quantile } from './figures.ts';

/*
 * A real line process under a steady rate of triggers, with or without a trainer at work beside it: what `bench line` and `soak`
 * measure. Parts go to a data folder of their own; nothing of the station's is touched.
 */

export interface DriveOptions {
  /** Folder with keys and an approved bundle (bench-home.ts). */
  home: string;
  bundleDir: string;
  stationId: string;
  /** Triggers per second. */
  rate: number;
  seconds: number;
  trainer: 'busy' | 'idle';
  threads: number;
  /** Threads of the trainer; by rule what the line leaves. */
  trainerThreads: number;
  deadlineMs: number;
  /** Side of a frame, pixels. */
  size: number;
  signal: AbortSignal;
  /** Of the processes; by rule the bundles, built anew where sources are newer. */
  entries?: Entries;
  onProgress?: (line: string) => void;
  /** Resident memory of the line process every so often. */
  onSample?: (sample: { second: number; rssBytes: number }) => void;
}

export interface LineResult {
  /** Triggers sent. */
  parts: number;
  verdicts: number;
  ok: number;
  ng: number;
  unsure: number;
  /** Triggers that the line did not take, frames that had no room, and triggers without any answer. */
  refused: number;
  dropped: number;
  unanswered: number;
  late: number;
  lostRecords: number;
  /** Of parts that had a frame, from that, or its trigger where it is late, to the verdict; the line's own clock. */
  latencyMsP50: number;
  latencyMsP99: number;
  latencyMsMax: number;
  /** From sending the trigger, through rpc and capture, to the verdict; whole milliseconds of the wall clock. */
  sentToVerdictMsP50: number;
  sentToVerdictMsP99: number;
  /** Greatest resident memory of the line process. */
  rssBytes: number;
  seconds: number;
}
export interface DriveResult extends LineResult {
  /** Of the line; the trainer has its own. */
  threads: number;
  trainer: TrainerWork | null;
}

const KEEP_OK_IMAGES = 200;
const SAMPLE_MS = 1_000;

/** Parts in so many triggers that had no verdict yet may be this late before a run ends. */
const DRAIN_MS = 10_000;

const benchStation = (options: Pick<DriveOptions, 'stationId' | 'threads' | 'deadlineMs' | 'size'>): Station =>
  stationSchema.parse({
    id: options.stationId,
    name: 'Bench',
    camera: cameraConfigSchema.parse({ kind: 'simulated', width: options.size, height: options.size }),
    recipe: {},
    criteria: {},
    backboneId: 'bench',
    threads: options.threads,
    activeModelId: null,
    line: lineSettingsSchema.parse({ trigger: { source: 'software' }, deadlineMs: options.deadlineMs }),
  });

/** @throws what the line says (NOT_APPROVED, CAMERA_CONFIG …), DISCONNECTED when it dies, TRAINER_FAILED, CANCELLED */
export const driveLine = async (options: DriveOptions): Promise<DriveResult> => {
  const { lines, trainer } = await driveLines(options, [options]);
  return { ...lines[0]!, threads: options.threads, trainer };
};

/**
 * Lines of several stations at once, each in its process, beside one trainer.
 * @param stations whose `threads` are each line's own budget
 * @throws as driveLine
 */
export async function driveLines(
  options: Omit<DriveOptions, 'stationId' | 'bundleDir' | 'threads'>,
  stations: readonly Pick<DriveOptions, 'stationId' | 'bundleDir' | 'threads'>[],
): Promise<{ lines: LineResult[]; trainer: TrainerWork | null }> {
  const { home, signal } = options;
  const log = createLogger({ process: 'bench', file: null, stderrLevel: 'error' });
  const children = createChildren({
    spawn: createForkSpawnPort(),
    settings: {
      home,
      demo: true,
      version: programVersion(),
      testRuntime: false,
      logLevel: 'warn',
      stderrLevel: 'error',
      trainerThreads: options.trainerThreads,
    },
    log,
    entries: options.entries ?? (await builtEntries()),
  });
  const idle = new AbortController();
  const stop = AbortSignal.any([signal, idle.signal]);
  try {
    const opened: OpenLine[] = [];
    for (const station of stations) opened.push(await openLine(children, { ...options, ...station }));
    const work =
      options.trainer === 'busy'
        ? startTrainer(children, { folder: join(home, 'trainer'), threads: options.trainerThreads, signal: stop })
        : null;
    // The first step of the trainer is under way before the first part comes.
    if (work) await work.begun;
    for (const { line } of opened) await line.call('line.start', {});
    const lines = await Promise.all(opened.map((at) => drive(at, options, work?.failed ?? never)));
    idle.abort();
    return { lines, trainer: work ? await work.done : null };
  } finally {
    idle.abort();
    await children.close();
    log.close();
  }
}

interface OpenLine {
  line: Client<typeof lineMethods, typeof lineEvents>;
  records: LineRecord[];
}

async function openLine(children: Children, options: Omit<DriveOptions, 'trainer'>): Promise<OpenLine> {
  const { home, bundleDir, stationId } = options;
  const name = `line:${stationId}`;
  const line = createClient<typeof lineMethods, typeof lineEvents>(await children.connect(name), { peer: name });
  const records: LineRecord[] = [];
  line.on('line.recorded', (event) => {
    records.push(...event.records);
    const seq = event.records.at(-1)?.seq;
    if (seq !== undefined) line.call('line.acknowledge', { seq }).catch(() => {});
  });
  const configured = await line.call('line.configure', {
    home,
    station: benchStation(options),
    bundleDir,
    acknowledged: 0,
    keepOkImages: KEEP_OK_IMAGES,
  });
  if (configured.problem) throw AppError.fromWire({ ...configured.problem, ref: name });
  return { line, records };
}

/** Sends the triggers to a line that was started, waits for the last verdicts, and stops it. */
async function drive(
  { line, records }: OpenLine,
  options: Pick<DriveOptions, 'rate' | 'seconds' | 'signal' | 'onSample' | 'onProgress'>,
  failed: Promise<never>,
): Promise<LineResult> {
  const { rate, seconds, signal } = options;
  const sentAt: number[] = [];
  let refused = 0;
  let unanswered = 0;
  const answers: Promise<void>[] = [];
  const trigger = () => {
    const at = Date.now();
    answers.push(
      line.call('line.trigger', {}).then(
        // Answers come in the order of the triggers, and so do the records.
        ({ taken }) => void (taken ? sentAt.push(at) : (refused += 1)),
        () => void (unanswered += 1),
      ),
    );
  };
  let rssBytes = 0;
  const begun = performance.now();
  let sampled = -SAMPLE_MS;
  const total = Math.round(rate * seconds);
  for (let n = 0; n < total; n += 1) {
    const due = begun + (n * 1000) / rate;
    const wait = due - performance.now();
    if (wait > 0) await Promise.race([sleep(wait, undefined, { signal }), failed]);
    signal.throwIfAborted();
    trigger();
    const elapsed = performance.now() - begun;
    if (elapsed - sampled < SAMPLE_MS) continue;
    sampled = elapsed;
    const status = await line.call('line.status', {});
    rssBytes = Math.max(rssBytes, status.rssBytes);
    options.onSample?.({ second: elapsed / 1000, rssBytes: status.rssBytes });
    options.onProgress?.(`${n + 1} of ${total} parts, ${status.late} late, ${(status.rssBytes / 1e6).toFixed(0)} MB`);
  }
  const ranSeconds = (performance.now() - begun) / 1000;
  await Promise.all(answers);
  const end = performance.now() + DRAIN_MS;
  while (records.length < sentAt.length && performance.now() < end) await sleep(50, undefined, { signal });
  const status = await line.call('line.stop', {});
  line.close();

  const { own, sent } = latenciesOf(records, sentAt);
  const counts = { ok: 0, ng: 0, unsure: 0 };
  for (const { judgement } of records) counts[judgement.verdict] += 1;
  return {
    parts: total,
    verdicts: records.length,
    ...counts,
    refused,
    dropped: status.droppedFrames,
    unanswered: unanswered + Math.max(0, sentAt.length - records.length),
    late: status.late,
    lostRecords: status.lostRecords,
    latencyMsP50: quantile(own, 0.5),
    latencyMsP99: quantile(own, 0.99),
    latencyMsMax: quantile(own, 1),
    sentToVerdictMsP50: quantile(sent, 0.5),
    sentToVerdictMsP99: quantile(sent, 0.99),
    rssBytes: Math.max(rssBytes, status.rssBytes),
    seconds: ranSeconds,
  };
}

const never = new Promise<never>(() => {});

function startTrainer(
  children: Children,
  { folder, threads, signal }: { folder: string; threads: number; signal: AbortSignal },
) {
  const begun = Promise.withResolvers<void>();
  const done = (async () => {
    const trainer = createClient<typeof trainerMethods, typeof trainerEvents>(await children.connect('trainer'), {
      peer: 'trainer',
    });
    trainer.on('trainer.progressed', () => begun.resolve());
    return await keepTrainerBusy(trainer, { folder, threads, signal });
  })();
  done.catch(begun.reject);
  /** Rejects when the trainer fails; never resolves. */
  const failed = done.then(() => never);
  failed.catch(() => {});
  return { begun: begun.promise, done, failed };
}
