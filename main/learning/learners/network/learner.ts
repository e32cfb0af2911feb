import { buildTrainingStep, writeState, type TrainingStep } from '../../../autodiff/index.ts';
import { assert } from '../../../contract/errors.ts';
import {
  addNodes,
  encodeModel,
  float32Of,
  int64Tensor,
  node,
  selectOutputs,
  setOutputs,
  value,
  withGraph,
  type ConstTensor,
  type Model,
} from '../../../onnx/index.ts';
import { openSession, type Session, type Tensor } from '../../../runtime/session.ts';
import type { TrainingEngine } from '../../../training/engine.ts';
import { fineTuneDefaults, fineTuneRule } from '../../../training/fine-tune.ts';
import { attachHead, type HeadedModel, type TrainableBackbone } from '../../../training/head.ts';
import { openLoader, type LoadedBatch, type Loader } from '../../../training/loader/loader.ts';
import type { TrainingProgress } from '../../../training/progress.ts';
import { parametersOf } from '../../../training/state.ts';
import { train, type BatchSource } from '../../../training/train.ts';
import { matrix, type Matrix } from '../../dense.ts';
import { exemplarsPerClass, herdingOrder, meanOf, nearestMeanScores, normaliseRows } from './herding.ts';
import { fillShares, lossOf, networkMethods, type LogitRange, type NetworkMethodName } from './methods.ts';

/** A picture of a class, in its file. */
export interface ClassImage {
  file: string;
  name: string;
  classId: string;
}

export interface NetworkLearnerOptions {
  method: NetworkMethodName;
  backbone: TrainableBackbone;
  engine: TrainingEngine;
  threads: number;
  seed: number;
  /** Per task. */
  epochs: number;
  /** Pixels; default: the backbone's. */
  size?: number;
  /** Exemplars of all classes together, for the methods that keep any. */
  exemplars: number;
  onProgress?: (progress: TrainingProgress) => void;
  signal?: AbortSignal;
}

/** A learner that trains the network itself: it takes pictures, where `Learner` takes features. */
export interface NetworkLearner {
  /** Takes in the classes of a task; their pictures are not given again. @throws what `train` throws, and errors of reading pictures. */
  learn(images: readonly ClassImage[]): Promise<void>;
  /** Known classes in the order of the scores: by task, in name order within a task. */
  readonly classIds: readonly string[];
  /** Row-major [images, classes]: logits, or negative squared distances to the means. */
  predict(images: readonly ClassImage[]): Promise<Matrix>;
  /** Pictures of earlier tasks at hand, per class; never more than the budget. */
  readonly kept: ReadonlyMap<string, readonly ClassImage[]>;
}

/** Share of a batch that is exemplars where the ratio is preserved. */
const EXEMPLAR_SHARE = 0.25;

/**
 * The hosts of the paper and joint training: a classifier on the backbone's features, all of it trained with the project's own engine, by the
 * losses of `networkMethods`.
 */
