import type { CameraFrame } from './camera.ts';

/** The frames of one part, collected until all of them came: then they lie one behind the other, as one frame. */
export interface PartFrames {
  /** When its first place was taken, monotonic ms; null: nothing yet. */
  readonly begunMs: number | null;
  /** Places that are taken, lost ones too. */
  readonly places: number;
  /** Frames that are there. */
  readonly frames: number;
  /** Takes the next place. False: of another size than the first; the place is lost. */
  add(frame: CameraFrame, nowMs: number): boolean;
  /** A frame that was sent and will never come takes its place all the same, so that the next are not taken for this part's. */
  lose(nowMs: number): void;
  /** All frames; null where one is lost. Begins anew. The pixels are lent until the next `add`. */
  take(): CameraFrame | null;
  reset(): void;
}

export function createPartFrames(perPart: number): PartFrames {
  let begunMs: number | null = null;
  let places = 0;
  let first: CameraFrame | null = null;
  let last: CameraFrame | null = null;
  let frames = 0;
  let notes: string[] = [];
  let pixels = new Uint8Array(0);

  const reset = () => {
    begunMs = null;
    first = null;
    last = null;
    places = 0;
    frames = 0;
    notes = [];
  };
  const place = (nowMs: number) => {
    begunMs ??= nowMs;
    places += 1;
  };
  return {
    get begunMs() {
      return begunMs;
    },
    get places() {
      return places;
    },
    get frames() {
      return frames;
    },
    add(frame, nowMs) {
      place(nowMs);
      const { width, height, channels, data } = frame.image;
      const length = width * height * channels;
      if (first === null) {
        first = frame;
        if (pixels.length !== perPart * length) pixels = new Uint8Array(perPart * length);
      } else {
        const { image } = first;
        if (image.width !== width || image.height !== height || image.channels !== channels) return false;
      }
      pixels.set(data.length === length ? data : data.subarray(0, length), frames * length);
      frames += 1;
      last = frame;
      notes = [...notes, ...frame.notes.filter((note) => !notes.includes(note))];
      return true;
    },
    lose: place,
    take() {
      const whole =
        first !== null && last !== null && frames === perPart
          ? {
              ...first,
              image: { ...first.image, data: pixels },
              capturedAt: last.capturedAt,
              notes,
            }
          : null;
      reset();
      return whole;
    },
    reset,
  };
}
