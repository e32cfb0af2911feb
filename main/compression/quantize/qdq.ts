import { assert } from '../../contract/errors.ts';
import {
  elementCount,
  eliminateDead,
  float32Of,
  float32Tensor,
  freshName,
  indexGraph,
  int32Tensor,
  int64Tensor,
  int8Tensor,
  intAttribute,
  node as makeNode,
  uint8Tensor,
  valueNames,
  verifyStructure,
  withGraph,
  type ConstTensor,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import { uint8Parameters, type ActivationRange, type RangeRule } from './calibrate.ts';

/*
 * INT8 as QuantizeLinear/DequantizeLinear pairs, which the runtime fuses into integer kernels: per-channel symmetric int8
 * weights, per-tensor uint8 activations, int32 biases. One pair per quantised tensor, so neighbours stay in integers.
 */

export interface QuantizeOptions {
  rule: RangeRule;
  /** 7 where the processor adds pairs of products in 16 bits (x86 without VNNI): eight bits would saturate there. */
  weightBits: 7 | 8;
  /** Convolutions that stay float, by the name of their output; default: none. */
  keepFloat?: ReadonlySet<string>;
  /** Weights that are rounded already, by the name of the convolution's output; the others go to the nearest step. */
  weights?: ReadonlyMap<string, RoundedWeights> | undefined;
}

const ACTIVATIONS = new Set(['Relu', 'Clip']);

export interface Plan {
  conv: Node;
  input: string;
  /** Behind the activation function that is fused with the convolution. */
  output: string;
}

/** Why a convolution cannot be quantised; null: it can. */
function obstacleOf({ graph }: Model, { inputs: [input = '', weight = '', bias = ''] }: Node): string | null {
  if (graph.initializers.has(input)) return 'its input is a constant';
  if (!graph.initializers.has(weight)) return 'its weight is computed at run time';
  return bias !== '' && !graph.initializers.has(bias) ? 'its bias is computed at run time' : null;
}

/** Convolutions that cannot be quantised, by the name of their output, and why not. */
export const notQuantizable = (of: Model): { node: string; why: string }[] =>
  of.graph.nodes.flatMap((node) => {
    const why = node.op === 'Conv' && node.domain === '' ? obstacleOf(of, node) : null;
    return why === null ? [] : [{ node: node.outputs[0]!, why }];
  });

/**
 * Convolutions that can be quantised (constants are folded first: foldConstants), with the tensors at their borders. Depthwise ones go too: a float convolution between
 * two quantised ones gets its weights rounded per tensor by ORT 1.30's own optimiser (MobileNetV2: cosine of the features
 * 0.26 with it, 0.98 without), and staying in integers saves the conversions at the borders.
 */
export function planQuantization(of: Model): Plan[] {
  const index = indexGraph(of.graph);
  const plans: Plan[] = [];
  for (const conv of of.graph.nodes) {
    if (conv.op !== 'Conv' || conv.domain !== '') continue;
    if (obstacleOf(of, conv) !== null) continue;
    const output = conv.outputs[0]!;
    const readers = index.consumers.get(output) ?? [];
    const activation = readers.length === 1 && ACTIVATIONS.has(readers[0]!.op) ? readers[0]! : null;
    plans.push({ conv, input: conv.inputs[0]!, output: activation ? activation.outputs[0]! : output });
  }
  return plans;
}

/** Activations whose ranges quantisation needs. */
export const tensorsOf = (plans: readonly Plan[]): string[] => [
  ...new Set(plans.flatMap(({ input, output }) => [input, output])),
];

/** Integer weights with what they stand for. */
export interface RoundedWeights {
  values: Int8Array;
  /** Per output channel. */
  scales: Float32Array;
  /** values * scales. */
  rounded: Float32Array;
}

/** Of a row of zeros: small, so that the bias, stored in steps of it, keeps its value. */
const SCALE_OF_NOTHING = 2 ** -40;
const MOST_BIAS = 2 ** 31 - 1;

/** Symmetric scales per output channel; `most`: the largest integer. */
export const weightScales = (weight: ConstTensor, bits: 7 | 8): { scales: Float32Array; most: number } => {
  const data = float32Of(weight);
  const rows = weight.dims[0]!;
  const columns = data.length / rows;
  const most = bits === 8 ? 127 : 63;
  const scales = new Float32Array(rows);
  for (let o = 0; o < rows; o++) {
    let largest = 0;
    for (let i = o * columns; i < (o + 1) * columns; i++) largest = Math.max(largest, Math.abs(data[i]!));
    scales[o] = Math.fround(largest > 0 ? largest / most : SCALE_OF_NOTHING);
  }
  return { scales, most };
};

/** Each weight to the nearest step. */
export const quantizeWeights = (weight: ConstTensor, bits: 7 | 8): RoundedWeights => {
  const data = float32Of(weight);
  const { scales, most } = weightScales(weight, bits);
  const columns = data.length / scales.length;
  const values = new Int8Array(data.length);
  const rounded = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const scale = scales[Math.floor(i / columns)]!;
    values[i] = Math.max(-most, Math.min(most, Math.round(data[i]! / scale)));
    rounded[i] = values[i]! * scale;
  }
  return { values, scales, rounded };
};