export function createNetworkLearner(options: NetworkLearnerOptions): NetworkLearner {
  const { backbone, engine, threads, seed, epochs, signal } = options;
  const method = networkMethods[options.method];
  const size = options.size ?? backbone.inputSize;
  const batch = fineTuneDefaults.batch;
  const sizes: number[] = [];
  const classIds: string[] = [];
  const kept = new Map<string, ClassImage[]>();
  let weights = new Map<string, Float32Array>();
  let means: Float64Array[] | null = null;

  const headed = (classes: number): HeadedModel => {
    const head = attachHead(backbone, { classes, size, gain: fineTuneDefaults.headGain, batch });
    return { ...head, model: writeState(head.model, grown(head, weights)) };
  };
  const loaderOf = (images: readonly ClassImage[], rows: number, training: boolean): Loader =>
    openLoader({
      images: images.map(({ file, name, classId }) => ({ file, name, label: Math.max(0, classIds.indexOf(classId)) })),
      classes: Math.max(1, classIds.length),
      batch: rows,
      size,
      mean: backbone.mean,
      std: backbone.std,
      seed: method.restart ? seed : seed + sizes.length,
      shuffle: training,
      ...(training ? { augmentation: fineTuneDefaults.augmentation } : {}),
      broken: 'refuse',
    });

  /** One output of the present network for every image, in their order. */
  const outputs = async (images: readonly ClassImage[], model: Model, output: string): Promise<Float32Array> => {
    await using session = await openSession(encodeModel(selectOutputs(model, [output])), { threads, name: 'network' });
    await using loader = loaderOf(images, batch, false);
    let all = new Float32Array(0);
    for await (const loaded of loader.batches(0, 0, 1)) {
      if (signal?.aborted) signal.throwIfAborted();
      const { data } = (await run(session, loaded.input, batch, size))[output]!;
      const width = data.length / batch;
      if (all.length === 0) all = new Float32Array(images.length * width);
      // Rows that fill the last batch say the same again.
      loaded.indices.forEach((image, row) =>
        all.set((data as Float32Array).subarray(row * width, (row + 1) * width), image * width),
      );
    }
    return all;
  };

  const keepExemplars = async (images: readonly ClassImage[], added: readonly string[]): Promise<void> => {
    const head = headed(classIds.length);
    const limit = method.memory === 'all' ? Infinity : exemplarsPerClass(options.exemplars, classIds.length);
    for (const [classId, list] of kept) kept.set(classId, list.slice(0, limit));
    for (const classId of added) {
      const own = images.filter((image) => image.classId === classId);
      if (method.memory === 'all') kept.set(classId, own);
      else {
        const features = await outputs(own, head.model, head.features);
        const width = features.length / own.length;
        const order = herdingOrder(normaliseRows(features, width), width, limit);
        kept.set(
          classId,
          order.map((i) => own[i]!),
        );
      }
    }
    if (method.decide !== 'nearest-mean') return;
    means = [];
    for (const classId of classIds) {
      const list = kept.get(classId)!;
      // A budget of less than one picture a class leaves classes that cannot be judged: a mean far from everything.
      if (list.length === 0) means.push(new Float64Array(means[0]?.length ?? 1));
      else {
        const features = await outputs(list, head.model, head.features);
        const width = features.length / list.length;
        means.push(meanOf(normaliseRows(features, width), width));
      }
    }
  };

  return {
    async learn(images) {
      const added = [...new Set(images.map(({ classId }) => classId))].sort((a, b) => (a < b ? -1 : 1));
      assert(
        added.length > 0 && added.every((classId) => !classIds.includes(classId)),
        'a task brings classes that were not known',
      );
      const taught = [...sizes, added.length];
      const teaches = method.objectives(taught).some(({ target }) => target === 'teacher');
      const teacher = teaches ? headed(classIds.length) : null;
      sizes.push(added.length);
      classIds.push(...added);
      if (method.restart) {
        // As if all classes had come at once, so that the split into tasks changes nothing.
        weights = new Map();
        classIds.sort((a, b) => (a < b ? -1 : 1));
      }
      const head = headed(classIds.length);
      const objectives = method.objectives(sizes);
      const { model, values } = withRanges(
        head.model,
        objectives.map(({ range }) => range),
      );
      const old = [...kept.values()].flat();
      const separate = method.preserveRatio && old.length > 0;
      const oldRows = separate ? Math.round(batch * EXEMPLAR_SHARE) : 0;
      const together = [...images, ...old];
      if (method.restart) together.sort((a, b) => (a.file < b.file ? -1 : 1));
      await using fresh = loaderOf(separate ? images : together, batch - oldRows, true);
      await using exemplars = separate ? loaderOf(old, oldRows, true) : null;
      await using judge = teacher
        ? await openSession(encodeModel(teacher.model), { threads, name: 'network before this task' })
        : null;
      const step = buildTrainingStep({
        model,
        inputShapes: { [backbone.inputName]: [batch, 3, size, size] },
        trainable: 'all',
        losses: objectives.map((objective) => lossOf(objective, values.get(objective.range.name)!)),
        ...fineTuneRule(fresh.batchesPerEpoch * epochs),
        batchNorm: 'frozen',
      });
      const source = batchesOf({ fresh, exemplars, judge, objectives, step, classes: classIds.length, size });
      const { state } = await train({
        engine,
        step,
        source,
        epochs,
        threads,
        ...(options.onProgress ? { onProgress: options.onProgress } : {}),
        ...(signal ? { signal } : {}),
      });
      weights = parametersOf(step, state);
      if (method.memory !== 'none') await keepExemplars(images, added);
    },
    get classIds() {
      return classIds;
    },
    get kept() {
      return kept;
    },
    async predict(images) {
      assert(sizes.length > 0, 'a learner is asked after it has learnt');
      const head = headed(classIds.length);
      const scores = matrix(images.length, classIds.length);
      if (means) {
        const features = await outputs(images, head.model, head.features);
        const width = features.length / images.length;
        scores.data.set(nearestMeanScores(normaliseRows(features, width), width, means));
      } else scores.data.set(await outputs(images, head.model, head.model.graph.outputs[0]!.name));
      return scores;
    },
  };
}

