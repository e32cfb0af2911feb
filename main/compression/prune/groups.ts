import { assert } from '../../contract/errors.ts';
import { intAttribute, usedBy, type Graph, type Node } from '../../onnx/index.ts';

/*
 * Dependency groups: which weights must lose the same channels together (the idea of DepGraph, Fang et al. 2023). Every
 * activation has one channel axis (axis 1); operators that keep channels apart tie the axes of their inputs and outputs, and
 * each set of tied axes is one group. What an operator means for a group is a row of `rules`; an operator without a row
 * freezes the groups that it touches, and the group says which one did.
 */

/** A constant that is cut along `axis` when channels of a group go. */
export interface Slice {
  initializer: string;
  axis: number;
}

export interface Consumer {
  node: Node;
  /** Weight [out, in, kh, kw] of a Conv, or of a Gemm. */
  weight: string;
  /** Axis of `weight` that runs over the group's channels. */
  axis: number;
}

export interface DependencyGroup {
  /** Name of the first tensor of the group, in graph order. */
  id: string;
  channels: number;
  /** Activations that carry these channels, in graph order. */
  tensors: readonly string[];
  /** Nodes that make these channels from others (Conv, Gemm). */
  producers: readonly Node[];
  /** Nodes that mix these channels into others; their input axis is cut. */
  consumers: readonly Consumer[];
  /** All that is cut: producers' rows and biases, per-channel constants, consumers' columns. */
  slices: readonly Slice[];
  /** Names of graph outputs that carry these channels. */
  outputs: readonly string[];
  /** Why the group cannot be pruned; null: it can. */
  frozen: string | null;
}

class Spaces {
  readonly #parent = new Map<string, string>();
  readonly frozen = new Map<string, string>();
  readonly slices: { tensor: string; slice: Slice }[] = [];
  readonly producers: { tensor: string; node: Node }[] = [];
  readonly consumers: { tensor: string; consumer: Consumer }[] = [];
  readonly channels = new Map<string, number>();

  root(tensor: string): string {
    let at = tensor;
    for (;;) {
      const parent = this.#parent.get(at);
      if (parent === undefined || parent === at) return at;
      at = parent;
    }
  }

  tie(a: string, b: string): void {
    const rootA = this.root(a);
    const rootB = this.root(b);
    if (rootA !== rootB) this.#parent.set(rootB, rootA);
  }

  freeze(tensor: string, why: string): void {
    if (tensor !== '' && !this.frozen.has(tensor)) this.frozen.set(tensor, why);
  }
}

interface RuleContext {
  graph: Graph;
  node: Node;
  spaces: Spaces;
  producerOf: ReadonlyMap<string, Node>;
  /** Dims of a constant input; null: an activation or left out. */
  constant: (index: number) => readonly number[] | null;
}

/** Returns why the operator cannot be seen through, or null. */
type Rule = (context: RuleContext) => string | null;

const keepsChannels: Rule = ({ node, spaces }) => {
  spaces.tie(node.inputs[0]!, node.outputs[0]!);
  return null;
};

/** Add, Mul … of activations of one shape, or with constants that are scalars or one value per channel. */
const elementwise: Rule = ({ node, spaces, constant }) => {
  const activations = node.inputs.filter((_, i) => constant(i) === null);
  for (const input of activations) spaces.tie(input, node.outputs[0]!);
  for (const [i, name] of node.inputs.entries()) {
    const dims = constant(i);
    if (dims === null || dims.every((dim) => dim === 1)) continue;
    // Broadcasting aligns at the right: the channel axis of [N,C,H,W] is the third from the end.
    const axis = dims.length - 3;
    if (axis < 0 || dims.some((dim, k) => k !== axis && dim !== 1))
      return `its constant has the shape [${dims.join(',')}]`;
    spaces.slices.push({ tensor: node.outputs[0]!, slice: { initializer: name, axis } });
  }
  return null;
};

