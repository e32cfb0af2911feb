import type { LineSettings } from '../contract/domain.ts';
import type { CameraFrame } from './camera.ts';
import { createPartFrames } from './part-frames.ts';
import { MAX_PENDING, type RingWriter } from './ring.ts';

/*
 * What stands between a camera and the ring: which trigger counts, which frame answers it, and what gives way when there is too
 * much. Every trigger taken is answered once: by a frame in the ring, or by `missed`.
 *
 * Frames carry no number of their trigger, so one is under way at a time: with two, a camera that takes a trigger and gives no frame without
 * a word would answer it with that of the next part, and every one after it, for as long as parts come. Inference is not waited for. After a
 * trigger without a frame nobody can tell whether the next frame is the late one: it is answered `missed`, and none is taken until its frame came
 * or could no more be on its way. The same where the camera does not confirm a trigger. A part without a verdict is rejected; a verdict on
 * the wrong part would be an escape.
 *
 * Where a part has several frames, they go into the ring together: one slot, one verdict. The line asks for each when the one before has
 * come. A frame that is lost keeps its place, so that parts do not slip into each other.
 */

export interface IntakeOptions extends Pick<LineSettings, 'trigger' | 'dropPolicy' | 'frames'> {
  deadlineMs: number;
}

export interface MissedTrigger {
  atMs: number;
  /** As the line output numbers it; null: not one of its parts. */
  part: number | null;
  notes: string[];
}

export interface IntakePorts {
  ring: Pick<
    RingWriter,
    'offer' | 'hasRoom' | 'claimLate' | 'countTrigger' | 'countDropped' | 'releases' | 'waitForRelease'
  >;
  /** Monotonic milliseconds. */
  now(): number;
  /** Asks the camera for a picture. False: none will come. */
  fire(): boolean;
  /** No frame came for a trigger in time, or it had no room: the part is `unsure: late`. */
  missed(trigger: MissedTrigger): void;
  /** The frame in this slot gave way to a newer one: its verdict is `late`, and the caller's claim stands. */
  overtaken(slot: number): void;
}

export interface Intake {
  /**
   * False: refused, and counted: too soon after the last one, bounced, not the source of this station, or a frame is still under way.
   * Spacing and bouncing of the line output's triggers (those with the number of a part) were judged where the edge was seen.
   */
  trigger(part?: number): boolean;
  /** Noted with every part that is asked for, or that comes by itself, from now on. */
  setLot(lot: string): void;
  /** Frames that were sent but will never come: the trigger that waits is answered. */
  lost(count: number): void;
  /** Whether a frame comes of a trigger is not known. */
  unconfirmed(): void;
  /** Nothing that was asked of a camera comes after it was lost; a part of several frames does not go on behind the gap. */
  setCamera(state: 'lost' | 'there'): void;
  offer(frame: CameraFrame): boolean;
  /** The ring has taken a frame into this slot: tells which is the oldest. */
  noteSlot(slot: number): void;
  /** To be called every few milliseconds: answers triggers whose time is up. */
  tick(): void;
}

