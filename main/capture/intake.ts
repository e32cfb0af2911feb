import type { LineSettings } from '../contract/domain.ts';
import type { CameraFrame } from './camera.ts';
import { MAX_PENDING, type RingWriter } from './ring.ts';

/*
 * What stands between a camera and the ring: which trigger counts, which frame answers it, and what gives way when there is too
 * much. Every trigger taken is answered once: by a frame in the ring, or by `missed`.
 */

export interface IntakeOptions extends Pick<LineSettings, 'trigger' | 'dropPolicy'> {
  deadlineMs: number;
}

export interface IntakePorts {
  ring: Pick<RingWriter, 'offer' | 'hasRoom' | 'claimLate' | 'countTrigger' | 'countDropped' | 'waitForRelease'>;
  /** Monotonic milliseconds. */
  now(): number;
  /** Asks the camera for a picture. */
  fire(): void;
  /** No frame came for a trigger in time, or it had no room: the part is `unsure: late`. */
  missed(triggeredAtMs: number): void;
  /** The frame in this slot gave way to a newer one: its verdict is `late`, and the caller's claim stands. */
  overtaken(slot: number): void;
}

export interface Intake {
  /** False: refused (too soon after the last one, bounced), and counted. */
  trigger(): boolean;
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
  /** Times of the triggers that wait for a frame, the oldest first. */
  const waiting: number[] = [];
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
    trigger() {
      const at = now();
      const bounced = at - lastEdge < trigger.debounceMs;
      lastEdge = at;
      const taken = asked && !bounced && at - lastTaken >= trigger.minSpacingMs && waiting.length < MAX_WAITING;
      ring.countTrigger(taken);
      if (!taken) return false;
      lastTaken = at;
      waiting.push(at);
      fire();
      return true;
    },
    offer(frame) {
      const { width, height, channels } = frame.image;
      const at = now();
      let triggeredAtMs: number | null = null;
      if (trigger.source === 'camera') {
        triggeredAtMs = at;
        ring.countTrigger(true);
      } else if (asked) {
        triggeredAtMs = waiting.shift() ?? null;
        // Nobody asked for it, or its trigger was answered `late` already.
        if (triggeredAtMs === null) {
          ring.countDropped();
          return false;
        }
      }
      makeRoom(width * height * channels);
      const taken = ring.offer(frame, triggeredAtMs);
      if (!taken && triggeredAtMs !== null) missed(triggeredAtMs);
      return taken;
    },
    noteSlot(slot) {
      slots = [...slots.filter((s) => s !== slot), slot].slice(-2 * MAX_PENDING);
    },
    tick() {
      while (waiting.length > 0 && now() - waiting[0]! >= deadlineMs) missed(waiting.shift()!);
    },
  };
}
