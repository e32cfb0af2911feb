import { createHash } from 'node:crypto';
import { buildTrainingStep, writeState, type StepSpec, type TrainingStep } from '../autodiff/index.ts';
import { AppError } from '../contract/errors.ts';
import { elementCount, encodeModel, type Model } from '../onnx/index.ts';
import type { Tensor } from '../runtime/session.ts';
import type { Augmentation } from '../vision/augment/index.ts';
import { openCheckpoints } from './checkpoint.ts';
import type { State, TrainingEngine } from './engine.ts';
import { evaluateClassifier, type Accuracy } from './evaluate.ts';
import { attachHead, settleHead, type HeadedModel, type TrainableBackbone } from './head.ts';
import { openLoader, type LabelledImage, type Loader, type LoaderOptions } from './loader/loader.ts';
import type { TrainingProgress } from './progress.ts';
import { parametersOf } from './state.ts';
import { train, type BatchSource, type Position } from './train.ts';

/**
 * The same for all data; nothing here was chosen on a data set. AdamW, since a backbone with folded BatchNorm has weights of very different size, which
 * plain SGD would need a rate per layer for. No flips or quarter turns: two classes may differ by nothing else.
 */
export const fineTuneDefaults = {
  batch: 32,
  /** Of the body. */
  learningRate: 1e-4,
  /** The head learns so many times as fast: it starts from nothing, the body from features that are good already. */
  headGain: 10,
  /** Share of the steps in which the learning rate rises; then half a cosine down to zero. */
  warmup: 0.1,
  weightDecay: 0.01,
  labelSmoothing: 0.1,
  augmentation: { crop: 0.15, rotateDegrees: 5, brightness: 0.1, contrast: 0.1 } as Augmentation,
  workers: 1,
} as const;

/** Optimiser and schedule of a fine-tuning of so many steps. */
export const fineTuneRule = (
  totalSteps: number,
  learningRate: number = fineTuneDefaults.learningRate,
): Pick<StepSpec, 'optimizer' | 'schedule'> => ({
  optimizer: { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: fineTuneDefaults.weightDecay },
  schedule: {
    kind: 'cosine',
    learningRate,
    warmupSteps: Math.max(1, Math.round(fineTuneDefaults.warmup * totalSteps)),
    totalSteps,
  },
});

export interface FineTuneOptions {
  backbone: TrainableBackbone;
  /** In the order of the logits. */
  classes: readonly string[];
  train: readonly LabelledImage[];
  test: readonly LabelledImage[];
  engine: TrainingEngine;
  epochs: number;
  threads: number;
  seed: number;
  /** Pixels; default: the backbone's. */
  size?: number;
  batch?: number;
  /** Default true; false: the head alone learns. */
  trainBody?: boolean;
  /** Default 'frozen': small sets give poor statistics. A backbone whose BatchNorm is folded has none to train. */
  batchNorm?: 'train' | 'frozen';
  learningRate?: number;
  augmentation?: Augmentation;
  balanced?: boolean;
  /** Default 'skip'. */
  broken?: 'skip' | 'refuse';
  workers?: number;
  /** Goes on from it after a kill (two files, `.a` and `.b`; they stay until the caller removes them). */
  checkpointFile?: string;
  checkpointEvery?: number;
  onProgress?: (progress: TrainingProgress) => void;
  onEpoch?: (epoch: FineTuneEpoch, number: number) => void;
  onWarning?: (error: AppError) => void;
  signal?: AbortSignal;
}

export interface FineTuneEpoch extends Accuracy {
  loss: number;
  seconds: number;
}

export interface FineTuneResult {
  epochs: FineTuneEpoch[];
  /** The trained model: `logits` [N, classes]; see settleHead. */
  model: Model;
  trainedParameters: number;
  imagesPerSecond: number;
  size: number;
  resumedAtStep: number;
  /** Pictures that could not be read, by name. */
  skipped: { name: string; problem: string }[];
}

/** Batches of a loader under the names a step knows them by. */
function sourceOf(loader: Loader, step: TrainingStep, target: string, mixed: boolean): BatchSource {
  const input = step.batch.find(({ name }) => name !== target)!;
  const labels = step.batch.find(({ name }) => name === target)!;
  return {
    batchesPerEpoch: loader.batchesPerEpoch,
    batch: loader.batch,
    async *batches(epoch, from, epochs) {
      for await (const batch of loader.batches(epoch, from, epochs)) {
        const targets: Tensor = mixed
          ? { type: 'float32', dims: labels.dims, data: batch.shares }
          : { type: 'int64', dims: labels.dims, data: BigInt64Array.from(batch.labels, BigInt) };
        yield { [input.name]: { type: 'float32', dims: input.dims, data: batch.input }, [target]: targets };
      }
    },
  };
}

