import { errorCodes, type ErrorName, type SignalName } from './register-map.ts';

/*
 * The handshake as a pure machine: time and events in, signals out. Four phases, as PLC programmers know them: the result is put
 * out (result ready), acknowledged (rising edge), taken back, and the next one comes after the falling edge. Nothing here knows
 * Modbus, threads or clocks.
 */

export interface HandshakeOptions {
  /** Whether the PLC's trigger starts a part (line-output), or each frame of the camera is one. */
  triggered: boolean;
  /** Triggers sooner after the last one accepted are refused. */
  minSpacingMs: number;
  /** A rising edge counts when there was none for so long before it: a contact that bounces gives one part. */
  debounceMs: number;
  /** A result that nobody acknowledged is taken back after so long, and counted. */
  acknowledgeTimeoutMs: number;
  /** A part without verdict for so long gets the result `late`, or `noImage` where not even a frame came. */
  resultTimeoutMs: number;
  /** ng: a PLC that knows only ok and ng rejects what the model does not know. */
  unsureAs: 'ng' | 'apart';
  /** Whether the signals are written to the PLC, and `withdrawn` tells when; else it reads them when it likes. */
  written: boolean;
  /** Number of the last part of the handshake before this one; default 0: there was none. A number is not given twice: a verdict of before may still be under way. */
  lastPart?: number;
}

/** The verdict of a part as the line's other threads tell it. */
export interface PartVerdict {
  verdict: 'ok' | 'ng' | 'unsure';
  classCode: number;
  error: ErrorName;
  /** From the last byte of the frame to the verdict. */
  latencyMs: number;
}

export type HandshakeEvent =
  | { kind: 'start' }
  | { kind: 'stop' }
  /** Levels of the coils as the PLC wrote them; edges are found here. */
  | {
      kind: 'coils';
      trigger: boolean;
      acknowledge: boolean;
      resetStatistics: boolean;
      /** As they were found, with none before to compare them with: a trigger that is on already asks for nothing. */
      found?: boolean;
    }
  /** `part`: whose trigger the frame answers; null where frames come by themselves. */
  | { kind: 'frame'; seq: number; part: number | null }
  | { kind: 'verdict'; seq: number; part: number | null; result: PartVerdict }
  /** No frame can be asked for: the camera is not there, or still owes one. */
  | { kind: 'no-frame'; part: number }
  /** Whether the PLC speaks to us. While it does not, no result is put out: an old one could be read as that of the next part. */
  | { kind: 'peer'; speaks: boolean }
  /** The PLC was read, and then written that no result is ready. */
  | { kind: 'withdrawn' }
  /** A request that is not allowed was turned away. */
  | { kind: 'refused' }
  | { kind: 'tick' };

export interface PartResult extends PartVerdict {
  part: number;
}

interface Pending {
  part: number;
  /** Number of the frame; null: none came yet. */
  seq: number | null;
  sinceMs: number;
  /** null: none yet. One that is there waits for those of the parts before. */
  result: PartResult | null;
}

export interface Statistics {
  triggers: number;
  ok: number;
  ng: number;
  unsure: number;
  errors: number;
  triggerErrors: number;
  timeouts: number;
  overruns: number;
  /** Requests, where triggerErrors are triggers. */
  refused: number;
  timed: number;
  timeSumUs: number;
  timeMinUs: number;
  timeMaxUs: number;
}
const noStatistics = (): Statistics => ({
  triggers: 0,
  ok: 0,
  ng: 0,
  unsure: 0,
  errors: 0,
  triggerErrors: 0,
  timeouts: 0,
  overruns: 0,
  refused: 0,
  timed: 0,
  timeSumUs: 0,
  timeMinUs: 0,
  timeMaxUs: 0,
});

/** Results that wait for the one before to be acknowledged; only frames that come by themselves can be so many. */
export const MAX_WAITING = 16;
/** Parts without a result put out or waiting; what comes beyond is given up at once. */
const MAX_PENDING = 64;
/** No result is ready for so long after one that nobody acknowledged: longer than the scan of a PLC, which has to see that it is gone. */
export const GAP_MS = 200;

const failed = (error: ErrorName): PartVerdict => ({
  verdict: 'unsure',
  classCode: error === 'noImage' ? -1 : 0,
  error,
  latencyMs: 0,
});

export interface Handshake {
  /** What happened, at `nowMs` of any clock that does not go back. A number: a trigger was accepted as this part, the camera is to be asked. */
  take(event: HandshakeEvent, nowMs: number): number | null;
  /** The handshake's share of the signals. */
  signals(): Partial<Record<SignalName, boolean | number>>;
  /** The result that is put out now. */
  readonly shown: PartResult | null;
  readonly pending: number;
  readonly waiting: number;
  /** Number of the last part that was accepted. */
  readonly lastPart: number;
  readonly statistics: Readonly<Statistics>;
}

