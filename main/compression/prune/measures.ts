import type { TrainingEngine } from '../../training/engine.ts';
import { buildTrainingStep } from '../../autodiff/index.ts';
import { AppError, assert } from '../../contract/errors.ts';
import {
  elementCount,
  encodeModel,
  float32Of,
  inferShapes,
  runtimeInputs,
  setInputSize,
  type Model,
} from '../../onnx/index.ts';
import { randomSource } from '../../onnx/architectures/random.ts';
import { openSession } from '../../runtime/session.ts';
import type { ImageSource } from '../image-source.ts';
import type { CalibrationOptions } from './sites.ts';
import type { DependencyGroup } from './groups.ts';
import { collectSamples, columnMeans, seededPositions, type Tap } from './samples.ts';

/*
 * Other measures of what a channel is worth than the error that reconstruction leaves. Each gives one number per channel of each group, the more the
 * worthier, of mean 1 over all channels, so that they can be added.
 */

/** Known measures; `reconstruction` is the default (importance.ts). */
export const IMPORTANCES = ['reconstruction', 'bn-scale', 'l1', 'l2', 'activation', 'taylor', 'head'] as const;
export type Importance = (typeof IMPORTANCES)[number];

export interface ImportanceOptions {
  /** Added with equal weights. */
  measures: readonly Importance[];
  /** Share of weight norms (l2), which know no data, in the sum: later defects may need what today's pictures do not show. 0..1. */
  hedge?: number | undefined;
  /** For `head`: rows of the linear head [classes, features] by the name of the output that it reads. */
  head?: ReadonlyMap<string, Float32Array> | undefined;
}

export type Scores = ReadonlyMap<string, Float64Array>;

/** @param perGroup groups are brought to mean 1 one by one: for measures whose unit differs between layers */
export function normalised(scores: Scores, perGroup: boolean): Map<string, Float64Array> {
  const mean = (list: Iterable<number>): number => {
    let [sum, count] = [0, 0];
    for (const value of list) [sum, count] = [sum + value, count + 1];
    return Math.max(sum / Math.max(1, count), Number.MIN_VALUE);
  };
  const all = perGroup ? 1 : mean([...scores.values()].flatMap((list) => [...list]));
  return new Map(
    [...scores].map(([id, list]) => {
      const by = perGroup ? mean(list) : all;
      return [id, list.map((value) => value / by)];
    }),
  );
}

/** Adds measures of mean 1; `hedge` of the result is the last argument. */
export function combined(parts: readonly Scores[], hedge: number, generic: Scores): Map<string, Float64Array> {
  assert(parts.length > 0 && hedge >= 0 && hedge <= 1, 'measures to combine and a share');
  return new Map(
    [...parts[0]!].map(([id, first]) => [
      id,
      first.map((_, c) => {
        const task = parts.reduce((sum, part) => sum + part.get(id)![c]!, 0) / parts.length;
        return (1 - hedge) * task + hedge * (hedge > 0 ? generic.get(id)![c]! : 0);
      }),
    ]),
  );
}

/** Norms of the weights that make each channel (Li et al. 2017 for the first power). */
export function weightNorms(model: Model, groups: readonly DependencyGroup[], power: 1 | 2): Scores {
  const scores = new Map<string, Float64Array>();
  for (const { id, channels, producers, consumers, slices } of groups) {
    const sum = new Float64Array(channels);
    const made = new Set(producers.map(({ inputs }) => inputs[1]!));
    for (const { initializer, axis, channels: channelOf } of slices) {
      if (!made.has(initializer)) continue;
      if (consumers.some((consumer) => consumer.weight === initializer && consumer.axis === axis)) continue;
      const tensor = model.graph.initializers.get(initializer)!;
      const data = float32Of(tensor);
      const inner = elementCount(tensor.dims.slice(axis + 1));
      for (let i = 0; i < data.length; i++) {
        const channel = channelOf[Math.floor(i / inner) % tensor.dims[axis]!]!;
        if (channel >= 0) sum[channel]! += Math.abs(data[i]!) ** power;
      }
    }
    scores.set(id, power === 2 ? sum.map(Math.sqrt) : sum);
  }
  return normalised(scores, true);
}

