import { createHash } from 'node:crypto';
import type { Backbone } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { normalisationOf, type SourcedNormalisation } from '../onnx/index.ts';
import type { TrainingEngine } from '../training/engine.ts';
import { adaptToFirstTask, type Adaptation } from './adaptation.ts';
import { reportCalibration, type CalibrationReport } from './calibration-report.ts';
import {
  byCodeUnit,
  checkReadable,
  contradictionsOf,
  scanDataset,
  type Contradiction,
  type DatasetImage,
  type SkippedFile,
} from './dataset.ts';
import { openProducts } from './dense.ts';
import { embed } from './embedding.ts';
import { AccuracyMatrix, argmax, accuracyOf, balancedAccuracyOf, type Prediction } from './evaluation.ts';
import { featureRows, featuresOfReadable, openExtractor, readablePictures, type Featured } from './extract.ts';
import { jointFit, jointMeans, jointPredict } from './joint.ts';
import type { Learner, LearnerContext } from './learner.ts';
import { createAnalyticLearner } from './learners/analytic.ts';
import { createNcmLearner } from './learners/ncm.ts';
import type { NetworkMethodName } from './learners/network/methods.ts';

/** Methods on features that are extracted once; network-protocol.ts runs those that train the network. A new method is a row here and a file in learners/. */
const learners = {
  analytic: createAnalyticLearner,
  ncm: createNcmLearner,
} satisfies Record<string, (context: LearnerContext) => Learner>;
export type LearnMethod = keyof typeof learners;
export const learnMethods = Object.keys(learners) as LearnMethod[];
export const isLearnMethod = (method: string): method is LearnMethod => method in learners;

export interface ProtocolOptions {
  dir: string;
  /** Default: one class per task. */
  tasks?: number;
  /** Seed of another order of the classes; default: name order. */
  classOrder?: number;
  backbone: Backbone;
  method: LearnMethod;
  threads: number;
  /** Of the draw of shots, and of the order in which the joint fit sees the images. */
  seed: number;
  /** Training images per class at most, drawn by the seed; default: all. */
  shots?: number;
  /** One line for a person, many times. */
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
  /** Fine-tunes the backbone on the first task; default: not. */
  adaptFirstTask?: { mode: 'auto' | 'on'; engine: TrainingEngine; epochs: number };
}

/** The JSON of `learn` (CLI): formulas in evaluation.ts. */
export interface ProtocolResult {
  method: LearnMethod | NetworkMethodName;
  backbone: string;
  /** How pixels were scaled, and who says so. */
  normalisation: SourcedNormalisation;
  threads: number;
  classes: string[];
  tasks: string[][];
  /** R[t][j]; null where task j comes after t. */
  matrix: (number | null)[][];
  accuracy: number;
  balancedAccuracy: number;
  averageAccuracy: number;
  bwt: number;
  perClass: Record<string, { recall: number; forgetting: number }>;
  joint: { accuracy: number; balancedAccuracy: number };
  /** Largest difference of a weight, over the largest weight; null: the method has no closed form. */
  maxWeightDifferenceToJoint: number | null;
  /** The backbone was changed; `joint` is then on the changed one. */
  adapted: boolean;
  /** Only where it was asked for. */
  adaptation?: Omit<Adaptation, 'model'>;
  lambda: number | null;
  balancing: number | null;
  /** Of a closed-form head: temperature from held-out folds, expected calibration error on test images and on the folds. */
  calibration?: Pick<CalibrationReport, 'temperature' | 'ece' | 'eceBefore' | 'validation'> | null;
  /** Per task: features of its images and the solve. */
  updateSeconds: number[];
  images: { train: number; test: number };
  /** Files that were left out, and why. */
  skipped: SkippedFile[];
  /** Training pictures under two labels. They are learnt under both: an evaluation does not choose its data, but it says so. */
  contradicting: Contradiction[];
}

/** Classes in name order, or in another that a seed draws. */
export const orderClasses = (classes: readonly string[], seed: number | undefined): string[] =>
  seed === undefined ? [...classes] : shuffled(classes, seed);