/** Trained values for a model with as many or more classes: the rows of new classes stay zero. */
function grown({ model }: HeadedModel, trained: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> {
  return new Map(
    [...trained].map(([name, data]) => {
      const next = float32Of(model.graph.initializers.get(name)!).slice();
      // Rows are classes, so what was learnt is a prefix; everywhere else it is the whole.
      next.set(data);
      return [name, next];
    }),
  );
}

/** The model with a value for each range of its logits; the whole range is the logits themselves. */
export function withRanges(model: Model, ranges: readonly LogitRange[]): { model: Model; values: Map<string, string> } {
  const logits = model.graph.outputs[0]!;
  const [rows, classes] = logits.shape as [number, number];
  const values = new Map<string, string>();
  const constants: Record<string, ConstTensor> = { 'range/axis': int64Tensor([1], [1]) };
  const nodes = [];
  const outputs = [logits];
  for (const { name, from, count } of ranges) {
    if (values.has(name)) continue;
    values.set(name, count === classes ? logits.name : `range/${name}`);
    if (count === classes) continue;
    constants[`range/${name}/from`] = int64Tensor([1], [from]);
    constants[`range/${name}/to`] = int64Tensor([1], [from + count]);
    nodes.push(node('Slice', [logits.name, `range/${name}/from`, `range/${name}/to`, 'range/axis'], [`range/${name}`]));
    outputs.push(value(`range/${name}`, 'float32', [rows, count]));
  }
  if (nodes.length === 0) return { model, values };
  return { model: withGraph(model, setOutputs(addNodes(model.graph, nodes, constants), outputs)), values };
}

const run = (session: Session, input: Float32Array, rows: number, size: number) =>
  session.run({ [session.inputs[0]!]: { type: 'float32', dims: [rows, 3, size, size], data: input } });

interface SourceParts {
  fresh: Loader;
  /** Where batches keep a fixed share of exemplars. */
  exemplars: Loader | null;
  /** The network before this task. */
  judge: Session | null;
  objectives: readonly { range: LogitRange; target: 'labels' | 'teacher' }[];
  step: TrainingStep;
  classes: number;
  size: number;
}

/** Pictures, labels of each range, and what the network before this task says of the very same augmented pictures. */
function batchesOf({ fresh, exemplars, judge, objectives, step, size }: SourceParts): BatchSource {
  const rows = fresh.batch + (exemplars?.batch ?? 0);
  const length = 3 * size * size;
  const targets = new Map<string, { range: LogitRange; target: 'labels' | 'teacher'; data: Float32Array }>();
  for (const { range, target } of objectives)
    targets.set(`${target}/${range.name}`, { range, target, data: new Float32Array(rows * range.count) });
  const input = step.batch.find(({ name }) => !targets.has(name))!;
  const images = new Float32Array(rows * length);
  const labels = new Int32Array(rows);
  const needsTeacher = objectives.some(({ target }) => target === 'teacher');

  return {
    batchesPerEpoch: fresh.batchesPerEpoch,
    batch: rows,
    async *batches(epoch, from, epochs) {
      const second = exemplars?.batches(0, 0, Infinity);
      const place = (loaded: LoadedBatch, row: number) => {
        images.set(loaded.input, row * length);
        labels.set(loaded.labels, row);
      };
      try {
        for await (const loaded of fresh.batches(epoch, from, epochs)) {
          place(loaded, 0);
          if (second) {
            const { value: more } = await second.next();
            assert(more, 'exemplars come round again');
            place(more, fresh.batch);
          }
          let taught: Tensor | null = null;
          if (needsTeacher) {
            assert(judge, 'a later task has a network before it');
            taught = (await run(judge, images, rows, size))[judge.outputs[0]!]!;
          }
          const feeds: Record<string, Tensor> = { [input.name]: { type: 'float32', dims: input.dims, data: images } };
          for (const [name, { range, target, data }] of targets) {
            if (target === 'labels') fillShares(labels, range, data);
            else copyColumns(taught!, range, data);
            feeds[name] = { type: 'float32', dims: [rows, range.count], data };
          }
          yield feeds;
        }
      } finally {
        await second?.return();
      }
    },
  };
}

/** Columns of a range of logits [rows, classes] into [rows, count]. */
export function copyColumns(
  { data, dims }: Pick<Tensor, 'data' | 'dims'>,
  { from, count }: LogitRange,
  into: Float32Array,
): void {
  const [rows, width] = dims as [number, number];
  for (let row = 0; row < rows; row += 1) {
    const at = row * width + from;
    into.set((data as Float32Array).subarray(at, at + count), row * count);
  }
}