/** Rows of samples in all: standard deviations need few. */
const ROWS = 1024;

/**
 * Standard deviation of what each channel's producers give: what the scale of a BatchNorm behind them is (network slimming, Liu et al. 2017), also where it was
 * folded into the weights; where one is in the graph, its |gamma| is taken.
 */
export async function normScales(
  model: Model,
  groups: readonly DependencyGroup[],
  source: ImageSource,
  options: CalibrationOptions,
): Promise<Scores> {
  const scores = new Map(groups.map(({ id, channels }) => [id, new Float64Array(channels)]));
  const taps = new Map<string, Tap>();
  const positions = seededPositions(Math.max(1, Math.ceil(ROWS / options.images.length)), options.seed);
  const gammas = new Set(
    model.graph.nodes.flatMap(({ op, inputs }) => (op === 'BatchNormalization' ? [inputs[1]!] : [])),
  );
  for (const group of groups) {
    const scales = group.slices.filter(({ initializer }) => gammas.has(initializer));
    for (const { initializer, channels } of scales) {
      const data = float32Of(model.graph.initializers.get(initializer)!);
      channels.forEach((channel, i) => {
        if (channel >= 0) scores.get(group.id)![channel]! += Math.abs(data[i]!);
      });
    }
    if (scales.length > 0) continue;
    for (const { op, outputs } of group.producers) {
      taps.set(outputs[0]!, { id: outputs[0]!, tensor: outputs[0]!, kernel: null, last: op === 'MatMul', positions });
    }
  }
  if (taps.size === 0) return normalised(scores, true);
  const samples = await collectSamples(model, [...taps.values()], source, options.images, options);
  for (const group of groups) {
    for (const { outputs } of group.producers) {
      const own = taps.has(outputs[0]!) ? samples.get(outputs[0]!) : undefined;
      const channels = group.columns.get(outputs[0]!);
      if (!own || !channels) continue;
      const means = columnMeans(own);
      channels.forEach((channel, c) => {
        if (channel < 0) return;
        let variance = 0;
        for (let r = 0; r < own.rows; r++) variance += (own.data[r * own.columns + c]! - means[c]!) ** 2;
        scores.get(group.id)![channel]! += Math.sqrt(variance / Math.max(1, own.rows));
      });
    }
  }
  return normalised(scores, true);
}

/** Plus and minus ones over the outputs, or over the logits, brought back to the outputs through the head. */
function randomDirection(dims: readonly number[], random: () => number, head?: Float32Array): Float32Array {
  const sign = () => (random() < 0.5 ? -1 : 1);
  if (!head) return Float32Array.from({ length: elementCount(dims) }, sign);
  const [images, features] = [dims[0]!, elementCount(dims.slice(1))];
  const classes = head.length / features;
  const out = new Float32Array(images * features);
  for (let i = 0; i < images; i++) {
    for (let c = 0; c < classes; c++) {
      const u = sign();
      for (let f = 0; f < features; f++) out[i * features + f]! += u * head[c * features + f]!;
    }
  }
  return out;
}

const BATCH = 8;
/** Batches of gradients; each is a forward and a backward pass. */
const MOST_BATCHES = 12;
/** None to speak of, but enough that the engine keeps it as a state: after a step it is the gradient. */
const MOMENTUM = 1e-30;

/**
 * What taking a channel away does to the outputs, to first order (Molchanov et al. 2019): a gate of 1 before each reader of the channel, and the squared
 * derivative of the outputs by it, summed over pictures. The derivative is the sum of weight times gradient over the readers' columns. No labels are needed: the
 * outputs are projected on random directions, whose squares have the sum over all outputs as their mean. With a head the logits are what is looked at.
 * @throws TOO_FEW_IMAGES for less than one batch
 */