/** @param onResult hears of every result when it is put out, in the order of the parts */
export function createHandshake(
  options: HandshakeOptions,
  onResult: (result: PartResult) => void = () => {},
): Handshake {
  let running = false;
  let speaks = true;
  /** The latest time heard of, of the last trigger accepted, and of the last rising edge. */
  let clockMs = -Infinity;
  let acceptedMs = -Infinity;
  let edgeMs = -Infinity;
  let parts = options.lastPart ?? 0;
  /** Frames up to this number have become parts, or belong to none. null: of none was heard yet. */
  let heardSeq: number | null = null;
  let pending: Pending[] = [];
  let waiting: PartResult[] = [];
  let shown: PartResult | null = null;
  /** The result was acknowledged and the falling edge is awaited. */
  let releasing = false;
  let sinceMs = 0;
  /** A PLC that is written to may still find a result that is over: one of before this process, too. */
  let untold = options.written;
  /** Since when the PLC can see that a result was withdrawn before it was acknowledged. Infinity: it cannot yet; null: that is long ago. */
  let gapSinceMs: number | null = untold ? Infinity : null;
  let coils = { trigger: false, acknowledge: false, resetStatistics: false };
  let statistics = noStatistics();

  const ready = () =>
    options.triggered &&
    running &&
    speaks &&
    clockMs - acceptedMs >= options.minSpacingMs &&
    clockMs - edgeMs >= options.debounceMs &&
    pending.length === 0 &&
    waiting.length === 0 &&
    shown === null &&
    !releasing;

  const showNext = (nowMs: number) => {
    if (shown !== null || releasing || gapSinceMs !== null || !speaks) return;
    const next = waiting.shift();
    if (!next) return;
    shown = next;
    sinceMs = nowMs;
    onResult(next);
  };

  const withdraw = (nowMs: number) => {
    statistics.timeouts += 1;
    shown = null;
    untold = options.written;
    gapSinceMs = untold ? Infinity : nowMs;
  };

  const release = (nowMs: number) => {
    releasing = false;
    // Acknowledged, but the connection broke before it was written that none is ready: without a gap the next one would follow unseen.
    if (untold) gapSinceMs = Infinity;
    showNext(nowMs);
  };

  const endGap = (nowMs: number) => {
    if (gapSinceMs === null || nowMs - gapSinceMs < GAP_MS) return;
    gapSinceMs = null;
    showNext(nowMs);
  };

  const giveUp = (count: number) => {
    if (count > 0) statistics.overruns += waiting.splice(0, count).length;
  };

  /** A PLC may count results off against parts: none overtakes that of a part before. */
  const tellInOrder = (nowMs: number) => {
    while (pending[0]?.result) {
      waiting.push(pending[0].result);
      pending = pending.slice(1);
      showNext(nowMs);
      // The oldest that waits: the PLC sees the hole in the part counter.
      giveUp(waiting.length - (speaks ? MAX_WAITING : 0));
    }
  };

  const finish = (part: Pending, verdict: PartVerdict, nowMs: number) => {
    if (part.result) return;
    // An error is never ok, whatever it was told together with.
    const result: PartResult = { ...verdict, part: part.part };
    if (result.error !== 'none') result.verdict = 'unsure';
    if (result.error !== 'none') statistics.errors += 1;
    else {
      statistics[result.verdict] += 1;
      const us = Math.round(result.latencyMs * 1000);
      statistics.timeMinUs = statistics.timed === 0 ? us : Math.min(statistics.timeMinUs, us);
      statistics.timeMaxUs = Math.max(statistics.timeMaxUs, us);
      statistics.timed += 1;
      statistics.timeSumUs += us;
    }
    part.result = result;
    tellInOrder(nowMs);
  };

  const accept = (seq: number | null, nowMs: number): Pending => {
    parts = (parts + 1) >>> 0;
    statistics.triggers += 1;
    const part = { part: parts, seq, sinceMs: nowMs, result: null };
    if (pending.length < MAX_PENDING) pending.push(part);
    else statistics.overruns += 1;
    return part;
  };

  /** Numbers have no gaps, but come from two threads: a frame that is heard of tells of those before it, whose own word is on its way. */
  const hearOf = (seq: number, nowMs: number) => {
    for (let next = (heardSeq ?? seq - 1) + 1; next <= seq; next += 1) {
      heardSeq = next;
      if (running) accept(next, nowMs);
    }
  };

  /** The part that a frame belongs to; null: none. */
  const partOf = (seq: number, number: number | null, nowMs: number): Pending | null => {
    if (options.triggered) {
      const asked = pending.find(({ part }) => part === number);
      if (asked) asked.seq = seq;
      return asked ?? null;
    }
    hearOf(seq, nowMs);
    return pending.find((part) => part.seq === seq) ?? null;
  };

  const take: Handshake['take'] = (event, nowMs) => {
    clockMs = Math.max(clockMs, nowMs);
    switch (event.kind) {
      case 'start':
        running = true;
        return null;
      case 'stop':
        running = false;
        for (const part of pending) finish(part, failed('stopped'), nowMs);
        return null;
      case 'coils': {
        const { trigger, acknowledge, resetStatistics } = event;
        const before = coils;
        coils = { trigger, acknowledge, resetStatistics };
        if (event.found) return null;
        if (resetStatistics && !before.resetStatistics) statistics = noStatistics();
        // In the gap it comes too late, and is still that of the result before.
        if ((shown !== null || gapSinceMs !== null) && acknowledge && !before.acknowledge) {
          shown = null;
          releasing = true;
          untold = options.written;
          sinceMs = nowMs;
        } else if (releasing && !acknowledge) {
          release(nowMs);
        }
        if (!trigger || before.trigger) return null;
        const taken = ready();
        edgeMs = nowMs;
        if (!taken) {
          statistics.triggerErrors += 1;
          return null;
        }
        acceptedMs = nowMs;
        return accept(null, nowMs).part;
      }
      case 'frame':
        partOf(event.seq, event.part, nowMs);
        return null;
      case 'verdict': {
        const part = partOf(event.seq, event.part, nowMs);
        if (part) finish(part, event.result, nowMs);
        return null;
      }
      case 'no-frame': {
        const part = pending.find((other) => other.part === event.part);
        if (part) finish(part, failed('noImage'), nowMs);
        return null;
      }
      case 'peer':
        if (speaks === event.speaks) return null;
        speaks = event.speaks;
        if (speaks) return null;
        if (shown !== null) withdraw(nowMs);
        release(nowMs);
        giveUp(waiting.length);
        return null;
      case 'tick':
        for (const part of pending)
          if (nowMs - part.sinceMs >= options.resultTimeoutMs)
            finish(part, failed(part.seq === null ? 'noImage' : 'late'), nowMs);
        if ((shown !== null || releasing) && nowMs - sinceMs >= options.acknowledgeTimeoutMs) {
          if (shown !== null) withdraw(nowMs);
          release(nowMs);
        }
        if (!options.written) endGap(nowMs);
        return null;
      case 'withdrawn':
        untold = false;
        if (gapSinceMs === Infinity) gapSinceMs = nowMs;
        // Here alone: what the PLC raised before it could see the gap has been read by now, however slow it is.
        endGap(nowMs);
        return null;
      case 'refused':
        statistics.refused += 1;
        return null;
    }
  };

  return {
    take,
    get shown() {
      return shown;
    },
    get pending() {
      return pending.length;
    },
    get waiting() {
      return waiting.length;
    },
    get lastPart() {
      return parts;
    },
    get statistics() {
      return statistics;
    },
    signals() {
      const error = shown !== null && shown.error !== 'none';
      const ok = shown !== null && !error && shown.verdict === 'ok';
      const unsure = shown !== null && !error && shown.verdict === 'unsure';
      const ng = shown !== null && (error || shown.verdict === 'ng' || (unsure && options.unsureAs === 'ng'));
      const { triggers, errors, triggerErrors, timeouts, overruns, timed, timeSumUs, timeMinUs, timeMaxUs } =
        statistics;
      return {
        triggerReady: ready(),
        busy: pending.length > 0,
        resultReady: shown !== null,
        ok,
        ng,
        unsure,
        error,
        running,
        verdict: shown === null ? 0 : { ok: 1, ng: 2, unsure: 3 }[shown.verdict],
        classCode: shown?.classCode ?? 0,
        errorCode: shown === null ? 0 : errorCodes[shown.error][0],
        partCounter: shown?.part ?? parts,
        statTriggers: triggers,
        statOk: statistics.ok,
        statNg: statistics.ng,
        statUnsure: statistics.unsure,
        statErrors: errors,
        statTriggerErrors: triggerErrors,
        statTimeouts: timeouts,
        statOverruns: overruns,
        statRefused: statistics.refused,
        statTimeMin: timeMinUs,
        statTimeMax: timeMaxUs,
        statTimeMean: timed === 0 ? 0 : Math.round(timeSumUs / timed),
      };
    },
  };
}