const conv: Rule = ({ node, spaces, constant }) => {
  const dims = constant(1);
  if (dims === null) return 'its weight is not a constant';
  if (node.inputs.length > 2 && node.inputs[2] !== '' && constant(2) === null) return 'its bias is not a constant';
  const [input, weight, bias] = node.inputs as [string, string, string | undefined];
  const output = node.outputs[0]!;
  const group = intAttribute(node, 'group', 1);
  const [rows, columns] = dims as [number, number];
  spaces.channels.set(output, rows);
  const perOutput: Slice[] = [{ initializer: weight, axis: 0 }];
  if (bias) perOutput.push({ initializer: bias, axis: 0 });
  for (const slice of perOutput) spaces.slices.push({ tensor: output, slice });
  if (group === 1) {
    spaces.channels.set(input, columns);
    spaces.producers.push({ tensor: output, node });
    spaces.consumers.push({ tensor: input, consumer: { node, weight, axis: 1 } });
    spaces.slices.push({ tensor: input, slice: { initializer: weight, axis: 1 } });
    return null;
  }
  if (columns === 1 && rows === group) {
    spaces.tie(input, output);
    return null;
  }
  return `a convolution in ${group} groups of ${columns} channels`;
};

const gemm: Rule = ({ node, spaces, constant }) => {
  const dims = constant(1);
  if (dims === null || constant(0) !== null) return 'its weight is not a constant';
  if (intAttribute(node, 'transA', 0) !== 0) return 'its input is transposed';
  const bias = node.inputs[2];
  if (bias !== undefined && bias !== '' && constant(2)?.length !== 1) return 'its bias is not one value per output';
  const inputAxis = intAttribute(node, 'transB', 0) === 1 ? 1 : 0;
  const [input, weight] = node.inputs as [string, string];
  const output = node.outputs[0]!;
  spaces.channels.set(input, dims[inputAxis]!);
  spaces.channels.set(output, dims[1 - inputAxis]!);
  spaces.producers.push({ tensor: output, node });
  spaces.slices.push({ tensor: output, slice: { initializer: weight, axis: 1 - inputAxis } });
  if (bias) spaces.slices.push({ tensor: output, slice: { initializer: bias, axis: 0 } });
  spaces.consumers.push({ tensor: input, consumer: { node, weight, axis: inputAxis } });
  spaces.slices.push({ tensor: input, slice: { initializer: weight, axis: inputAxis } });
  return null;
};

const batchNormalization: Rule = ({ node, spaces, constant }) => {
  if ([1, 2, 3, 4].some((i) => constant(i) === null)) return 'its statistics are not constants';
  spaces.tie(node.inputs[0]!, node.outputs[0]!);
  for (let i = 1; i <= 4; i++) {
    spaces.slices.push({ tensor: node.outputs[0]!, slice: { initializer: node.inputs[i]!, axis: 0 } });
  }
  return null;
};

/** Channels stay channels only where each has one value left: behind a global pool. */
const flatten: Rule = ({ node, spaces, producerOf }) => {
  if (intAttribute(node, 'axis', 1) !== 1) return 'it flattens another axis than the first';
  const before = producerOf.get(node.inputs[0]!)?.op;
  if (before !== 'GlobalAveragePool' && before !== 'GlobalMaxPool') return 'it does not follow a global pool';
  spaces.tie(node.inputs[0]!, node.outputs[0]!);
  return null;
};

const reduceMean: Rule = ({ node, spaces }) => {
  const axes = node.attributes.get('axes');
  const spatial = axes?.kind === 'ints' && axes.value.every((axis) => [2, 3, -1, -2].includes(Number(axis)));
  if (!spatial || axes.value.length !== 2) return 'it does not average exactly the two image axes';
  spaces.tie(node.inputs[0]!, node.outputs[0]!);
  return null;
};

const pad: Rule = ({ graph, node, spaces }) => {
  const pads = graph.initializers.get(node.inputs[1] ?? '');
  if (!pads || pads.type !== 'int64' || pads.dims[0] !== 8) return 'its pads are not constant for [N,C,H,W]';
  const view = new DataView(pads.bytes.buffer, pads.bytes.byteOffset, pads.bytes.byteLength);
  for (const at of [0, 1, 4, 5]) if (view.getBigInt64(at * 8, true) !== 0n) return 'it pads channels';
  spaces.tie(node.inputs[0]!, node.outputs[0]!);
  return null;
};

