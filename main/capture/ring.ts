import { assert } from '../contract/errors.ts';
import type { PixelImage } from '../vision/image.ts';

/*
 * The bounded ring between the threads of a line process. The capture thread fills slots; the main thread judges; the records
 * thread watches the time and archives. Pixels and states are shared memory; a notice per frame goes by message port.
 *
 * Each frame gets exactly one verdict: whoever first moves its slot from OPEN (main thread: DECIDED; watchdog: LATE) has given
 * it. A slot is filled again when both readers have let go of it, so that nobody's pixels change under him.
 */

export const SLOTS = 16;
/** Frames that may wait for a verdict: what comes beyond is dropped, for it could not be judged in time. */
export const MAX_PENDING = 4;
/** Pixels in all slots together. One slot at least is always granted, however large the frame. */
const MAX_BYTES = 96 * 2 ** 20;
const READERS = 2;

const OPEN = 0;
const DECIDED = 1;
const LATE = 2;

const VERDICT = 0;
const HOLDERS = 1;
const WORDS = 2;
/** Words after the slots. */
const PENDING = SLOTS * WORDS;
const DROPPED = PENDING + 1;
const RELEASED = PENDING + 2;
/** Triggers taken and refused. */
const TRIGGERS = PENDING + 3;
const REFUSED = PENDING + 4;

/** Shared state of a ring. */
export interface RingMemory {
  words: Int32Array;
  /** [0] number of the last frame; [1 + slot] when its last byte was there, monotonic ms. Written before the notice is sent. */
  numbers: Float64Array;
}

/** Told to both readers per frame. `pixels` is sent when the slot got other memory than before. */
export interface FrameNotice {
  kind: 'frame';
  slot: number;
  seq: number;
  /** Milliseconds of the epoch. */
  capturedAt: number;
  arrivedAtMs: number;
  /** When the part was asked for, monotonic ms; null where nobody asks (free run). */
  triggeredAtMs: number | null;
  /** Number that the line output gave the part when its trigger was accepted; null: no part of the line output's. */
  part: number | null;
  width: number;
  height: number;
  channels: 1 | 3;
  /** Pictures of the one part, one behind the other. */
  frames: number;
  notes: string[];
  source: string;
  pixels: Uint8Array | null;
}

export const createRingMemory = (): RingMemory => ({
  words: new Int32Array(new SharedArrayBuffer((REFUSED + 1) * 4)),
  numbers: new Float64Array(new SharedArrayBuffer((1 + SLOTS) * 8)),
});

/** Sets the number of the last record there is; only while no frame is under way. */
export const setLastNumber = (memory: RingMemory, seq: number): void => {
  memory.numbers[0] = seq;
};

export const droppedFrames = (memory: RingMemory): number => Atomics.load(memory.words, DROPPED);

/** Triggers since the ring was made: [taken, refused]. */
export const triggersOf = (memory: RingMemory): [number, number] => [
  Atomics.load(memory.words, TRIGGERS),
  Atomics.load(memory.words, REFUSED),
];

/** What a counter of the ring has counted since it stood at `before`: it rolls over, which frames dropped in free run reach within months. */
export const countedSince = (before: number, now: number): number => (now - before) >>> 0;

