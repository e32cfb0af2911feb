import { AppError, assert } from '../../contract/errors.ts';
import { checkAugmentation, mixRows, type Augmentation } from '../../vision/augment/index.ts';
import { startDecodeThreads } from './decode-threads.ts';
import { batchesPerEpoch, epochOrder } from './order.ts';

export interface LabelledImage {
  file: string;
  /** Shown in messages. */
  name: string;
  /** Index of the class. */
  label: number;
}

export interface LoaderOptions {
  images: readonly LabelledImage[];
  /** Number of classes. */
  classes: number;
  batch: number;
  /** Side of the square the network takes, pixels. */
  size: number;
  /** x = (p - mean) / std, as main/vision/preprocess.ts. */
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
  seed: number;
  /** Default true. */
  shuffle?: boolean;
  /** See epochOrder. Default false. */
  balanced?: boolean;
  /** Default: none. */
  augmentation?: Augmentation;
  /** A picture that cannot be read: 'refuse' throws its error, 'skip' tells it to onSkipped (once) and takes the next one of the order. */
  broken: 'skip' | 'refuse';
  onSkipped?: (image: LabelledImage, error: AppError) => void;
  /** Decoding threads. Default 1. The batches are the same with any number. */
  workers?: number;
  /** Batches made beforehand. Default 2. */
  prefetch?: number;
  /** Default 100 million. */
  maxPixels?: number;
  /** Memory for decoded pictures of all threads together. Default 256 MB. */
  cacheBytes?: number;
}

/** One batch; its arrays are used again once the next one is asked for. */
export interface LoadedBatch {
  /** [batch, 3, size, size]. */
  input: Float32Array;
  /** Class of each row. */
  labels: Int32Array;
  /** Share of each class per row, [batch, classes]: one-hot unless images were mixed. */
  shares: Float32Array;
  /** Which images these are. */
  indices: Uint32Array;
}

export interface Loader extends AsyncDisposable {
  readonly batchesPerEpoch: number;
  readonly batch: number;
  /**
   * From batch `from` of epoch `epoch` to the end of epoch `epochs - 1`, counted from 0: a pure function of the options and the position. At most one
   * at a time.
   * @throws IMAGE_UNREADABLE, IMAGE_TOO_LARGE, IMAGE_ANIMATED when broken pictures are refused; DATASET_EMPTY when none can be read.
   */
  batches(epoch: number, from: number, epochs: number): AsyncGenerator<LoadedBatch, void>;
}

/**
 * Pictures of folders as batches, decoded and augmented on threads while the network runs. Whoever opens, disposes.
 * @throws INVALID_INPUT for an augmentation out of range.
 */
export function openLoader(options: LoaderOptions): Loader {
  const { images, classes, batch, size, seed, augmentation = {} } = options;
  checkAugmentation(augmentation);
  assert(images.length > 0, 'a loader has images');
  const threads = startDecodeThreads(
    {
      images: images.map(({ file, name }) => ({ file, name })),
      size,
      mean: options.mean,
      std: options.std,
      augmentation,
      seed,
      maxPixels: options.maxPixels ?? 100_000_000,
      cacheBytes: options.cacheBytes ?? 256_000_000,
    },
    options.workers ?? 1,
  );
  const prefetch = options.prefetch ?? 2;
  const length = 3 * size * size;
  const perEpoch = batchesPerEpoch(images.length, batch);
  const order = {
    labels: images.map(({ label }) => label),
    batch,
    seed,
    shuffle: options.shuffle ?? true,
    balanced: options.balanced ?? false,
  };
  const told = new Set<number>();
  const spare: LoadedBatch[] = [];

  /** One row; in place of a broken picture the next readable one of the order. */
  const fillRow = async (target: LoadedBatch, row: number, turn: Uint32Array, epoch: number, position: number) => {
    for (let step = 0; step < turn.length; step += 1) {
      const index = turn[(position + step) % turn.length]!;
      const image = images[index]!;
      try {
        const { planes, mixup } = await threads.load(index, epoch, position);
        target.input.set(planes, row * length);
        target.labels[row] = image.label;
        target.indices[row] = index;
        target.shares.fill(0, row * classes, (row + 1) * classes);
        target.shares[row * classes + image.label] = 1;
        return mixup;
      } catch (error) {
        if (!(error instanceof AppError) || error.code === 'CANCELLED' || options.broken === 'refuse') throw error;
        if (!told.has(index)) {
          told.add(index);
          options.onSkipped?.(image, error);
        }
      }
    }
    throw new AppError('DATASET_EMPTY', { path: `the folder of "${images[0]!.name}"` });
  };

  const make = async (turn: Uint32Array, epoch: number, number: number): Promise<LoadedBatch> => {
    const target = spare.pop() ?? {
      input: new Float32Array(batch * length),
      labels: new Int32Array(batch),
      shares: new Float32Array(batch * classes),
      indices: new Uint32Array(batch),
    };
    const mixups = await Promise.all(
      Array.from({ length: batch }, (_, row) => fillRow(target, row, turn, epoch, number * batch + row)),
    );
    if (mixups.some((share) => share !== 1)) {
      mixRows(target.input, length, mixups);
      mixRows(target.shares, classes, mixups);
    }
    return target;
  };

  let busy = false;
  return {
    batchesPerEpoch: perEpoch,
    batch,
    async *batches(epoch, from, epochs) {
      assert(!busy, 'batches are asked for by one at a time');
      busy = true;
      const queue: Promise<LoadedBatch>[] = [];
      let next = { epoch, number: from };
      let turn: { epoch: number; order: Uint32Array } | null = null;
      const startNext = () => {
        if (next.number >= perEpoch) next = { epoch: next.epoch + 1, number: 0 };
        if (next.epoch >= epochs) return;
        if (turn?.epoch !== next.epoch) turn = { epoch: next.epoch, order: epochOrder(order, next.epoch) };
        const made = make(turn.order, next.epoch, next.number);
        // It is awaited later, or not at all when the consumer stops.
        made.catch(() => undefined);
        queue.push(made);
        next.number += 1;
      };
      try {
        for (let i = 0; i <= prefetch; i += 1) startNext();
        for (let first = queue.shift(); first; first = queue.shift()) {
          const ready = await first;
          yield ready;
          spare.push(ready);
          startNext();
        }
      } finally {
        await Promise.allSettled(queue);
        busy = false;
      }
    },
    [Symbol.asyncDispose]: () => threads[Symbol.asyncDispose](),
  };
}
