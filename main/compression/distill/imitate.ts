import { buildTrainingStep, trainableNames, writeState, type LossSpec } from '../../autodiff/index.ts';
import type { Backbone } from '../../contract/domain.ts';
import { encodeModel, inferShapes, opsetOf, selectOutputs, setInputSize, type Model } from '../../onnx/index.ts';
import { openSession, type Tensor } from '../../runtime/session.ts';
import type { TrainingEngine } from '../../training/engine.ts';
import { fineTuneRule } from '../../training/fine-tune.ts';
import { batchesPerEpoch, epochOrder } from '../../training/loader/order.ts';
import type { TrainingProgress } from '../../training/progress.ts';
import { parametersOf } from '../../training/state.ts';
import { train, type BatchSource } from '../../training/train.ts';
import type { Augmentation } from '../../vision/augment/index.ts';
import type { ImageSource } from '../image-source.ts';
import { oneClass, spreadOverClasses, type ClassOf } from '../spread.ts';
import {
  comparedIn,
  pointsOf,
  spreadOf,
  targetOf,
  targetsOf,
  valuesBehind,
  type Look,
  type Point,
  type Spread,
} from './points.ts';
import { openViews, type Views } from './views.ts';

/** The same for all data. No flips or quarter turns: see fineTuneDefaults. */
export const imitationDefaults = {
  batch: 32,
  learningRate: 3e-4,
  /** Of a student from random weights. */
  freshLearningRate: 1e-3,
  /** Of the pooled features beside their maps. */
  pooledWeight: 0.25,
  augmentation: { crop: 0.3, rotateDegrees: 8 } as Augmentation,
  /** Images that the spread of the teacher's values is taken from. */
  spreadImages: 64,
} as const;

export interface ImitationOptions {
  backbone: Pick<Backbone, 'inputName' | 'mean' | 'std'> & { featureOutputs: readonly { name: string }[] };
  /** Same outputs as the student; looks at the same pictures at the same size. */
  teacher: Model;
  source: ImageSource;
  images: readonly number[];
  /** Every class is shown equally often; default: all images are of one. */
  classOf?: ClassOf;
  inputSize: number;
  engine: TrainingEngine;
  epochs: number;
  threads: number;
  seed: number;
  /** True: random weights, so that its batch normalisation learns its statistics too. */
  fresh?: boolean;
  learningRate?: number;
  pooledWeight?: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: TrainingProgress) => void) | undefined;
}

/** A teacher that looks at pictures beside a student. */
export interface Lessons extends AsyncDisposable {
  readonly points: readonly Point[];
  readonly spread: Spread;
  /**
   * Trains all weights of a model that has the student's values in it.
   * @param losses beside those of the points
   * @param targets of those losses, from what the teacher gives for a batch of images
   */
  train(lesson: {
    model: Model;
    images: readonly number[];
    epochs: number;
    learningRate: number;
    losses?: readonly LossSpec[];
    targets?: (images: readonly number[], answer: Readonly<Record<string, Tensor>>) => Promise<Record<string, Tensor>>;
  }): Promise<Map<string, Float32Array>>;
}

/**
 * Trains all weights of a student so that before pooling its maps are those of the teacher, position by position, on images without labels (FitNets, Romero
 * et al. 2015): mean squared error in units of each channel's spread in the teacher; a little of the same for the pooled features. Positions are many where images are
 * few: the pooled features alone are learnt by heart from a few hundred images, and then differ on new ones.
 * @param student input and feature outputs of the backbone, of the same widths as the teacher's
 * @returns the student with its new weights
 * @throws UNSUPPORTED_OP, CANCELLED, TRAINING_DIVERGED
 */
export async function imitate(student: Model, options: ImitationOptions): Promise<Model> {
  const { images, epochs } = options;
  await using lessons = await openLessons(student, options);
  const weights = await lessons.train({ model: student, images, epochs, learningRate: learningRateOf(options) });
  return writeState(student, weights);
}

/** The one that was asked for, or the usual one: weights that begin at random take larger steps. */
export const learningRateOf = ({ fresh, learningRate }: Pick<ImitationOptions, 'fresh' | 'learningRate'>): number =>
  learningRate ?? (fresh ? imitationDefaults.freshLearningRate : imitationDefaults.learningRate);