export async function sensitivities(
  model: Model,
  groups: readonly DependencyGroup[],
  source: ImageSource,
  engine: TrainingEngine,
  options: CalibrationOptions,
  head?: ReadonlyMap<string, Float32Array>,
): Promise<Scores> {
  const { size, seed } = options;
  const batches = Math.min(MOST_BATCHES, Math.floor(options.images.length / BATCH));
  if (batches === 0) {
    const found = options.images.length;
    throw new AppError('TOO_FEW_IMAGES', { what: 'sensitivity', found, needed: BATCH, missing: BATCH - found });
  }
  const fixed = setInputSize(model, { batch: BATCH, height: size, width: size });
  const input = runtimeInputs(fixed.graph)[0]!.name;
  const shapes = inferShapes(fixed);
  const outputs = fixed.graph.outputs.map(({ name }) => ({ name, dims: shapes.get(name)!.shape as number[] }));
  const used = outputs.filter(({ name }) => !head || head.has(name));
  assert(used.length > 0, 'the head reads an output of the model');
  const weights = [...new Set(groups.flatMap(({ consumers }) => consumers.map(({ weight }) => weight)))];
  const step = buildTrainingStep({
    model: fixed,
    inputShapes: { [input]: [BATCH, 3, size, size] },
    trainable: weights,
    losses: used.map(({ name, dims }) => ({
      kind: 'mse',
      value: name,
      target: `target of ${name}`,
      // Turns the mean over all elements into a sum; the gradient of a square is twice the difference.
      weight: elementCount(dims) / 2,
    })),
    // The weights stay; the momentum is read.
    optimizer: { kind: 'sgd', momentum: MOMENTUM, weightDecay: 0 },
    schedule: { kind: 'constant', learningRate: 0 },
    batchNorm: 'frozen',
  });
  const momenta = new Map(
    step.state.flatMap(({ role, parameter, name }) => (role === 'momentum' ? [[parameter!, name]] : [])),
  );
  const scores = new Map(groups.map(({ id, channels }) => [id, new Float64Array(channels)]));
  await using session = await openSession(encodeModel(fixed), { threads: options.threads, name: 'sensitivity' });
  await using run = await engine.open(step, { threads: options.threads });
  for (let b = 0; b < batches; b++) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const data = await source.tensor(options.images.slice(b * BATCH, (b + 1) * BATCH), size);
    const image = { [input]: { type: 'float32' as const, dims: [BATCH, 3, size, size], data } };
    const now = await session.run(image);
    const targets = used.map(({ name, dims }, i) => {
      const direction = randomDirection(dims, randomSource(seed, `${b} ${i}`), head?.get(name));
      return [
        `target of ${name}`,
        { type: 'float32' as const, dims, data: (now[name]!.data as Float32Array).map((x, k) => x - direction[k]!) },
      ];
    });
    await run.step({ ...image, ...Object.fromEntries(targets) });
    const state = await run.readState();
    for (const group of groups) {
      const gates = new Float64Array(group.channels);
      for (const { weight, axis, channels } of group.consumers) {
        const name = momenta.get(weight);
        if (name === undefined) continue;
        const tensor = model.graph.initializers.get(weight)!;
        const values = float32Of(tensor);
        const moment = state.get(name)!.data as Float32Array;
        const inner = elementCount(tensor.dims.slice(axis + 1));
        for (let k = 0; k < values.length; k++) {
          const channel = channels[Math.floor(k / inner) % tensor.dims[axis]!]!;
          if (channel >= 0) gates[channel]! += values[k]! * moment[k]!;
        }
      }
      const sum = scores.get(group.id)!;
      gates.forEach((gate, channel) => (sum[channel]! += gate * gate));
    }
  }
  return normalised(scores, false);
}