const TARGET = 'target';

/**
 * Trains a classifier on a backbone's features, and the backbone with it, and tests it after every epoch.
 * @throws BACKBONE_UNSUITABLE, UNSUPPORTED_OP, TOO_FEW_CLASSES, DATASET_EMPTY, INVALID_INPUT, and what `train` throws.
 */
export async function fineTune(options: FineTuneOptions): Promise<FineTuneResult> {
  const { backbone, classes, engine, epochs, threads, seed } = options;
  if (classes.length < 2) throw new AppError('TOO_FEW_CLASSES', { found: classes.length, needed: 2 });
  const size = options.size ?? backbone.inputSize;
  const batch = options.batch ?? fineTuneDefaults.batch;
  const augmentation = options.augmentation ?? fineTuneDefaults.augmentation;
  const mixed = (augmentation.mixup ?? 0) > 0;
  const head = attachHead(backbone, { classes: classes.length, size, gain: fineTuneDefaults.headGain, batch });
  const totalSteps = Math.ceil(options.train.length / batch) * epochs;
  const spec: StepSpec = {
    model: head.model,
    inputShapes: { [backbone.inputName]: [batch, 3, size, size] },
    trainable: (options.trainBody ?? true) ? 'all' : Object.values(head.parameters),
    losses: [
      {
        kind: 'crossEntropy',
        logits: head.model.graph.outputs[0]!.name,
        target: TARGET,
        targets: mixed ? 'soft' : 'hard',
        labelSmoothing: fineTuneDefaults.labelSmoothing,
      },
    ],
    ...fineTuneRule(totalSteps, options.learningRate),
    batchNorm: options.batchNorm ?? 'frozen',
  };
  const step = buildTrainingStep(spec);

  const skipped = new Map<string, string>();
  const common: Pick<LoaderOptions, 'classes' | 'batch' | 'size' | 'mean' | 'std' | 'seed' | 'broken' | 'onSkipped'> = {
    classes: classes.length,
    batch,
    size,
    mean: backbone.mean,
    std: backbone.std,
    seed,
    broken: options.broken ?? 'skip',
    onSkipped: ({ name }, error) => skipped.set(name, error.message),
  };
  await using trainLoader = openLoader({
    ...common,
    images: options.train,
    augmentation,
    balanced: options.balanced ?? false,
    workers: options.workers ?? fineTuneDefaults.workers,
  });
  await using testLoader = openLoader({ ...common, images: options.test, shuffle: false });

  const trained = (state: State): HeadedModel => ({
    ...head,
    model: writeState(head.model, parametersOf(step, state)),
  });
  const checkpoints = options.checkpointFile
    ? openCheckpoints<Position<Accuracy>>(options.checkpointFile, runOf(spec, options))
    : null;
  const result = await train<Accuracy>({
    engine,
    step,
    source: sourceOf(trainLoader, step, TARGET, mixed),
    epochs,
    threads,
    evaluate: (state) => evaluateClassifier(trained(state).model, testLoader, { threads }),
    ...(checkpoints ? { checkpoints } : {}),
    ...(options.checkpointEvery === undefined ? {} : { checkpointEvery: options.checkpointEvery }),
    ...(options.onProgress ? { onProgress: options.onProgress } : {}),
    ...(options.onWarning ? { onWarning: options.onWarning } : {}),
    ...(options.onEpoch
      ? {
          onEpoch: ({ loss, seconds, evaluation }, number) =>
            options.onEpoch!({ loss, ...evaluation, seconds }, number),
        }
      : {}),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  return {
    epochs: result.epochs.map(({ loss, seconds, evaluation }) => ({ loss, ...evaluation, seconds })),
    model: settleHead(trained(result.state), { classes, size, mean: backbone.mean, std: backbone.std }),
    trainedParameters: step.state
      .filter(({ role }) => role === 'parameter')
      .reduce((sum, { dims }) => sum + elementCount(dims), 0),
    imagesPerSecond: result.imagesPerSecond,
    size,
    resumedAtStep: result.resumedAt,
    skipped: [...skipped].map(([name, problem]) => ({ name, problem })).sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

/** What a checkpoint must agree on: network, settings, images and their classes. */
function runOf({ model, ...settings }: StepSpec, options: FineTuneOptions): string {
  const { seed, epochs, train: images, classes, augmentation, balanced, engine, backbone } = options;
  return createHash('sha256')
    .update(encodeModel(model))
    .update(
      JSON.stringify({
        settings,
        seed,
        epochs,
        classes,
        augmentation: augmentation ?? fineTuneDefaults.augmentation,
        balanced: balanced ?? false,
        engine: engine.kind,
        mean: backbone.mean,
        std: backbone.std,
        images: images.map(({ name, label }) => [name, label]),
      }),
    )
    .digest('hex');
}
