import { buildTrainingStep, trainableNames, writeState, type TrainingStep } from '../../autodiff/index.ts';
import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import {
  addNodes,
  encodeModel,
  float32Tensor,
  freshName,
  mapBehindPooling,
  node,
  opsetOf,
  selectOutputs,
  setInputSize,
  setOutputs,
  value,
  valueNames,
  withGraph,
  type ConstTensor,
  type Model,
} from '../../onnx/index.ts';
import { openSession, type Session, type Tensor } from '../../runtime/session.ts';
import type { TrainingEngine } from '../../training/engine.ts';
import { fineTuneRule } from '../../training/fine-tune.ts';
import { batchesPerEpoch, epochOrder } from '../../training/loader/order.ts';
import type { TrainingProgress } from '../../training/progress.ts';
import { parametersOf } from '../../training/state.ts';
import { train, type BatchSource } from '../../training/train.ts';
import type { Augmentation } from '../../vision/augment/index.ts';
import type { ImageSource } from '../image-source.ts';
import { openViews, type Views } from './views.ts';

/** The same for all data. No flips or quarter turns: see fineTuneDefaults. */
export const imitationDefaults = {
  batch: 32,
  learningRate: 3e-4,
  augmentation: { crop: 0.3, rotateDegrees: 8 } as Augmentation,
  /** Images that the spread of the teacher's values is taken from. */
  spreadImages: 64,
} as const;

export interface ImitationOptions {
  backbone: Pick<Backbone, 'inputName' | 'mean' | 'std'> & { featureOutputs: readonly { name: string }[] };
  /** Same outputs as the student; looks at the same pictures at the same size. */
  teacher: Model;
  source: ImageSource;
  /** Needs no labels. */
  images: readonly number[];
  inputSize: number;
  engine: TrainingEngine;
  epochs: number;
  threads: number;
  seed: number;
  learningRate?: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: TrainingProgress) => void) | undefined;
}

/** A value that both networks have: where the student is compared with the teacher. */
interface Point {
  student: string;
  teacher: string;
  /** Of the student, batch included. */
  dims: readonly number[];
}

/**
 * Trains all weights of a student so that before pooling its maps are those of the teacher, position by position, on images without labels (FitNets, Romero
 * et al. 2015): mean squared error in units of each channel's spread in the teacher. Positions are many where images are few: the pooled
 * features alone are learnt by heart from a few hundred images, and then differ on new ones.
 * @param student input and feature outputs of the backbone, of the same widths as the teacher's
 * @returns the student with its new weights
 * @throws UNSUPPORTED_OP, CANCELLED, TRAINING_DIVERGED
 */
export async function imitate(student: Model, options: ImitationOptions): Promise<Model> {
  const { backbone, images, inputSize, engine, epochs, threads, seed, signal } = options;
  const { batch } = imitationDefaults;
  const names = backbone.featureOutputs.map(({ name }) => ({
    student: mapBehindPooling(student, name) ?? name,
    teacher: mapBehindPooling(options.teacher, name) ?? name,
  }));
  const teacherBytes = encodeModel(
    selectOutputs(
      options.teacher,
      names.map(({ teacher }) => teacher),
    ),
  );
  await using teacher = await openSession(teacherBytes, { threads, name: 'teacher' });
  const views = openViews(options.source, backbone, { augmentation: imitationDefaults.augmentation, seed });
  const look = async (data: Float32Array, rows: number): Promise<Record<string, Tensor>> =>
    teacher.run({ [backbone.inputName]: { type: 'float32', dims: [rows, 3, inputSize, inputSize], data } });
  const first = await someViews(views, images.slice(0, imitationDefaults.spreadImages), inputSize, batch, look, signal);
  const points: Point[] = names.map((name) => ({ ...name, dims: [batch, ...first.dims.get(name.teacher)!.slice(1)] }));
  const compared = comparedIn(student, points, first.spread, { batch, inputSize });
  const perEpoch = batchesPerEpoch(images.length, batch);
  const step = buildTrainingStep({
    model: compared.model,
    inputShapes: { [backbone.inputName]: [batch, 3, inputSize, inputSize] },
    // Those of the student alone: the spread of the teacher is a fact.
    trainable: [...trainableNames(student.graph, 'all', opsetOf(student))],
    losses: compared.values.map((name, i) => ({ kind: 'mse', value: name, target: targetOf(i) })),
    clipNorm: 1,
    ...fineTuneRule(perEpoch * epochs, options.learningRate ?? imitationDefaults.learningRate),
    batchNorm: 'frozen',
  });
  const { state } = await train({
    engine,
    step,
    source: batchesOf({ views, images, points, spread: first.spread, step, inputSize, seed, batch, look }),
    epochs,
    threads,
    ...(options.onProgress ? { onProgress: options.onProgress } : {}),
    ...(signal ? { signal } : {}),
  });
  return writeState(student, parametersOf(step, state));
}

const targetOf = (point: number): string => `teacher${point}`;

type Look = (data: Float32Array, rows: number) => ReturnType<Session['run']>;

/** Of each of the teacher's outputs: 1 / standard deviation per channel (axis 1). */
type Spread = ReadonlyMap<string, Float32Array>;

