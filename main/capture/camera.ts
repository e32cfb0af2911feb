import type { AppError } from '../contract/errors.ts';
import type { PixelImage } from '../vision/image.ts';

/** What a simulated part really is; only the simulator knows, and only tests and the demo's training set look. */
export interface Truth {
  /** 'ok' or a defect class of the surface. */
  className: string;
  /** Pixels of the frame; null for an ok part. */
  box: { x: number; y: number; width: number; height: number } | null;
}

export interface CameraFrame {
  /** Lent for the duration of the call: whoever keeps the pixels copies them. */
  image: PixelImage;
  capturedAt: Date;
  /** Conversions and oddities, kept with the part. */
  notes: string[];
  /** File name or part number: what the source calls it. */
  source: string;
  truth?: Truth;
}

/** Where a camera puts its frames; bounded. */
export interface FrameSink {
  /** False: no room, the frame was dropped and counted. May be called from any callback. Blocks only where the station says so and the camera can wait (`block`). */
  offer(frame: CameraFrame): boolean;
  /** Resolves when a frame will be taken. For sources that can wait (files); a real camera cannot. */
  whenFree(signal: AbortSignal): Promise<void>;
  /**
   * Frames that were sent but never became whole: counted with the dropped ones. For sources that can lose some. Told in the order of the
   * frames: after those before, and before those after.
   */
  missed?(count: number): void;
  /** A trigger was not confirmed: whether its frame comes is not known. */
  unconfirmed?(): void;
}

/** `lost`: tried again by itself. */
export type CameraState = { kind: 'starting' } | { kind: 'delivering' } | { kind: 'lost'; problem: AppError };

/** A file or frame that will never become a part (not an image, over the limit): told once. */
export interface RejectedFrame {
  source: string;
  problem: AppError;
}

export interface CameraListener {
  onState(state: CameraState): void;
  onRejected(rejected: RejectedFrame): void;
  /** Something that needs a hand but stops nothing, e.g. files that cannot be moved away. null: it is over, as it is when the camera is lost. */
  onTrouble(problem: AppError | null): void;
}

/** Whoever opens it disposes of it; no frame is offered after `dispose` has resolved. */
export interface Camera extends AsyncDisposable {
  /** Starts delivering. Problems that may pass are states, not errors. @throws CAMERA_CONFIG for what cannot work. */
  open(sink: FrameSink, listener: CameraListener): Promise<void>;
  /** Takes a picture now (`triggering` in the options it was made with). Answers at once; false: none will come of it. */
  trigger?(): boolean;
  dispose(): Promise<void>;
}