/**
 * A bias is stored in 32 bits, in steps of the input's scale times that of its row: of a row whose weights are next to nothing beside its bias (a channel that is constant after its batch
 * normalisation was folded) it would not fit. Such a row gets a coarser scale, as ORT's own quantiser gives it.
 */
function withRoomForBias(
  { values, scales, rounded }: RoundedWeights,
  original: Float32Array,
  bias: Float32Array,
  inputScale: number,
): RoundedWeights {
  const wide = { values: values.slice(), scales: scales.slice(), rounded: rounded.slice() };
  const columns = values.length / scales.length;
  for (let o = 0; o < scales.length; o++) {
    // Half of the room is left to what bias correction adds.
    const least = Math.fround((2 * Math.abs(bias[o]!)) / (inputScale * MOST_BIAS));
    if (scales[o]! >= least) continue;
    wide.scales[o] = least;
    for (let i = o * columns; i < (o + 1) * columns; i++) {
      wide.values[i] = Math.round(original[i]! / least);
      wide.rounded[i] = wide.values[i]! * least;
    }
  }
  return wide;
}

/** @param ranges of all `tensorsOf(planQuantization(...))` */
export function quantizeModel(
  of: Model,
  ranges: ReadonlyMap<string, ActivationRange>,
  options: QuantizeOptions,
): Model {
  const all = planQuantization(of);
  const kept = options.keepFloat ?? new Set<string>();
  const plans = all.filter(({ conv }) => !kept.has(conv.outputs[0]!));
  const guarded = new Set(all.filter(({ conv }) => kept.has(conv.outputs[0]!)).map(({ conv }) => conv));
  const byConv = new Map(plans.map((plan) => [plan.conv, plan]));
  const names = valueNames(of.graph);
  const initializers = new Map(of.graph.initializers);
  const scaleOf = new Map<string, number>();
  /** Quantised tensor -> its dequantised twin. */
  const twin = new Map<string, string>();
  const pairs = new Map<string, Node[]>();
  const constant = (base: string, tensor: ConstTensor): string => {
    const name = freshName(names, base);
    initializers.set(name, tensor);
    return name;
  };
  for (const tensor of tensorsOf(plans)) {
    const range = ranges.get(tensor);
    assert(range, `the range of ${tensor} was observed`);
    const { scale, zeroPoint } = uint8Parameters(range, options.rule);
    scaleOf.set(tensor, scale);
    const scaleName = constant(`${tensor}_scale`, float32Tensor([], [scale]));
    const zeroName = constant(`${tensor}_zero`, uint8Tensor([], [zeroPoint]));
    const quantized = freshName(names, `${tensor}_q`);
    const dequantized = freshName(names, `${tensor}_dq`);
    twin.set(tensor, dequantized);
    pairs.set(tensor, [
      makeNode('QuantizeLinear', [tensor, scaleName, zeroName], [quantized]),
      makeNode('DequantizeLinear', [quantized, scaleName, zeroName], [dequantized]),
    ]);
  }
  const graphInputs = new Set(of.graph.inputs.map(({ name }) => name));
  const nodes: Node[] = [];
  for (const [tensor, pair] of pairs) if (graphInputs.has(tensor)) nodes.push(...pair);
  /** The activation function between a convolution and its quantised output must read the convolution itself. */
  for (const node of of.graph.nodes) {
    const inputs = node.inputs.map((name) => twin.get(name) ?? name);
    const plan = byConv.get(node);
    if (guarded.has(node)) {
      const { nodes: weightNodes, weight } = guardedWeights(node);
      nodes.push(...weightNodes, { ...node, inputs: [inputs[0]!, weight, ...inputs.slice(2)] });
    } else if (!plan) nodes.push({ ...node, inputs });
    else {
      const { nodes: weightNodes, weight, bias } = integerWeights(node, plan.input);
      nodes.push(...weightNodes, { ...node, inputs: [inputs[0]!, weight, ...(bias === null ? [] : [bias])] });
    }
    for (const output of node.outputs) nodes.push(...(pairs.get(output) ?? []));
  }
  const result = withGraph(of, eliminateDead({ ...of.graph, nodes, initializers, valueInfo: new Map() }));
  verifyStructure(result);
  return result;

  /**
   * The weights of a convolution that stays float, as 32-bit integers of its largest weight: exact to 2^-31 of it. ORT 1.30 rounds a
   * constant float weight between integer neighbours to 8 bits per tensor, and takes any weight right behind a DequantizeLinear for one of
   * its integer kernels; behind a Reshape it leaves it alone.
   */
  function guardedWeights(conv: Node): { nodes: Node[]; weight: string } {
    const weightName = conv.inputs[1]!;
    const weight = of.graph.initializers.get(weightName)!;
    const data = float32Of(weight);
    const rows = weight.dims[0]!;
    const perRow = data.length / rows;
    const scales = new Float32Array(rows);
    const values = new Int32Array(data.length);
    for (let o = 0; o < rows; o++) {
      let largest = 0;
      for (let i = o * perRow; i < (o + 1) * perRow; i++) largest = Math.max(largest, Math.abs(data[i]!));
      const scale = Math.fround(largest > 0 ? largest / (2 ** 31 - 256) : 1);
      scales[o] = scale;
      for (let i = o * perRow; i < (o + 1) * perRow; i++) {
        values[i] = Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.round(data[i]! / scale)));
      }
    }
    const stored = constant(`${weightName}_i32`, int32Tensor([rows, perRow], values));
    const scaleName = constant(`${weightName}_i32_scale`, float32Tensor([rows], scales));
    const shape = constant(`${weightName}_i32_shape`, int64Tensor([weight.dims.length], weight.dims));
    const flat = freshName(names, `${weightName}_i32_dq`);
    const name = freshName(names, `${weightName}_i32_w`);
    return {
      nodes: [
        makeNode('DequantizeLinear', [stored, scaleName], [flat], { axis: 0 }),
        makeNode('Reshape', [flat, shape], [name]),
      ],
      weight: name,
    };
  }

  function integerWeights(conv: Node, input: string): { nodes: Node[]; weight: string; bias: string | null } {
    const [, weightName, biasName] = conv.inputs as [string, string, string | undefined];
    const weight = of.graph.initializers.get(weightName)!;
    const rows = weight.dims[0]!;
    const original = float32Of(weight);
    const bias = biasName ? float32Of(of.graph.initializers.get(biasName)!) : new Float32Array(rows);
    const inputScale = scaleOf.get(input)!;
    const { values, scales, rounded } = withRoomForBias(
      options.weights?.get(conv.outputs[0]!) ?? quantizeWeights(weight, options.weightBits),
      original,
      bias,
      inputScale,
    );
    const scaleName = constant(`${weightName}_scale`, float32Tensor([rows], scales));
    const zeroName = constant(`${weightName}_zero`, int8Tensor([rows], new Int8Array(rows)));
    const stored = constant(`${weightName}_q`, int8Tensor(weight.dims, values));
    const floatName = freshName(names, `${weightName}_dq`);
    const made = [makeNode('DequantizeLinear', [stored, scaleName, zeroName], [floatName], { axis: 0 })];
    // Bias correction: what rounding the weights shifts the mean output by, on the calibration images.
    const means = ranges.get(input)!.channelMeans;
    const perRow = original.length / rows;
    const spatial = elementCount(weight.dims.slice(2));
    const perGroup = rows / intAttribute(conv, 'group', 1);
    const integerBias = new Int32Array(rows);
    const biasScales = new Float32Array(rows);
    for (let o = 0; o < rows; o++) {
      let shift = 0;
      const first = Math.floor(o / perGroup) * weight.dims[1]!;
      for (let i = 0; i < perRow; i++) {
        const channel = first + Math.floor(i / spatial);
        shift += (rounded[o * perRow + i]! - original[o * perRow + i]!) * (means[channel] ?? 0);
      }
      biasScales[o] = Math.fround(inputScale * scales[o]!);
      const value = Math.round((bias[o]! - shift) / biasScales[o]!);
      integerBias[o] = Math.max(-MOST_BIAS, Math.min(MOST_BIAS, value));
    }
    const storedBias = constant(`${weightName}_bias_q`, int32Tensor([rows], integerBias));
    const biasScale = constant(`${weightName}_bias_scale`, float32Tensor([rows], biasScales));
    const biasZero = constant(`${weightName}_bias_zero`, int32Tensor([rows], new Int32Array(rows)));
    const floatBias = freshName(names, `${weightName}_bias_dq`);
    made.push(makeNode('DequantizeLinear', [storedBias, biasScale, biasZero], [floatBias], { axis: 0 }));
    return { nodes: made, weight: floatName, bias: floatBias };
  }
}