/** Classes in their order, in `tasks` parts of nearly one size. @throws INVALID_INPUT for more tasks than classes */
export function splitTasks(classes: readonly string[], tasks: number): string[][] {
  if (tasks > classes.length) {
    throw new AppError('INVALID_INPUT', {
      what: 'tasks',
      problem: `${tasks} tasks cannot be made of ${classes.length} classes`,
    });
  }
  return Array.from({ length: tasks }, (_, t) =>
    classes.slice(Math.round((t * classes.length) / tasks), Math.round(((t + 1) * classes.length) / tasks)),
  );
}

/** Fisher-Yates with a linear congruential generator: an order that any machine repeats. */
function shuffled<T>(items: readonly T[], seed: number): T[] {
  const out = [...items];
  let state = (seed ^ 0x9e3779b9) >>> 0;
  for (let i = out.length - 1; i > 0; i -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

/** Rows of one class set, in the order given. */
function select({ images, features }: Featured, classes: ReadonlySet<string>): Featured {
  const width = images.length === 0 ? 0 : features.length / images.length;
  const kept = images.flatMap(({ className }, i) => (classes.has(className) ? [i] : []));
  return { images: kept.map((i) => images[i]!), features: featureRows(features, width, kept) };
}

/** Place of an image in the draw: by its content and the seed, so of no order of files. */
const drawOf = (sha: string, seed: number): string => createHash('sha256').update(`${seed} ${sha}`).digest('hex');

/** At most so many images of each class, drawn by content and seed: the same ones whatever the order of the files. */
export function limitShots(images: DatasetImage[], shots: number | undefined, seed: number): DatasetImage[] {
  if (shots === undefined) return images;
  const taken = new Map<string, number>();
  return images
    .map((image) => ({ image, rank: drawOf(image.sha, seed) }))
    .toSorted((a, b) => byCodeUnit(a.rank, b.rank))
    .map(({ image }) => image)
    .filter(({ className }) => {
      const count = taken.get(className) ?? 0;
      taken.set(className, count + 1);
      return count < shots;
    });
}

/**
 * Class-incremental protocol over a folder: tasks in name order, after each of them a test against all classes seen so far,
 * and at the end an independent joint fit of all classes on features that are extracted again.
 * @throws DATASET_*, BAD_CLASS_NAME, TOO_FEW_CLASSES, INVALID_INPUT, BACKBONE_UNSUITABLE, CANCELLED
 */
export async function runLearnProtocol(options: ProtocolOptions): Promise<ProtocolResult> {
  const { dir, backbone, method, threads, seed, signal } = options;
  const dataset = await scanDataset(dir, signal ? { signal } : {});
  const { skipped } = dataset;
  const classes = orderClasses(dataset.classes, options.classOrder);
  if (classes.length < 2) throw new AppError('TOO_FEW_CLASSES', { found: classes.length, needed: 2 });
  const tasks = splitTasks(classes, options.tasks ?? classes.length);
  const trainImages = limitShots(dataset.train, options.shots, seed);

  await using products = openProducts({ threads });
  const first = new Set(tasks[0]);
  const adaptation = options.adaptFirstTask
    ? await adaptToFirstTask({
        ...options.adaptFirstTask,
        backbone,
        // The others are told when their features are taken.
        images: await readablePictures(
          trainImages.filter(({ className }) => first.has(className)),
          null,
          signal ? { signal } : {},
        ),
        products,
        threads,
        seed,
        ...(options.onProgress ? { onProgress: options.onProgress } : {}),
        ...(signal ? { signal } : {}),
      })
    : null;
  const adapted = adaptation?.model ?? null;
  await using extractor = await openExtractor(backbone, { threads, ...(adapted ? { model: adapted } : {}) });
  const extract = (images: readonly DatasetImage[], what: string, told: SkippedFile[] | null) =>
    featuresOfReadable(extractor, images, told, {
      onProgress: (done) => options.onProgress?.(`${what}: features of ${done} of ${images.length} images`),
      ...(signal ? { signal } : {}),
    });

  const test = await extract(dataset.test, 'test', skipped);
  checkReadable(classes, test.images, 'test');
  const stages = backbone.featureOutputs.map(({ channels }) => channels);
  const learner = learners[method]({ products, stages, ...(signal ? { signal } : {}) });
  const run = new AccuracyMatrix();
  const updateSeconds: number[] = [];
  const learnt: DatasetImage[] = [];
  let last: Prediction[] = [];
  for (const [t, task] of tasks.entries()) {
    const started = performance.now();
    const wanted = new Set(task);
    const part = await extract(
      trainImages.filter(({ className }) => wanted.has(className)),
      `task ${t + 1} of ${tasks.length}`,
      skipped,
    );
    checkReadable(task, part.images, 'training');
    await learner.learn(
      part.features,
      part.images.map(({ className, sha, look }) => ({ classId: className, sha, look })),
    );
    updateSeconds.push((performance.now() - started) / 1000);
    learnt.push(...part.images);
    const byTask: Prediction[][] = [];
    for (const seen of tasks.slice(0, t + 1)) byTask.push(await predict(learner, select(test, new Set(seen))));
    run.add(byTask);
    last = byTask.flat();
  }

  // The reference: its own pass over the pictures, shuffled.
  const again = await extract(shuffled(learnt, seed), 'joint fit', null);
  options.onProgress?.('joint fit: solving');
  const jointInput = {
    features: again.features,
    stages,
    labels: again.images.map(({ className }) => classes.indexOf(className)),
    classes: classes.length,
  };
  const { choice } = learner;
  const joint = choice
    ? jointFit({ ...jointInput, ...choice, raised: classes.map((name) => choice.raised?.get(name) ?? 0) })
    : jointMeans(jointInput);
  const jointPredictions = jointPredict(joint, { features: test.features, stages, classes: classes.length }).map(
    (c, i): Prediction => ({ truth: test.images[i]!.className, predicted: classes[c]! }),
  );

  const calibration =
    learner.choice &&
    (await reportCalibration(
      {
        z: embed(again.features, stages),
        ledger: again.images.map(({ className, sha, look }) => ({ classId: className, sha, look })),
        choice: learner.choice,
      },
      {
        classIds: learner.classIds,
        logits: (await learner.predict(test.features)).data,
        truth: test.images.map(({ className }) => className),
      },
      products,
    ));
  return {
    method,
    backbone: backbone.id,
    normalisation: normalisationOf(backbone),
    threads,
    classes,
    tasks,
    ...outcomeOf(run, last, classes),
    joint: { accuracy: accuracyOf(jointPredictions), balancedAccuracy: balancedAccuracyOf(jointPredictions) },
    maxWeightDifferenceToJoint: weightDifference(learner, joint, classes),
    adapted: adapted !== null,
    ...(adaptation ? { adaptation: { reason: adaptation.reason, validation: adaptation.validation } } : {}),
    lambda: learner.choice?.lambda ?? null,
    balancing: learner.choice?.balancing ?? null,
    calibration,
    updateSeconds,
    images: { train: learnt.length, test: test.images.length },
    skipped,
    contradicting: contradictionsOf(trainImages),
  };
}

/** Measures of a run after its last task. @param last predictions for all test images */
export function outcomeOf(run: AccuracyMatrix, last: readonly Prediction[], classes: readonly string[]) {
  const { recall } = run.records.at(-1)!;
  return {
    matrix: run.matrix,
    accuracy: accuracyOf(last),
    balancedAccuracy: balancedAccuracyOf(last),
    averageAccuracy: run.averageAccuracy,
    bwt: run.bwt,
    perClass: Object.fromEntries(
      classes.map((name) => [name, { recall: recall.get(name)!, forgetting: run.forgetting(name) }]),
    ),
  };
}

async function predict(learner: Learner, { images, features }: Featured): Promise<Prediction[]> {
  const logits = await learner.predict(features);
  const { classIds } = learner;
  return images.map(({ className }, i) => ({
    truth: className,
    predicted: classIds[argmax(logits.data, i * classIds.length, classIds.length)]!,
  }));
}

/** Columns are matched by class name: the two order their classes on their own. */
function weightDifference(learner: Learner, joint: Float64Array, classes: readonly string[]): number {
  const { weights, classIds } = learner;
  let difference = 0;
  let largest = 0;
  classIds.forEach((id, c) => {
    const column = classes.indexOf(id);
    for (let i = 0; i < weights.rows; i += 1) {
      const reference = joint[i * classes.length + column]!;
      difference = Math.max(difference, Math.abs(weights.data[i * weights.columns + c]! - reference));
      largest = Math.max(largest, Math.abs(reference));
    }
  });
  return largest > 0 ? difference / largest : 0;
}
