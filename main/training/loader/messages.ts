import type { ErrorDetails } from '../../contract/errors.ts';
import type { Augmentation } from '../../vision/augment/index.ts';

/** What a decoding thread is started with. */
export interface DecodeThreadData {
  images: readonly { file: string; name: string }[];
  size: number;
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
  augmentation: Augmentation;
  seed: number;
  maxPixels: number;
  /** Decoded pictures that are kept for the next epoch, as long as there is room. */
  cacheBytes: number;
}

export interface DecodeJob {
  job: number;
  /** Index into `images`. */
  image: number;
  epoch: number;
  /** Place in the epoch's order: what the augmentation is drawn by. */
  position: number;
}

/** null: finish what is under way and end. */
export type ToDecodeThread = DecodeJob | null;

export type FromDecodeThread =
  | { job: number; planes: Float32Array<ArrayBuffer>; mixup: number }
  /** The picture cannot be read; `details` of the AppError. */
  | { job: number; code: 'IMAGE_UNREADABLE' | 'IMAGE_TOO_LARGE' | 'IMAGE_ANIMATED'; details: ErrorDetails };
