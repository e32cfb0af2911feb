import type { LineSettings } from '../contract/domain.ts';
import type { CameraFrame } from './camera.ts';
import { MAX_PENDING, type RingWriter } from './ring.ts';

/*
 * What stands between a camera and the ring: which trigger counts, which frame answers it, and what gives way when there is too
 * much. Every trigger taken is answered once: by a frame in the ring, or by `missed`.
 *
 * Frames carry no number of their trigger, so they answer in order. After a trigger without a frame nobody can tell whether the
 * next frame is the late one: all triggers that wait are answered `missed`, and none is taken until the late frame came or could
 * no more be on its way. A part without a verdict is rejected; a verdict on the wrong part would be an escape.
 */

export interface IntakeOptions extends Pick<LineSettings, 'trigger' | 'dropPolicy'> {
  deadlineMs: number;
}

export interface MissedTrigger {
  atMs: number;
  /** As the line output numbers it; null: not one of its parts. */
  part: number | null;
  notes: string[];
}

export interface IntakePorts {
  ring: Pick<RingWriter, 'offer' | 'hasRoom' | 'claimLate' | 'countTrigger' | 'countDropped' | 'waitForRelease'>;
  /** Monotonic milliseconds. */
  now(): number;
  /** Asks the camera for a picture. */
  fire(): void;
  /** No frame came for a trigger in time, or it had no room: the part is `unsure: late`. */
  missed(trigger: MissedTrigger): void;
  /** The frame in this slot gave way to a newer one: its verdict is `late`, and the caller's claim stands. */
  overtaken(slot: number): void;
}

export interface Intake {
  /**
   * False: refused, and counted: too soon after the last one, bounced, not the source of this station, or a frame is still owed.
   * Spacing and bouncing of the line output's triggers (those with the number of a part) were judged where the edge was seen.
   */
  trigger(part?: number): boolean;
  /** Noted with every part that is asked for, or that comes by itself, from now on. */
  setLot(lot: string): void;
  /** Frames that were sent but will never come: the oldest triggers that wait are answered. */
  lost(count: number): void;
  offer(frame: CameraFrame): boolean;
  /** The ring has taken a frame into this slot: tells which is the oldest. */
  noteSlot(slot: number): void;
  /** To be called every few milliseconds: answers triggers whose time is up. */
  tick(): void;
}

/** Triggers that may wait for their frame; more at once is no line any more. */
const MAX_WAITING = 64;

export function createIntake({ trigger, dropPolicy, deadlineMs }: IntakeOptions, ports: IntakePorts): Intake {
  const { ring, now, fire, missed, overtaken } = ports;
  const asked = trigger.source === 'software' || trigger.source === 'line-output';
  /** The triggers that wait for a frame, the oldest first. */
  const waiting: MissedTrigger[] = [];
  let lotNotes: string[] = [];
  /** A frame that was given up may come until then. */
  let owedUntil = -Infinity;
  /** Slots in the order in which they were filled; those decided long ago are dropped unlooked at. */
  let slots: number[] = [];
  let lastTaken = -Infinity;
  let lastEdge = -Infinity;

  /** Room by the station's policy. */
  const makeRoom = (length: number): void => {
    if (ring.hasRoom(length)) return;
    if (dropPolicy === 'block') {
      const until = now() + deadlineMs;
      for (let left = deadlineMs; left > 0 && !ring.hasRoom(length); left = until - now()) ring.waitForRelease(left);
    } else if (dropPolicy === 'drop-oldest') {
      while (slots.length > 0 && !ring.hasRoom(length)) {
        const oldest = slots.shift()!;
        if (!ring.claimLate(oldest)) continue;
        ring.countDropped();
        overtaken(oldest);
      }
    }
  };

  return {
    trigger(part) {
      const at = now();
      const bounced = at - lastEdge < trigger.debounceMs;
      lastEdge = at;
      const inTime = part !== undefined || (!bounced && at - lastTaken >= trigger.minSpacingMs);
      const ours = trigger.source === (part === undefined ? 'software' : 'line-output');
      const taken = ours && inTime && at >= owedUntil && waiting.length < MAX_WAITING;
      ring.countTrigger(taken);
      if (!taken) return false;
      lastTaken = at;
      waiting.push({ atMs: at, part: part ?? null, notes: lotNotes });
      fire();
      return true;
    },
    setLot(lot) {
      lotNotes = lot === '' ? [] : [`lot ${lot}`];
    },
    lost(count) {
      if (!asked) return;
      for (let n = 0; n < count; n += 1) {
        if (now() < owedUntil) owedUntil = -Infinity;
        else {
          const first = waiting.shift();
          if (first) missed(first);
        }
      }
    },
    offer(frame) {
      const { width, height, channels } = frame.image;
      const at = now();
      let triggeredAtMs: number | null = null;
      let part: number | null = null;
      let notes = lotNotes;
      if (trigger.source === 'camera') {
        triggeredAtMs = at;
        ring.countTrigger(true);
      } else if (asked) {
        const first = waiting.shift();
        // Nobody asked for it, or its trigger was answered `late` already.
        if (!first) {
          owedUntil = -Infinity;
          ring.countDropped();
          return false;
        }
        ({ atMs: triggeredAtMs, part, notes } = first);
      }
      makeRoom(width * height * channels);
      const noted = notes.length === 0 ? frame : { ...frame, notes: [...frame.notes, ...notes] };
      const taken = ring.offer(noted, triggeredAtMs, part);
      if (!taken && triggeredAtMs !== null) missed({ atMs: triggeredAtMs, part, notes });
      return taken;
    },
    noteSlot(slot) {
      slots = [...slots.filter((s) => s !== slot), slot].slice(-2 * MAX_PENDING);
    },
    tick() {
      const at = now();
      if (waiting.length === 0 || at - waiting[0]!.atMs < deadlineMs) return;
      owedUntil = at + deadlineMs;
      for (const trigger of waiting.splice(0)) missed(trigger);
    },
  };
}
