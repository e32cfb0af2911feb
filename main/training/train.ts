import type { TrainingStep } from '../autodiff/index.ts';
import { AppError } from '../contract/errors.ts';
import type { Tensor } from '../runtime/session.ts';
import type { CheckpointStore } from './checkpoint.ts';
import { newLossMemory, watchLoss, type LossMemory } from './divergence.ts';
import type { State, TrainingEngine } from './engine.ts';
import { Pace, type TrainingProgress } from './progress.ts';
import { firstNotFinite, initialState } from './state.ts';

/** Where batches come from, the same ones for the same position. */
export interface BatchSource {
  readonly batchesPerEpoch: number;
  /** Images per batch: for the speed that is told. */
  readonly batch: number;
  /**
   * All batches from batch `from` of epoch `epoch` to the end of epoch `epochs - 1` (counted from 0). A batch is good until the next one is asked for.
   */
  batches(epoch: number, from: number, epochs: number): AsyncGenerator<Record<string, Tensor>, void>;
}

export interface EpochResult<E> {
  /** Mean over the epoch's steps. */
  loss: number;
  /** What `evaluate` gave. */
  evaluation: E;
  seconds: number;
}

/** Where the loop stands; plain JSON, part of a checkpoint. */
export interface Position<E> {
  /** Of the next batch, counted from 0. */
  epoch: number;
  batch: number;
  lossSum: number;
  memory: LossMemory;
  epochs: EpochResult<E>[];
  /** Of the epoch under way. */
  seconds: number;
}

export interface TrainOptions<E> {
  engine: TrainingEngine;
  step: TrainingStep;
  source: BatchSource;
  epochs: number;
  threads: number;
  /** After each epoch; its result (plain JSON) goes into the checkpoint. Default: nothing is evaluated. */
  evaluate?: (state: State, epoch: number) => Promise<E>;
  /** Goes on from it, and writes it every `checkpointEvery` steps, after each epoch and when cancelled. */
  checkpoints?: CheckpointStore<Position<E>>;
  /** Default 100. */
  checkpointEvery?: number;
  /** Every state known to be sound, at the same moments; a copy that may be kept. `step` = steps made. */
  onGoodState?: (state: State, step: number) => void;
  onProgress?: (progress: TrainingProgress) => void;
  /** Epochs of this process, counted from 1. */
  onEpoch?: (result: EpochResult<E>, epoch: number) => void;
  /** A damaged checkpoint of which the older one was taken. */
  onWarning?: (error: AppError) => void;
  /** Obeyed between steps. */
  signal?: AbortSignal;
}

export interface TrainResult<E> {
  state: State;
  epochs: EpochResult<E>[];
  steps: number;
  /** Steps of these that an earlier run had made. */
  resumedAt: number;
  imagesPerSecond: number;
}

/**
 * Trains for so many epochs. After a kill it goes on from the checkpoint and gives the same weights to the bit (with the same threads) as a run that
 * was never stopped.
 * @throws TRAINING_DIVERGED (rule in divergence.ts; the last sound state stays in the checkpoint and was told to onGoodState), CANCELLED, DISK_FULL
 * and HOME_NOT_WRITABLE from writing a checkpoint, CHECKPOINT_DAMAGED, CHECKPOINT_OTHER_RUN, TRAINER_FAILED, and what the source throws.
 */
export async function train<E = null>(options: TrainOptions<E>): Promise<TrainResult<E>> {
  const { engine, step, source, epochs, threads, checkpoints, signal } = options;
  const every = options.checkpointEvery ?? 100;
  const perEpoch = source.batchesPerEpoch;
  const start = (await checkpoints?.load(options.onWarning)) ?? null;
  const at: Position<E> = start?.position ?? {
    epoch: 0,
    batch: 0,
    lossSum: 0,
    memory: newLossMemory(),
    epochs: [],
    seconds: 0,
  };
  const made = () => at.epoch * perEpoch + at.batch;
  const resumedAt = made();
  let kept = resumedAt;

  await using run = await engine.open(step, { threads, state: start?.state ?? initialState(step) });

  /** @throws TRAINING_DIVERGED instead of keeping a state that is no good. */
  const keep = async (state: State): Promise<void> => {
    const bad = firstNotFinite(state);
    if (bad !== null) throw diverged(`"${bad}" is no longer a finite number`);
    await checkpoints?.save(state, at);
    options.onGoodState?.(state, made());
    kept = made();
  };
  const diverged = (problem: string) => new AppError('TRAINING_DIVERGED', { step: made(), problem, kept });
  const checkCancelled = async (): Promise<void> => {
    if (!signal?.aborted) return;
    if (checkpoints && kept < made()) await keep(await run.readState());
    throw new AppError('CANCELLED');
  };

  const pace = new Pace(source.batch);
  const finishEpoch = async (): Promise<void> => {
    const state = await run.readState();
    const began = performance.now();
    const evaluation = (await options.evaluate?.(state, at.epoch)) ?? null;
    pace.addEvaluation(performance.now() - began);
    at.epochs.push({ loss: at.lossSum / perEpoch, evaluation: evaluation as E, seconds: at.seconds });
    at.epoch += 1;
    at.batch = 0;
    at.lossSum = 0;
    at.seconds = 0;
    await keep(state);
    options.onEpoch?.(at.epochs.at(-1)!, at.epoch);
  };

  await checkCancelled();
  let began = performance.now();
  for await (const batch of source.batches(at.epoch, at.batch, epochs)) {
    const { loss, learningRate, gradientNorm } = await run.step(batch);
    at.batch += 1;
    const problem = watchLoss(at.memory, loss, gradientNorm);
    if (problem !== null) throw diverged(problem);
    at.lossSum += loss;
    const now = performance.now();
    pace.addStep(now - began);
    at.seconds += (now - began) / 1000;
    options.onProgress?.({
      epoch: at.epoch + 1,
      epochs,
      step: made(),
      steps: epochs * perEpoch,
      loss: at.lossSum / at.batch,
      learningRate,
      imagesPerSecond: pace.imagesPerSecond,
      secondsLeft: pace.secondsLeft(epochs * perEpoch - made(), options.evaluate ? epochs - at.epoch : 0),
    });
    if (at.batch === perEpoch) await finishEpoch();
    else if (made() % every === 0) await keep(await run.readState());
    await checkCancelled();
    began = performance.now();
  }
  return {
    state: await run.readState(),
    epochs: at.epochs,
    steps: made(),
    resumedAt,
    imagesPerSecond: pace.imagesPerSecond,
  };
}