/** The capture thread's end. */
export function createRingWriter(memory: RingMemory, now: () => number, notify: (notice: FrameNotice) => void) {
  const { words, numbers } = memory;
  const buffers: (Uint8Array | null)[] = Array.from({ length: SLOTS }, () => null);
  let bytes = 0;
  let next = 0;

  /** A free slot with room for `length` bytes; -1: none. Memory is only taken as frames ask for it. */
  const slotFor = (length: number): number => {
    let free = -1;
    for (let i = 0; i < SLOTS; i += 1) {
      const slot = (next + i) % SLOTS;
      if (Atomics.load(words, slot * WORDS + HOLDERS) !== 0) continue;
      const held = buffers[slot]?.length ?? 0;
      if (held >= length && held <= 4 * length) return slot;
      if (free < 0) free = slot;
    }
    if (free < 0) return -1;
    let spare = bytes - (buffers[free]?.length ?? 0);
    for (let slot = 0; slot < SLOTS && spare + length > MAX_BYTES; slot += 1) {
      if (slot === free || Atomics.load(words, slot * WORDS + HOLDERS) !== 0) continue;
      spare -= buffers[slot]?.length ?? 0;
      bytes -= buffers[slot]?.length ?? 0;
      buffers[slot] = null;
    }
    return spare + length <= MAX_BYTES || spare === 0 ? free : -1;
  };

  const takeNumber = (): number => {
    const seq = numbers[0]! + 1;
    numbers[0] = seq;
    return seq;
  };

  return {
    countTrigger(taken: boolean): void {
      Atomics.add(words, taken ? TRIGGERS : REFUSED, 1);
    },
    /** A frame that was not offered, or that gave way. */
    countDropped(): void {
      Atomics.add(words, DROPPED, 1);
    },
    /** Nobody judges this frame any more. False: somebody has given its verdict already. */
    claimLate(slot: number): boolean {
      const won = Atomics.compareExchange(words, slot * WORDS + VERDICT, OPEN, LATE) === OPEN;
      if (won) Atomics.sub(words, PENDING, 1);
      return won;
    },
    /** Counts what was released. */
    releases: () => Atomics.load(words, RELEASED),
    /** Stops this thread until something is released beyond what was `seen`, or for at most `ms`. */
    waitForRelease(seen: number, ms: number): void {
      Atomics.wait(words, RELEASED, seen, ms);
    },
    /** The next record's number, for one that has no frame. */
    takeNumber,
    /** True when offer() would take a frame of this size now. */
    hasRoom: (length: number, maxPending = MAX_PENDING) =>
      Atomics.load(words, PENDING) < maxPending && slotFor(length) >= 0,
    offer(
      frame: { image: PixelImage; capturedAt: Date; notes: string[]; source: string },
      triggeredAtMs: number | null = null,
      part: number | null = null,
      frames = 1,
    ): boolean {
      const { width, height, channels, data } = frame.image;
      const length = width * height * channels * frames;
      assert(data.length >= length, 'a camera gives all pixels of its frame');
      const slot = Atomics.load(words, PENDING) < MAX_PENDING ? slotFor(length) : -1;
      if (slot < 0) {
        Atomics.add(words, DROPPED, 1);
        return false;
      }
      let pixels = buffers[slot] ?? null;
      const fresh = !pixels || pixels.length < length || pixels.length > 4 * length;
      if (fresh) {
        bytes += length - (pixels?.length ?? 0);
        pixels = new Uint8Array(new SharedArrayBuffer(length));
        buffers[slot] = pixels;
      }
      pixels!.set(data.length === length ? data : data.subarray(0, length));
      const seq = takeNumber();
      const arrivedAtMs = now();
      numbers[1 + slot] = arrivedAtMs;
      Atomics.store(words, slot * WORDS + VERDICT, OPEN);
      Atomics.store(words, slot * WORDS + HOLDERS, READERS);
      Atomics.add(words, PENDING, 1);
      next = (slot + 1) % SLOTS;
      notify({
        kind: 'frame',
        slot,
        seq,
        capturedAt: frame.capturedAt.getTime(),
        arrivedAtMs,
        triggeredAtMs,
        part,
        width,
        height,
        channels,
        frames,
        notes: frame.notes,
        source: frame.source,
        pixels: fresh ? pixels : null,
      });
      return true;
    },
    /** Frames that got lost on their way here. */
    missed(count: number): void {
      Atomics.add(words, DROPPED, count);
    },
    /** Resolves at the next release, or after at most `ms`. */
    async released(ms: number): Promise<void> {
      const seen = Atomics.load(words, RELEASED);
      const wait = Atomics.waitAsync(words, RELEASED, seen, ms);
      if (wait.async) await wait.value;
    },
  };
}
export type RingWriter = ReturnType<typeof createRingWriter>;

/** A reading thread's end. */
export function createRingReader(memory: RingMemory) {
  const { words } = memory;
  const buffers: (Uint8Array | null)[] = Array.from({ length: SLOTS }, () => null);
  const claim = (slot: number, as: number): boolean => {
    const won = Atomics.compareExchange(words, slot * WORDS + VERDICT, OPEN, as) === OPEN;
    if (won) {
      Atomics.sub(words, PENDING, 1);
      Atomics.add(words, RELEASED, 1);
      Atomics.notify(words, RELEASED);
    }
    return won;
  };
  return {
    /** The frame's pixels in shared memory, valid until release(). Call it for each notice, in order. @param frame of several of one part */
    pixels(notice: FrameNotice, frame = 0): PixelImage {
      if (notice.pixels) buffers[notice.slot] = notice.pixels;
      const memoryOfSlot = buffers[notice.slot];
      assert(memoryOfSlot, 'the first notice of a slot brings its memory');
      const { width, height, channels } = notice;
      const length = width * height * channels;
      return { width, height, channels, data: memoryOfSlot.subarray(frame * length, (frame + 1) * length) };
    },
    /** True: the caller's verdict counts, and the caller alone writes the record. */
    claimDecided: (slot: number) => claim(slot, DECIDED),
    claimLate: (slot: number) => claim(slot, LATE),
    isOpen: (slot: number) => Atomics.load(words, slot * WORDS + VERDICT) === OPEN,
    /** This reader is done with the slot. */
    release(slot: number): void {
      const before = Atomics.sub(words, slot * WORDS + HOLDERS, 1);
      assert(before >= 1, 'a slot is released once per reader');
      if (before === 1) {
        Atomics.add(words, RELEASED, 1);
        Atomics.notify(words, RELEASED);
      }
    },
  };
}
export type RingReader = ReturnType<typeof createRingReader>;