/** Channels that hardly move count no more than this share of the mean spread would make them. */
const LEAST_SPREAD = 0.1;

async function someViews(
  views: Views,
  images: readonly number[],
  size: number,
  batch: number,
  look: Look,
  signal: AbortSignal | undefined,
): Promise<{ dims: Map<string, readonly number[]>; spread: Spread }> {
  const dims = new Map<string, readonly number[]>();
  const sums = new Map<string, { n: number; sum: Float64Array; squares: Float64Array }>();
  const plane = 3 * size * size;
  const data = new Float32Array(batch * plane);
  for (let start = 0; start < images.length; start += batch) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const some = images.slice(start, start + batch);
    for (const [i, image] of some.entries()) await views.into(image, 1, size, data, i * plane);
    const answer = await look(data.subarray(0, some.length * plane), some.length);
    for (const [name, tensor] of Object.entries(answer)) {
      dims.set(name, tensor.dims);
      const channels = tensor.dims[1]!;
      const positions = tensor.dims.slice(2).reduce((a, b) => a * b, 1);
      let at = sums.get(name);
      if (!at) sums.set(name, (at = { n: 0, sum: new Float64Array(channels), squares: new Float64Array(channels) }));
      at.n += some.length * positions;
      const values = tensor.data as Float32Array;
      for (let i = 0; i < values.length; i++) {
        const c = Math.floor(i / positions) % channels;
        at.sum[c]! += values[i]!;
        at.squares[c]! += values[i]! * values[i]!;
      }
    }
  }
  const spread = new Map(
    [...sums].map(([name, { n, sum, squares }]): [string, Float32Array] => {
      const deviations = sum.map((total, c) => Math.sqrt(Math.max(0, squares[c]! / n - (total / n) ** 2)));
      const mean = deviations.reduce((a, b) => a + b, 0) / deviations.length;
      return [name, Float32Array.from(deviations, (x) => 1 / Math.max(x, LEAST_SPREAD * mean, 1e-6))];
    }),
  );
  return { dims, spread };
}

/** The student with the compared values, in units of the teacher's spread, as outputs. */
function comparedIn(
  student: Model,
  points: readonly Point[],
  spread: Spread,
  { batch, inputSize: size }: { batch: number; inputSize: number },
): { model: Model; values: string[] } {
  const taken = valueNames(student.graph);
  const constants: Record<string, ConstTensor> = {};
  const outputs = points.map(({ teacher, dims }, i) => {
    const factor = freshName(taken, `imitation/factor${i}`);
    const shape = [dims[1]!, ...dims.slice(2).map(() => 1)];
    constants[factor] = float32Tensor(shape, spread.get(teacher)!);
    return { factor, scaled: freshName(taken, `imitation/scaled${i}`) };
  });
  const nodes = points.map((point, i) => node('Mul', [point.student, outputs[i]!.factor], [outputs[i]!.scaled]));
  const graph = setOutputs(
    addNodes(student.graph, nodes, constants),
    points.map(({ dims }, i) => value(outputs[i]!.scaled, 'float32', dims)),
  );
  return {
    model: setInputSize(withGraph(student, graph), { batch, height: size, width: size }),
    values: outputs.map(({ scaled }) => scaled),
  };
}

interface SourceParts {
  views: Views;
  images: readonly number[];
  points: readonly Point[];
  spread: Spread;
  step: TrainingStep;
  inputSize: number;
  seed: number;
  batch: number;
  look: Look;
}

/** Every image once an epoch, in a new order and seen in a new way, with what the teacher says of the very same view. */
function batchesOf({ views, images, points, spread, step, inputSize, seed, batch, look }: SourceParts): BatchSource {
  const targets = new Set(points.map((_, i) => targetOf(i)));
  const input = step.batch.find(({ name }) => !targets.has(name))!;
  const plane = 3 * inputSize * inputSize;
  const perEpoch = batchesPerEpoch(images.length, batch);
  const pictures = async (epoch: number, number: number): Promise<Float32Array> => {
    const order = epochOrder({ labels: images, batch, seed }, epoch);
    const data = new Float32Array(batch * plane);
    for (let r = 0; r < batch; r++)
      await views.into(images[order[number * batch + r]!]!, epoch + 1, inputSize, data, r * plane);
    return data;
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
        const data = await next;
        next = at + 1 < last ? ahead(at + 1) : null;
        // An error waits to be met by the await above; until then it must not count as unhandled.
        next?.catch(() => {});
        const answer = await look(data, batch);
        const feeds: Record<string, Tensor> = { [input.name]: { type: 'float32', dims: input.dims, data } };
        points.forEach(({ teacher, dims }, i) => {
          const values = Float32Array.from(answer[teacher]!.data as Float32Array);
          const factors = spread.get(teacher)!;
          const positions = dims.slice(2).reduce((a, b) => a * b, 1);
          for (let k = 0; k < values.length; k++) values[k]! *= factors[Math.floor(k / positions) % factors.length]!;
          feeds[targetOf(i)] = { type: 'float32', dims, data: values };
        });
        yield feeds;
      }
    },
  };
}
