import { AppError } from '../../contract/errors.ts';
import {
  encodeModel,
  float32Of,
  foldConstants,
  opsetOf,
  runtimeInputs,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import { openSession } from '../../runtime/session.ts';
import type { ImageSource } from '../image-source.ts';
import type { CalibrationOptions } from '../prune/sites.ts';
import { observeRanges, uint8Parameters, type ActivationRange, type RangeRule } from './calibrate.ts';
import { balanceActivations } from './balance.ts';
import { compensateRounding } from './compensate.ts';
import { equalizeWeights } from './equalize.ts';
import { planQuantization, quantizeModel, quantizeWeights, tensorsOf, type Plan, type RoundedWeights } from './qdq.ts';

/*
 * INT8 with accuracy control. Everything is chosen by one figure: the squared error that a choice leaves in the model's outputs on
 * images that calibration did not use, relative to their variance over those images. First how channels are levelled out, and the rule for ranges;
 * then, where the error is above the tolerance, layers are kept float, worst first.
 */

/** What was levelled out between the channels of a tensor first: nothing, weights across layers, or activations. */
export type Levelling = 'none' | 'weights' | 'activations';

export interface IntegerChoice {
  model: Model;
  rule: RangeRule;
  levelling: Levelling;
  /** Weights make up for one another's rounding (`compensate.ts`); else each goes to the nearest step. */
  compensated: boolean;
  /** Relative squared error of the outputs with every convolution in integers. */
  fullError: number;
  /** The same of `model`. */
  error: number;
  /** Convolutions that stay float (by output), with what quantising each alone costs. */
  keptFloat: { node: string; error: number }[];
  /** Convolutions that are integer now. */
  integers: number;
}

export interface ChooseOptions extends CalibrationOptions {
  /** Images that ranges are taken from once it is chosen what is levelled out; default: `images`. */
  ranged?: readonly number[];
  /** Images on which choices are compared; best none of `images` and `ranged`. */
  compared: readonly number[];
  weightBits: 7 | 8;
  /** Above this relative error layers go back to float. */
  tolerance?: number;
}

/** Rules in the order in which they win a tie. */
const RANGE_RULES: readonly RangeRule[] = [{ kind: 'min-max' }, { kind: 'percentile', share: 0.9999 }, { kind: 'mse' }];

/**
 * Five percent of the outputs' variance. Below it accuracy does not follow the error: with MobileNet-EdgeTPU and MobileNetV2 on three sets errors of 0.014 to 0.032
 * cost between -0.3 and 0.9 pp in no order, while layers kept float at a limit of 0.02 cost up to two fifths of the gain in time.
 */
export const TOLERANCE = 0.05;
/** Layers that are measured one by one: those that a proxy puts first. The bad ones are few and far ahead. */
const MEASURED = 16;
/** At most this share of the convolutions goes back: with more of them float there is nothing left to gain. */
const MOST_FLOAT = 0.25;
/** Two neighbours at least, even in a small network: the tensor between them is float only if both are. */
const LEAST_TRIED = 2;
/** Sizes of the sets that are tried, worst layers first. */
const STEPS = [1, 2, 4, 8, 16, 32, 64];

/** Outputs of a model on images: one array [images, …] per output. @throws CANCELLED */
export async function outputsOn(
  model: Model,
  source: ImageSource,
  images: readonly number[],
  options: { size: number; threads: number; batch?: number | undefined; signal?: AbortSignal | undefined },
): Promise<Float32Array[]> {
  const input = runtimeInputs(model.graph)[0]!.name;
  const names = model.graph.outputs.map(({ name }) => name);
  const parts = names.map((): Float32Array[] => []);
  const batch = options.batch ?? 8;
  await using session = await openSession(encodeModel(model), { threads: options.threads });
  for (let start = 0; start < images.length; start += batch) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const some = images.slice(start, start + batch);
    const data = await source.tensor(some, options.size);
    const values = await session.run({
      [input]: { type: 'float32', dims: [some.length, 3, options.size, options.size], data },
    });
    names.forEach((name, i) => parts[i]!.push(Float32Array.from(values[name]!.data as Float32Array)));
  }
  return parts.map((chunks) => {
    const all = new Float32Array(chunks.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const chunk of chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  });
}

/**
 * Squared error relative to the variance over the images (what tells images apart is what a head can use), mean over the outputs.
 * @param images rows of each output
 */
export function relativeOutputError(
  wanted: readonly Float32Array[],
  given: readonly Float32Array[],
  images: number,
): number {
  let sum = 0;
  wanted.forEach((reference, k) => {
    const other = given[k]!;
    const width = reference.length / images;
    let error = 0;
    let variance = 0;
    for (let j = 0; j < width; j++) {
      let mean = 0;
      for (let i = j; i < reference.length; i += width) mean += reference[i]! / images;
      for (let i = j; i < reference.length; i += width) {
        error += (reference[i]! - other[i]!) ** 2;
        variance += (reference[i]! - mean) ** 2;
      }
    }
    sum += error / Math.max(variance, 1e-12);
  });
  return Number.isNaN(sum) ? Infinity : sum / wanted.length;
}

/** Rounding noise relative to the signal: steps of the tensors at both borders, and of the weights. A proxy, to know what to measure. */
const roundingNoise = (
  { model, ranges, rule }: { model: Model; ranges: ReadonlyMap<string, ActivationRange>; rule: RangeRule },
  { conv, input, output }: Plan,
  bits: 7 | 8,
): number => {
  const ofTensor = (name: string): number => {
    const range = ranges.get(name)!;
    const { scale } = uint8Parameters(range, rule);
    const mean = range.sample.reduce((sum, x) => sum + x, 0) / range.sample.length;
    const variance = range.sample.reduce((sum, x) => sum + (x - mean) ** 2, 0) / range.sample.length;
    return scale ** 2 / 12 / Math.max(variance, 1e-12);
  };
  const weight = model.graph.initializers.get(conv.inputs[1]!)!;
  const data = float32Of(weight);
  const { rounded } = quantizeWeights(weight, bits);
  let [error, energy] = [0, 1e-12];
  for (let i = 0; i < data.length; i++) {
    error += (rounded[i]! - data[i]!) ** 2;
    energy += data[i]! ** 2;
  }
  return ofTensor(input) + ofTensor(output) + error / energy;
};

/** From here on DequantizeLinear takes a scale per channel (Operators.md, its attribute `axis`). */
const LEAST_OPSET = 13;

/** @throws UNSUPPORTED_OP */
function requireQuantizable(model: Model, [first]: readonly Plan[]): void {
  const opset = opsetOf(model);
  const refuse = (node: Node | undefined, problem: string) =>
    new AppError('UNSUPPORTED_OP', {
      op: node?.op ?? 'graph',
      opset,
      node: node?.name || node?.outputs[0] || '',
      problem,
    });
  if (!first) throw refuse(model.graph.nodes[0], 'there is no convolution with constant weights to be quantised');
  if (opset >= LEAST_OPSET) return;
  throw refuse(
    first.conv,
    `INT8 needs opset ${LEAST_OPSET} or newer, for a scale per channel: export the model with it`,
  );
}

/** @throws CANCELLED, UNSUPPORTED_OP where nothing can be quantised, or the opset is too old for it */
export async function chooseInteger(given: Model, source: ImageSource, options: ChooseOptions): Promise<IntegerChoice> {
  // Exporters put a Constant, an Identity or a Cast before weights; only what is stored as it is used is taken for one.
  const model = foldConstants(given);
  const { compared, weightBits, tolerance = TOLERANCE } = options;
  const plans = planQuantization(model);
  requireQuantizable(model, plans);
  const wanted = await outputsOn(model, source, compared, options);
  const errorOf = async (candidate: Model): Promise<number> =>
    relativeOutputError(wanted, await outputsOn(candidate, source, compared, options), compared.length);

  interface Base {
    model: Model;
    ranges: ReadonlyMap<string, ActivationRange>;
    levelling: Levelling;
    rule: RangeRule;
    error: number;
    weights?: ReadonlyMap<string, RoundedWeights>;
  }
  const measured = async (base: Omit<Base, 'rule' | 'error'>, rule: RangeRule): Promise<Base> => {
    const error = await errorOf(quantizeModel(base.model, base.ranges, { rule, weightBits, weights: base.weights }));
    options.onProgress?.(0.1);
    return { ...base, rule, error };
  };
  const observed = (of: Model, images = options.images) =>
    observeRanges(of, tensorsOf(planQuantization(of)), source, { ...options, images });
  const [first, ...otherRules] = RANGE_RULES as readonly [RangeRule, ...RangeRule[]];
  let chosen = await measured({ model, ranges: await observed(model), levelling: 'none' }, first);
  const levelled: { levelling: Levelling; model: Model }[] = [];
  const equal = equalizeWeights(model);
  if (equal.pairs > 0) levelled.push({ levelling: 'weights', model: equal.model });
  const balanced = balanceActivations(model, chosen.ranges, weightBits);
  if (balanced.groups > 0) levelled.push({ levelling: 'activations', model: balanced.model });
  // Not every rule with every way to level: what is best of the one is nearly always best of the other, and each costs passes over images.
  for (const each of levelled) {
    const made = await measured({ ...each, ranges: await observed(each.model) }, first);
    if (made.error < chosen.error) chosen = made;
  }
  // Of few images these are the same.
  if (options.ranged && options.ranged.length > options.images.length)
    chosen = await measured({ ...chosen, ranges: await observed(chosen.model, options.ranged) }, first);
  for (const other of otherRules) {
    const made = await measured(chosen, other);
    if (made.error < chosen.error) chosen = made;
  }
  const compensated = await compensateRounding(chosen.model, planQuantization(chosen.model), source, {
    ...options,
    weightBits,
  });
  const rounded = await measured({ ...chosen, weights: compensated }, chosen.rule);
  if (rounded.error < chosen.error) chosen = rounded;
  const { weights, rule } = chosen;
  const make = (keepFloat: ReadonlySet<string>): Model =>
    quantizeModel(chosen.model, chosen.ranges, { rule, weightBits, keepFloat, weights });
  const result = (keptFloat: IntegerChoice['keptFloat'], made: Model, error: number): IntegerChoice => ({
    model: made,
    rule: chosen.rule,
    levelling: chosen.levelling,
    compensated: weights !== undefined,
    fullError: chosen.error,
    error,
    keptFloat,
    integers: plans.length - keptFloat.length,
  });
  if (chosen.error <= tolerance) return result([], make(new Set()), chosen.error);

  // What each layer costs alone; errors of layers nearly add up, so their order is that of the whole.
  const all = planQuantization(chosen.model);
  const names = all.map(({ conv }) => conv.outputs[0]!);
  const noise = new Map(all.map((plan) => [plan.conv.outputs[0]!, roundingNoise(chosen, plan, weightBits)]));
  const suspects = [...names].sort((a, b) => noise.get(b)! - noise.get(a)!).slice(0, MEASURED);
  const alone: { node: string; error: number }[] = [];
  for (const [i, node] of suspects.entries()) {
    alone.push({ node, error: await errorOf(make(new Set(names.filter((name) => name !== node)))) });
    options.onProgress?.(0.1 + (0.7 * (i + 1)) / suspects.length);
  }
  alone.sort((a, b) => b.error - a.error);
  let least = { kept: [] as typeof alone, model: make(new Set()), error: chosen.error };
  for (const count of STEPS) {
    if (count > Math.max(LEAST_TRIED, MOST_FLOAT * names.length)) break;
    const kept = alone.slice(0, count);
    if (kept.length < count) break;
    const made = make(new Set(kept.map(({ node }) => node)));
    const error = await errorOf(made);
    if (error < least.error) least = { kept, model: made, error };
    if (error <= tolerance) break;
  }
  return result(least.kept, least.model, least.error);
}
