import type { Backbone } from '../contract/domain.ts';
import { AppError, isAppError } from '../contract/errors.ts';
import { adaptToFirstTask, type Adaptation } from '../learning/adaptation.ts';
import type { DatasetImage } from '../learning/dataset.ts';
import type { Products } from '../learning/dense.ts';
import type { LedgerRow } from '../learning/folds.ts';
import type { TrainingEngine } from '../training/engine.ts';
import { epochsWithin } from './distill/epochs.ts';
import { LEAST_IMAGES } from './enough-images.ts';
import { groupedFolds, untaughtImages } from './plan/held-apart.ts';
import type { Strategy } from './plan/variant.ts';
import type { AdaptedBackbone } from './plan/workshop.ts';

/** `auto`: only where held-out images of the first task show a gain. */
export type AdaptMode = 'auto' | 'on' | 'off';

/** @throws INVALID_INPUT for a strategy that prunes by no first task: silence would let it look as if it had */
export function adaptModeOf({
  strategy,
  adaptFirstTask,
}: {
  strategy: Strategy | 'auto';
  adaptFirstTask?: AdaptMode | undefined;
}): AdaptMode {
  const preprunes = strategy === 'pre-prune' || strategy === 'auto';
  if (adaptFirstTask !== undefined && adaptFirstTask !== 'off' && !preprunes) {
    throw new AppError('INVALID_INPUT', {
      what: `adapt-first-task with the strategy ${strategy}`,
      problem: 'only pre-pruning goes by the first task',
    });
  }
  return adaptFirstTask ?? (strategy === 'pre-prune' ? 'auto' : 'off');
}

export interface AdaptForPruningOptions {
  backbone: Backbone;
  mode: Exclude<AdaptMode, 'off'>;
  /** One entry per image of `images`. */
  ledger: readonly LedgerRow[];
  /** Rows of the source, in ledger order. */
  images: readonly number[];
  /** Those of `images` that belong to the first task. */
  firstTask: readonly number[];
  describe: (image: number) => DatasetImage;
  engine: TrainingEngine;
  products: Products;
  /** For both trainings, the trial and the final one. */
  seconds: number;
  /** Time of one picture through the backbone, ms. */
  forwardMs: number;
  threads: number;
  seed: number;
  onProgress?: ((line: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface PruningAdaptation extends Omit<Adaptation, 'model'> {
  backbone: AdaptedBackbone | null;
}

/** More than that is not needed (`learn --adapt-first-task`). */
const MOST_EPOCHS = 10;

/**
 * The first step of pre-pruning as the paper has it: the backbone is fine-tuned on the first task's images. It learns from labels, so a fold of the first task
 * is kept from it: by that, and by the later tasks, what is pruned from it is compared.
 * @throws INVALID_INPUT (mode `on` and a first task of one class, or of few pictures), CANCELLED, and with mode `on` what fine-tuning throws
 */
export async function adaptForPruning(options: AdaptForPruningOptions): Promise<PruningAdaptation> {
  const { backbone, mode, images, ledger, describe, signal } = options;
  const apart = untaughtImages(images, groupedFolds(ledger));
  const taught = options.firstTask.filter((image) => !apart.has(image));
  const classOf = new Map(images.map((image, row) => [image, ledger[row]!.classId]));
  const classesOf = (some: readonly number[]) => new Set(some.map((image) => classOf.get(image))).size;
  const wanted = classesOf(options.firstTask);
  // Of one class it is told further on.
  if (wanted > 1 && (taught.length < LEAST_IMAGES || classesOf(taught) < wanted)) {
    const left = `${taught.length} of ${options.firstTask.length} pictures are left of the first task when a fold is kept apart to judge by`;
    const reason = `${left}: ${LEAST_IMAGES} and some of each class are needed`;
    if (mode === 'on') throw new AppError('INVALID_INPUT', { what: 'adapt-first-task', problem: reason });
    return { backbone: null, reason, validation: null };
  }
  // Twice: on a part of them for the trial, on all of them if it pays.
  const epochs = Math.min(
    MOST_EPOCHS,
    epochsWithin(options.seconds / 2, taught.length, { student: options.forwardMs, teacher: 0, view: 0 }),
  );
  try {
    const { model, reason, validation } = await adaptToFirstTask({
      backbone,
      images: taught.map(describe),
      mode,
      engine: options.engine,
      products: options.products,
      epochs,
      threads: options.threads,
      seed: options.seed,
      ...(options.onProgress ? { onProgress: options.onProgress } : {}),
      ...(signal ? { signal } : {}),
    });
    const learntFrom = new Set(taught);
    const untaught = new Set(images.filter((image) => !learntFrom.has(image)));
    return { backbone: model && { bytes: model, untaught }, reason, validation };
  } catch (error) {
    // A backbone that cannot be trained can be pruned all the same.
    if (mode === 'on' || !isAppError(error) || error.code === 'CANCELLED') throw error;
    return { backbone: null, reason: `refused: ${error.message}`, validation: null };
  }
}
