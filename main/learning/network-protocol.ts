import { AppError } from '../contract/errors.ts';
import { normalisationOf } from '../onnx/index.ts';
import type { TrainingEngine } from '../training/engine.ts';
import { trainableBackbone } from '../training/head.ts';
import { progressLine } from '../training/progress.ts';
import { checkReadable, contradictionsOf, type DatasetImage, scanDataset } from './dataset.ts';
import { accuracyOf, AccuracyMatrix, argmax, balancedAccuracyOf, type Prediction } from './evaluation.ts';
import { readablePictures } from './extract.ts';
import { createNetworkLearner, type ClassImage, type NetworkLearner } from './learners/network/learner.ts';
import { networkMethods, type NetworkMethodName } from './learners/network/methods.ts';
import {
  limitShots,
  orderClasses,
  outcomeOf,
  splitTasks,
  type ProtocolOptions,
  type ProtocolResult,
} from './protocol.ts';

export interface NetworkProtocolOptions extends Omit<ProtocolOptions, 'method'> {
  method: NetworkMethodName;
  engine: TrainingEngine;
  /** Per task. */
  epochs: number;
  /** Pixels; default: the backbone's. */
  size?: number;
  /** Exemplars of all classes together. */
  exemplars: number;
}

/** Without the calibration of the closed form's held-out logits: nothing is held out here. */
export interface NetworkProtocolResult extends Omit<ProtocolResult, 'calibration'> {
  epochs: number;
  /** Pixels per side. */
  inputSize: number;
  /** Budget; null for a method that keeps none, or all. */
  exemplars: number | null;
}

/** One set of defaults for all data. */
export const networkProtocolDefaults = { epochs: 10, exemplars: 100 } as const;

const asClassImages = (images: readonly DatasetImage[]): ClassImage[] =>
  images.map(({ file, name, className }) => ({ file, name, classId: className }));

async function predictionsOf(learner: NetworkLearner, images: readonly DatasetImage[]): Promise<Prediction[]> {
  const { data, columns } = await learner.predict(asClassImages(images));
  return images.map(({ className }, i) => ({
    truth: className,
    predicted: learner.classIds[argmax(data, i * columns, columns)]!,
  }));
}

/**
 * The class-incremental protocol of `runLearnProtocol` for methods that train the network: the same tasks, tests and measures. `joint` is
 * the same network trained on all classes at once.
 * @throws DATASET_*, BAD_CLASS_NAME, TOO_FEW_CLASSES, INVALID_INPUT, IMAGE_*, TRAINING_DIVERGED, CANCELLED, BACKBONE_UNSUITABLE, UNSUPPORTED_OP
 */
export async function runNetworkProtocol(options: NetworkProtocolOptions): Promise<NetworkProtocolResult> {
  const { dir, backbone, method, threads, seed, signal, epochs, exemplars, engine } = options;
  const dataset = await scanDataset(dir, signal ? { signal } : {});
  const classes = orderClasses(dataset.classes, options.classOrder);
  if (classes.length < 2) throw new AppError('TOO_FEW_CLASSES', { found: classes.length, needed: 2 });
  const tasks = splitTasks(classes, options.tasks ?? classes.length);
  if (networkMethods[method].memory === 'exemplars' && exemplars < classes.length) {
    throw new AppError('INVALID_INPUT', {
      what: 'exemplars',
      problem: `a budget of ${exemplars} leaves some of the ${classes.length} classes without any`,
    });
  }
  // Before anything is trained: test pictures come after it, and one that cannot be read would cost hours.
  const read = (images: readonly DatasetImage[], what: string) =>
    readablePictures(images, dataset.skipped, {
      onProgress: (done, total) => options.onProgress?.(`${what}: ${done} of ${total} images read`),
      ...(signal ? { signal } : {}),
    });
  const testImages = await read(dataset.test, 'test');
  checkReadable(classes, testImages, 'test');
  const trainImages = await read(limitShots(dataset.train, options.shots, seed), 'training');
  checkReadable(classes, trainImages, 'training');
  const trainable = trainableBackbone(backbone);
  const size = options.size ?? backbone.inputSize;
  const learnerOf = (name: NetworkMethodName, what: () => string): NetworkLearner =>
    createNetworkLearner({
      method: name,
      backbone: trainable,
      engine,
      threads,
      seed,
      epochs,
      size,
      exemplars,
      onProgress: (progress) => options.onProgress?.(`${what()}: ${progressLine(progress)}`),
      ...(signal ? { signal } : {}),
    });
  const imagesOf = (from: readonly DatasetImage[], names: readonly string[]) =>
    from.filter(({ className }) => names.includes(className));

  let current = 0;
  const learner = learnerOf(method, () => `task ${current + 1} of ${tasks.length}`);
  const run = new AccuracyMatrix();
  const updateSeconds: number[] = [];
  let last: Prediction[] = [];
  for (const [t, task] of tasks.entries()) {
    current = t;
    const started = performance.now();
    await learner.learn(asClassImages(imagesOf(trainImages, task)));
    updateSeconds.push((performance.now() - started) / 1000);
    const seen = tasks.slice(0, t + 1);
    const predicted = await predictionsOf(learner, imagesOf(testImages, seen.flat()));
    const byTask = seen.map((names) => predicted.filter(({ truth }) => names.includes(truth)));
    run.add(byTask);
    last = byTask.flat();
  }

  let together = last;
  if (method !== 'joint') {
    const joint = learnerOf('joint', () => 'joint training');
    await joint.learn(asClassImages(imagesOf(trainImages, classes)));
    together = await predictionsOf(joint, imagesOf(testImages, classes));
  }
  return {
    method,
    backbone: backbone.id,
    normalisation: normalisationOf(backbone),
    threads,
    classes,
    tasks,
    ...outcomeOf(run, last, classes),
    joint: { accuracy: accuracyOf(together), balancedAccuracy: balancedAccuracyOf(together) },
    maxWeightDifferenceToJoint: null,
    adapted: false,
    lambda: null,
    balancing: null,
    updateSeconds,
    images: { train: trainImages.length, test: testImages.length },
    skipped: dataset.skipped,
    contradicting: contradictionsOf(trainImages),
    epochs,
    inputSize: size,
    exemplars: networkMethods[method].memory === 'exemplars' ? exemplars : null,
  };
}