export const rules: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ...[
    'Relu',
    'Clip',
    'HardSwish',
    'HardSigmoid',
    'Sigmoid',
    'Tanh',
    'LeakyRelu',
    'Elu',
    'Identity',
    'Dropout',
    'MaxPool',
    'AveragePool',
    'GlobalAveragePool',
    'GlobalMaxPool',
  ].map((op): [string, Rule] => [op, keepsChannels]),
  ...['Add', 'Sub', 'Mul', 'Div'].map((op): [string, Rule] => [op, elementwise]),
  ['Conv', conv],
  ['Gemm', gemm],
  ['BatchNormalization', batchNormalization],
  ['Flatten', flatten],
  ['ReduceMean', reduceMean],
  ['Pad', pad],
]);

/** Groups of a graph, in the order of their first tensor. Groups without a producer (the image) are left out. */
export function findGroups(graph: Graph): DependencyGroup[] {
  const spaces = new Spaces();
  const producerOf = new Map<string, Node>();
  const order = new Map<string, number>();
  const uses = new Map<string, number>();
  for (const node of graph.nodes) {
    for (const output of node.outputs) {
      producerOf.set(output, node);
      order.set(output, order.size);
    }
    for (const input of usedBy(node)) uses.set(input, (uses.get(input) ?? 0) + 1);
  }
  for (const input of graph.inputs) spaces.freeze(input.name, 'the image itself');
  for (const node of graph.nodes) {
    const constant = (index: number): readonly number[] | null =>
      graph.initializers.get(node.inputs[index] ?? '')?.dims ?? null;
    const rule = rules.get(node.op);
    const why =
      rule && node.domain === ''
        ? rule({ graph, node, spaces, producerOf, constant })
        : 'pruning does not know this operator';
    if (why === null) continue;
    for (const name of [...usedBy(node), ...node.outputs]) {
      if (!graph.initializers.has(name)) spaces.freeze(name, `${node.op} "${node.outputs[0]}": ${why}`);
    }
  }

  const rootsOf = new Map<string, string[]>();
  for (const tensor of order.keys()) {
    const root = spaces.root(tensor);
    rootsOf.set(root, [...(rootsOf.get(root) ?? []), tensor]);
  }
  const groups: DependencyGroup[] = [];
  for (const [root, tensors] of rootsOf) {
    const inside = <T extends { tensor: string }>(items: readonly T[]) =>
      items.filter(({ tensor }) => spaces.root(tensor) === root);
    const producers = inside(spaces.producers).map(({ node }) => node);
    if (producers.length === 0) continue;
    const sizes = new Set([...spaces.channels].filter(([tensor]) => spaces.root(tensor) === root).map(([, n]) => n));
    const slices = inside(spaces.slices).map(({ slice }) => slice);
    let frozen: string | null = null;
    for (const [tensor, why] of spaces.frozen) if (spaces.root(tensor) === root) frozen ??= why;
    if (sizes.size !== 1) frozen ??= `its tensors disagree on the number of channels (${[...sizes].join(', ')})`;
    const shared = slices.find(({ initializer }) => (uses.get(initializer) ?? 0) > 1);
    if (shared) frozen ??= `the constant "${shared.initializer}" is used by several nodes`;
    const outputs = graph.outputs.map(({ name }) => name).filter((name) => spaces.root(name) === root);
    groups.push({
      id: tensors[0]!,
      channels: Math.max(...sizes),
      tensors,
      producers,
      consumers: inside(spaces.consumers).map(({ consumer }) => consumer),
      slices,
      outputs,
      frozen,
    });
  }
  assert(new Set(groups.map(({ id }) => id)).size === groups.length, 'a tensor belongs to one group');
  return groups.sort((a, b) => order.get(a.id)! - order.get(b.id)!);
}