/** @throws UNSUPPORTED_OP, CANCELLED */
export async function openLessons(student: Model, options: ImitationOptions): Promise<Lessons> {
  const { backbone, images, classOf = oneClass, inputSize, engine, threads, seed, signal } = options;
  const { batch } = imitationDefaults;
  const outputs = backbone.featureOutputs.map(({ name }) => name);
  const values = valuesBehind(student, options.teacher, outputs);
  const looked = [...new Set([...outputs, ...values.flatMap(({ map }) => (map ? [map.teacher] : []))])];
  const teacher = await openSession(encodeModel(selectOutputs(options.teacher, looked)), { threads, name: 'teacher' });
  try {
    const views = openViews(options.source, backbone, { augmentation: imitationDefaults.augmentation, seed });
    const look: Look = (data, rows) =>
      teacher.run({ [backbone.inputName]: { type: 'float32', dims: [rows, 3, inputSize, inputSize], data } });
    const some = spreadOverClasses(images, imitationDefaults.spreadImages, classOf);
    const { dims, spread } = await spreadOf(views, some, { size: inputSize, batch, look, signal });
    const infos = inferShapes(setInputSize(student, { batch, height: inputSize, width: inputSize }));
    const own = new Map([...infos].flatMap(([name, { shape }]) => (shape ? [[name, shape as number[]] as const] : [])));
    const pooledWeight = options.pooledWeight ?? imitationDefaults.pooledWeight;
    const points = pointsOf(values, { teacher: dims, student: own }, { batch, pooledWeight });
    return {
      points,
      spread,
      async train({ model, images: shown, epochs, learningRate, losses = [], targets }) {
        const compared = comparedIn(model, points, spread, { batch, inputSize });
        const step = buildTrainingStep({
          model: compared.model,
          inputShapes: { [backbone.inputName]: [batch, 3, inputSize, inputSize] },
          // Those of the student alone: the spread of the teacher is a fact.
          trainable: trainedBy(model, losses.length > 0 ? 'all' : points),
          losses: [
            ...compared.values.map((name, i): LossSpec => ({
              kind: 'mse',
              value: name,
              target: targetOf(i),
              weight: points[i]!.weight,
            })),
            ...losses,
          ],
          clipNorm: 1,
          ...fineTuneRule(batchesPerEpoch(shown.length, batch) * epochs, learningRate),
          batchNorm: options.fresh ? 'train' : 'frozen',
        });
        const inputName = backbone.inputName;
        const common = { views, images: shown, classOf, inputName, inputSize, seed, batch, look, points, spread };
        const { state } = await train({
          engine,
          step,
          source: batchesOf({ ...common, ...(targets ? { targets } : {}) }),
          epochs,
          threads,
          ...(options.onProgress ? { onProgress: options.onProgress } : {}),
          ...(signal ? { signal } : {}),
        });
        return parametersOf(step, state);
      },
      [Symbol.asyncDispose]: () => teacher.dispose(),
    };
  } catch (error) {
    await teacher.dispose();
    throw error;
  }
}

/** Weights of a model that the points, or all of its outputs, depend on. */
function trainedBy(model: Model, of: 'all' | readonly Point[]): string[] {
  const needed =
    of === 'all'
      ? model
      : selectOutputs(
          model,
          of.map(({ student }) => student),
        );
  return [...trainableNames(needed.graph, 'all', opsetOf(model))];
}

interface SourceParts {
  views: Views;
  images: readonly number[];
  classOf: ClassOf;
  points: readonly Point[];
  spread: Spread;
  inputName: string;
  inputSize: number;
  seed: number;
  batch: number;
  look: Look;
  targets?: (images: readonly number[], answer: Readonly<Record<string, Tensor>>) => Promise<Record<string, Tensor>>;
}

/** Every class equally often, in a new order and each image seen in a new way each epoch, with what the teacher says of the very same view. */
function batchesOf(parts: SourceParts): BatchSource {
  const { views, images, classOf, points, spread, inputName, inputSize, seed, batch, look, targets } = parts;
  const dims = [batch, 3, inputSize, inputSize];
  const plane = 3 * inputSize * inputSize;
  const perEpoch = batchesPerEpoch(images.length, batch);
  const classes = [...new Set(images.map(classOf))];
  const labels = images.map((image) => classes.indexOf(classOf(image)));
  let turn: { epoch: number; order: Uint32Array } | undefined;
  const pictures = async (epoch: number, number: number) => {
    if (turn?.epoch !== epoch) turn = { epoch, order: epochOrder({ labels, batch, seed, balanced: true }, epoch) };
    const { order } = turn;
    const shown = Array.from({ length: batch }, (_, r) => images[order[number * batch + r]!]!);
    const data = new Float32Array(batch * plane);
    for (const [r, image] of shown.entries()) await views.into(image, epoch + 1, inputSize, data, r * plane);
    return { shown, data };
  };
  return {
    batchesPerEpoch: perEpoch,
    batch,
    async *batches(epoch, from, epochs) {
      const last = epochs * perEpoch;
      // Made while the step before runs in the runtime's own threads.
      const ahead = (at: number) =>
        new Promise<void>((resolve) => setImmediate(resolve)).then(() =>
          pictures(Math.floor(at / perEpoch), at % perEpoch),
        );
      let at = epoch * perEpoch + from;
      let next = at < last ? ahead(at) : null;
      for (; next; at++) {
        const { shown, data } = await next;
        next = at + 1 < last ? ahead(at + 1) : null;
        // An error waits to be met by the await above; until then it must not count as unhandled.
        next?.catch(() => {});
        const answer = await look(data, batch);
        yield {
          [inputName]: { type: 'float32', dims, data },
          ...targetsOf(points, spread, answer),
          ...(await targets?.(shown, answer)),
        };
      }
    },
  };
}
