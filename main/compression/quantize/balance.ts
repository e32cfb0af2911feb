import { assert } from '../../contract/errors.ts';
import {
  constantOf,
  elementCount,
  float32Of,
  float32Tensor,
  freshName,
  indexGraph,
  intAttribute,
  node as makeNode,
  setInitializers,
  valueNames,
  withGraph,
  type ConstTensor,
  type GraphIndex,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import type { ActivationRange } from './calibrate.ts';

/*
 * Activations share one scale per tensor, so a channel that stays small has few of the 256 steps. Channel i is divided by
 * s_i = (r_i / r_max)^strength, strength between 0 and 1, where it is made and multiplied where it is read (r: largest magnitude on the calibration images), which the
 * network does not notice and which costs no time; weights have a scale per output channel and bear it (the idea of SmoothQuant, Xiao et
 * al. 2023, equation 4, here also through depthwise convolutions and along residual sums).
 */

export interface Balanced {
  model: Model;
  /** Sets of tensors with scales of their own. */
  groups: number;
}

/** A channel is made at most this many times as strong: what calibration hardly saw may be seen later. */
const MOST = 64;

/** f(s x) = s f(x) for s > 0. Clip only where it cuts nothing off that calibration saw: s <= 1 leaves the largest as it was. */
const scales = (node: Node, constant: (name: string) => ConstTensor | undefined): boolean => {
  if (node.op === 'Relu' || node.op === 'Identity') return true;
  if (node.op !== 'Clip') return false;
  const low = node.inputs[1] ? constant(node.inputs[1]) : undefined;
  return low !== undefined && float32Of(low)[0] === 0;
};

const groupsOf = (model: Model, index: GraphIndex): string[][] => {
  const { graph } = model;
  const parent = new Map<string, string>();
  const find = (name: string): string => {
    const up = parent.get(name) ?? name;
    if (up === name) return name;
    const root = find(up);
    parent.set(name, root);
    return root;
  };
  const fixed = new Set([...graph.inputs.map(({ name }) => name), ...index.outputs]);
  const uses = new Map<string, number>();
  for (const { inputs } of graph.nodes) for (const name of inputs) uses.set(name, (uses.get(name) ?? 0) + 1);
  const own = (name: string | undefined): boolean =>
    !name || (graph.initializers.has(name) && uses.get(name) === 1 && !index.outputs.has(name));
  for (const node of graph.nodes) {
    const [first, second] = node.inputs;
    const output = node.outputs[0]!;
    if (scales(node, (name) => constantOf(graph, index, name))) parent.set(find(first!), find(output));
    else if (node.op === 'Add' && [first!, second!].every((name) => !constantOf(graph, index, name))) {
      parent.set(find(first!), find(output));
      parent.set(find(second!), find(output));
    } else if (node.op === 'Conv' && graph.initializers.has(second!) && own(second) && own(node.inputs[2])) {
      const [rows, perRow] = graph.initializers.get(second!)!.dims as [number, number];
      const groups = intAttribute(node, 'group', 1);
      // Grouped convolutions other than depthwise ones read several channels per group: left alone.
      if (groups > 1 && !(perRow === 1 && rows === groups)) for (const name of [first!, output]) fixed.add(name);
    } else if (node.op === 'GlobalAveragePool') fixed.add(output);
    else for (const name of [...node.inputs, ...node.outputs]) fixed.add(name);
  }
  const members = new Map<string, string[]>();
  for (const { outputs } of graph.nodes) {
    for (const name of outputs) members.set(find(name), [...(members.get(find(name)) ?? []), name]);
  }
  const still = new Set([...fixed].map(find));
  return [...members].flatMap(([root, names]) => (still.has(root) ? [] : [names]));
};

/**
 * Rounding noise that the readers of a group would have at these scales, relative to what they make of it (channels taken as uncorrelated): of
 * the activations, which a step of the tensor's whole range rounds, and of the weights, whose rows have a step each.
 */
const noiseOf = (
  model: Model,
  index: GraphIndex,
  names: readonly string[],
  ranges: ReadonlyMap<string, ActivationRange>,
  scale: Float64Array,
  weightSteps: number,
): number => {
  let sum = 0;
  for (const name of names) {
    const range = ranges.get(name);
    if (!range) continue;
    const { channelPeaks, channelVariances } = range;
    const reach = channelPeaks.reduce((most, peak, c) => Math.max(most, peak / scale[c]!), 0);
    // A step of the whole range, signed or not: one and the same factor for all scales of this tensor.
    const activation = (reach / 255) ** 2 / 12;
    for (const reader of index.consumers.get(name) ?? []) {
      if (reader.op === 'GlobalAveragePool') {
        channelVariances.forEach((variance, c) => {
          if (variance > 0) sum += (activation * scale[c]! ** 2) / variance / scale.length;
        });
      }
      if (reader.op !== 'Conv') continue;
      const tensor = model.graph.initializers.get(reader.inputs[1]!)!;
      const weight = float32Of(tensor);
      const [rows, columns] = tensor.dims as [number, number];
      const kernel = weight.length / (rows * columns);
      const depthwise = intAttribute(reader, 'group', 1) > 1;
      for (let o = 0; o < rows; o++) {
        let [signal, carried, spread, largest] = [0, 0, 0, 0];
        for (let i = 0; i < columns; i++) {
          const c = depthwise ? o : i;
          let squares = 0;
          let most = 0;
          for (let k = (o * columns + i) * kernel, end = k + kernel; k < end; k++) {
            squares += weight[k]! ** 2;
            most = Math.max(most, Math.abs(weight[k]!));
          }
          signal += squares * channelVariances[c]!;
          carried += squares * scale[c]! ** 2;
          spread += (kernel * channelVariances[c]!) / scale[c]! ** 2;
          largest = Math.max(largest, most * scale[c]!);
        }
        if (signal > 0) {
          const rounded = ((largest / weightSteps) ** 2 / 12) * spread;
          sum += (activation * carried + rounded) / signal / rows;
        }
      }
    }
  }
  return sum;
};

/** How far channels may be brought together; one of these for each group. */
const STRENGTHS = [0, 0.25, 0.5, 0.75, 1];

/**
 * @param ranges of quantised tensors of this model
 * @param weightBits of the weights, which bear what activations gain
 */
export function balanceActivations(
  model: Model,
  ranges: ReadonlyMap<string, ActivationRange>,
  weightBits: 7 | 8,
): Balanced {
  const index = indexGraph(model.graph);
  const scaleOf = new Map<string, Float64Array>();
  let groups = 0;
  for (const names of groupsOf(model, index)) {
    const watched = names.flatMap((name) => ranges.get(name) ?? []);
    const channels = watched[0]?.channelPeaks.length ?? 0;
    if (channels < 2 || watched.some(({ channelPeaks }) => channelPeaks.length !== channels)) continue;
    // Each tensor has a scale of its own: what counts is how far a channel reaches within it.
    const reach = new Float64Array(channels);
    for (const { channelPeaks } of watched) {
      const most = channelPeaks.reduce((a, b) => Math.max(a, b), 0);
      if (most > 0) channelPeaks.forEach((peak, c) => (reach[c] = Math.max(reach[c]!, peak / most)));
    }
    const best = STRENGTHS.map((strength) => {
      const scale = reach.map((share) => (share === 0 ? 1 : Math.max(1 / MOST, share ** strength)));
      return { strength, scale, noise: noiseOf(model, index, names, ranges, scale, weightBits === 8 ? 127 : 63) };
    }).reduce((a, b) => (b.noise < a.noise ? b : a));
    if (best.strength === 0) continue;
    for (const name of names) scaleOf.set(name, best.scale);
    groups += 1;
  }
  if (groups === 0) return { model, groups };
  const tensors = new Map<string, ConstTensor>();
  const edit = (name: string, factor: (entry: number) => number): void => {
    const tensor = tensors.get(name) ?? model.graph.initializers.get(name)!;
    const data = float32Of(tensor);
    tensors.set(
      name,
      float32Tensor(
        tensor.dims,
        Float32Array.from(data, (value, i) => value * factor(i)),
      ),
    );
  };
  const names = valueNames(model.graph);
  const nodes = model.graph.nodes.flatMap((node): Node[] => {
    const read = scaleOf.get(node.inputs[0]!);
    const made = scaleOf.get(node.outputs[0]!);
    if (node.op === 'GlobalAveragePool' && read) {
      const raw = freshName(names, `${node.outputs[0]!}_balanced`);
      const back = freshName(names, `${node.outputs[0]!}_balance`);
      const rank = 4;
      tensors.set(back, float32Tensor([1, read.length, ...Array<number>(rank - 2).fill(1)], Float32Array.from(read)));
      return [{ ...node, outputs: [raw] }, makeNode('Mul', [raw, back], [node.outputs[0]!], {}, { name: back })];
    }
    // Of any other convolution the weight may be computed.
    if (node.op !== 'Conv' || (!made && !read)) return [node];
    const [, weight, bias] = node.inputs as [string, string, string | undefined];
    const { dims } = model.graph.initializers.get(weight)!;
    const [rows, columns] = dims as [number, number];
    const kernel = elementCount(dims.slice(2));
    if (made) {
      assert(made.length === rows, 'scales are those of the channels that are made');
      edit(weight, (i) => 1 / made[Math.floor(i / (columns * kernel))]!);
      if (bias) edit(bias, (i) => 1 / made[i]!);
    }
    if (read) {
      const depthwise = intAttribute(node, 'group', 1) > 1;
      edit(weight, (i) => read[depthwise ? Math.floor(i / kernel) : Math.floor(i / kernel) % columns]!);
    }
    return [node];
  });
  return { model: withGraph(model, setInitializers({ ...model.graph, nodes }, tensors)), groups };
}