export function createIntake(options: IntakeOptions, ports: IntakePorts): Intake {
  const { trigger, dropPolicy, deadlineMs } = options;
  const { perPart, spacingMs } = options.frames;
  const { ring, now, fire, missed, overtaken } = ports;
  const asked = trigger.source === 'software' || trigger.source === 'line-output';
  /** The trigger whose part is not whole yet. */
  let waiting: MissedTrigger | null = null;
  const parts = createPartFrames(perPart);
  let lotNotes: string[] = [];
  /** Of the part that came by itself and is not whole yet. */
  let begunNotes: string[] = [];
  /** The frame of a trigger that was given up may come until then, two deadlines after it was asked for. */
  let owedUntil = -Infinity;
  let cameraLost = false;
  /** Slots in the order in which they were filled; those decided long ago are dropped unlooked at. */
  let slots: number[] = [];
  let lastTaken = -Infinity;
  let lastEdge = -Infinity;
  let lastAsked = -Infinity;
  /** A frame was asked for and has not come. */
  let outstanding = false;

  const isOwed = (at: number) => at < owedUntil;

  const answer = (): void => {
    outstanding = false;
    parts.reset();
    const late = waiting;
    waiting = null;
    if (late) missed(late);
  };
  const ask = (at: number): void => {
    lastAsked = at;
    // Before: the frame may come at once.
    outstanding = true;
    if (!fire()) answer();
  };
  /** Whoever waits is answered now; what comes for it later is nobody's. */
  const giveUp = (): void => {
    if (waiting === null) return;
    if (outstanding) owedUntil = lastAsked + 2 * deadlineMs;
    answer();
  };

  /** Room by the station's policy. */
  const makeRoom = (length: number): void => {
    if (ring.hasRoom(length)) return;
    if (dropPolicy === 'block') {
      const until = now() + deadlineMs;
      for (let left = deadlineMs; left > 0; left = until - now()) {
        // Before the look: what is released after it ends the wait.
        const seen = ring.releases();
        if (ring.hasRoom(length)) return;
        ring.waitForRelease(seen, left);
      }
    } else if (dropPolicy === 'drop-oldest') {
      // A frame that gives way is not judged any more, but its memory is held until its readers let go: where that is what is short, nothing is gained.
      if (!ring.hasRoom(length, Infinity)) return;
      while (slots.length > 0 && !ring.hasRoom(length)) {
        const oldest = slots.shift()!;
        if (!ring.claimLate(oldest)) continue;
        ring.countDropped();
        overtaken(oldest);
      }
    }
  };

  /** @param by the trigger that the part answers; null: nobody asked for it. */
  const put = (frame: CameraFrame, by: MissedTrigger | null, notes: string[]): boolean => {
    const { width, height, channels } = frame.image;
    makeRoom(width * height * channels * perPart);
    const noted = notes.length === 0 ? frame : { ...frame, notes: [...frame.notes, ...notes] };
    const taken = ring.offer(noted, by?.atMs ?? null, by?.part ?? null, perPart);
    if (!taken && by) missed(by);
    return taken;
  };
  /** The trigger that a part of the camera's own input answers. */
  const ownTrigger = (atMs: number, notes: string[]): MissedTrigger | null => {
    if (trigger.source !== 'camera') return null;
    ring.countTrigger(true);
    return { atMs, part: null, notes };
  };

  /** All places of a part are taken, or its time is up: into the ring, or answered as missed. */
  const finish = (): boolean => {
    const { begunMs, frames } = parts;
    const whole = parts.take();
    if (asked) {
      const by = waiting!;
      waiting = null;
      if (whole) return put(whole, by, by.notes);
      missed(by);
      return true;
    }
    // Of a part that nobody asked for and that was not seen at all there is no record.
    if (begunMs === null || frames === 0) return true;
    const by = ownTrigger(begunMs, begunNotes);
    if (whole) return put(whole, by, begunNotes);
    missed(by ?? { atMs: begunMs, part: null, notes: begunNotes });
    return true;
  };

  return {
    trigger(part) {
      const at = now();
      const bounced = at - lastEdge < trigger.debounceMs;
      lastEdge = at;
      const inTime = part !== undefined || (!bounced && at - lastTaken >= trigger.minSpacingMs);
      const ours = trigger.source === (part === undefined ? 'software' : 'line-output');
      const taken = ours && inTime && !isOwed(at) && waiting === null;
      ring.countTrigger(taken);
      if (!taken) return false;
      lastTaken = at;
      waiting = { atMs: at, part: part ?? null, notes: lotNotes };
      ask(at);
      return true;
    },
    setLot(lot) {
      lotNotes = lot === '' ? [] : [`lot ${lot}`];
    },
    lost(count) {
      for (let n = 0; n < count; n += 1) {
        // What a camera had under way when it was lost was answered then.
        if (cameraLost) return;
        if (!asked) {
          if (perPart === 1) return;
          if (parts.begunMs === null) begunNotes = lotNotes;
          parts.lose(now());
          if (parts.places === perPart) finish();
        } else if (isOwed(now())) {
          owedUntil = -Infinity;
        } else {
          answer();
        }
      }
    },
    unconfirmed: giveUp,
    setCamera(state) {
      cameraLost = state === 'lost';
      if (!cameraLost) return;
      owedUntil = -Infinity;
      if (asked) answer();
      else if (parts.begunMs !== null) finish();
    },
    offer(frame) {
      const at = now();
      cameraLost = false;
      // Nobody asked for it, or its trigger was answered `late` already.
      if (asked && !outstanding) {
        owedUntil = -Infinity;
        ring.countDropped();
        return false;
      }
      outstanding = false;
      if (perPart === 1) {
        if (!asked) return put(frame, ownTrigger(at, lotNotes), lotNotes);
        const by = waiting!;
        waiting = null;
        return put(frame, by, by.notes);
      }
      if (parts.begunMs === null) begunNotes = lotNotes;
      if (!parts.add(frame, at)) ring.countDropped();
      return parts.places < perPart || finish();
    },
    noteSlot(slot) {
      slots = [...slots.filter((s) => s !== slot), slot].slice(-2 * MAX_PENDING);
    },
    tick() {
      const at = now();
      if (!asked && parts.begunMs !== null && at - parts.begunMs >= deadlineMs) finish();
      if (waiting === null) return;
      if (at - waiting.atMs < deadlineMs) {
        // Not from within the camera's own call: it may not have put the last frame behind itself.
        if (perPart > 1 && !outstanding && at - lastAsked >= spacingMs) ask(at);
        return;
      }
      giveUp();
    },
  };
}
