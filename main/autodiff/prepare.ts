import { AppError } from '../contract/errors.ts';
import {
  beginsAndEnds,
  eliminateDead,
  floatValue,
  intAttribute,
  intsAttribute,
  node as makeNode,
  opsetOf,
  padsOn,
  runtimeInputs,
  sortNodes,
  tensorAttribute,
  textAttribute,
  value as makeValue,
  withAttributes,
  type Graph,
  type Model,
  type Node,
} from '../onnx/index.ts';
import type { GraphWriter } from './graph-writer.ts';
import { TRAINING_DOMAIN } from './training-facts.ts';

/** Operator sets that rules and training ops are written for. */
const OPSETS = { from: 13, to: 21 };

/** A running statistic of batch normalisation: initializer of the forward model -> value that holds its next state. */
export type Running = Map<string, string>;

const failure = (writer: GraphWriter, node: Node, problem: string) =>
  new AppError('UNSUPPORTED_OP', {
    op: node.op,
    opset: writer.opset,
    node: node.name || node.outputs[0] || node.op,
    problem,
  });

/** @throws UNSUPPORTED_OP outside the operator sets that are understood. */
export function stepOpset(model: Model): number {
  const opset = opsetOf(model);
  if (opset < OPSETS.from || opset > OPSETS.to) {
    const first = model.graph.nodes[0];
    throw new AppError('UNSUPPORTED_OP', {
      op: first?.op ?? 'model',
      opset,
      node: first?.name ?? '',
      problem: `training takes opset ${OPSETS.from} to ${OPSETS.to}`,
    });
  }
  return Math.max(17, opset);
}

/** The part of the forward graph that `values` need. @throws INVALID_INPUT for a value the graph does not have. */
export function neededPart(model: Model, values: readonly string[]): Graph {
  const known = new Set([
    ...model.graph.initializers.keys(),
    ...runtimeInputs(model.graph).map(({ name }) => name),
    ...model.graph.nodes.flatMap((node) => node.outputs),
  ]);
  const missing = values.find((name) => !known.has(name));
  if (missing !== undefined) {
    throw new AppError('INVALID_INPUT', { what: 'the training step', problem: `the model has no value "${missing}"` });
  }
  const outputs = [...new Set(values)].map((name) => makeValue(name));
  return eliminateDead(sortNodes({ ...model.graph, outputs }));
}

/**
 * Adds the forward graph to the writer in the form that gradient rules expect: static shapes, explicit pads, constants as initializers, batch
 * normalisation in its mode. Weights must be known to the writer already.
 * @returns where running statistics go.
 */
export function addForward(writer: GraphWriter, graph: Graph, batchNorm: 'train' | 'frozen'): Running {
  const running: Running = new Map();
  for (const node of graph.nodes) {
    if (node.op === 'Constant' && node.domain === '') {
      const tensor = tensorAttribute(node, 'value');
      if (tensor) {
        writer.initializer(node.outputs[0]!, tensor);
        continue;
      }
    }
    writer.add(node.domain === '' ? (preparations[node.op]?.(writer, node, batchNorm, running) ?? node) : node);
    // Shape computations are done now: what is static needs no node.
    if (node.outputs.length === 1 && writer.info(node.outputs[0]!).type === 'int64') {
      const constant = writer.constant(node.outputs[0]!);
      if (constant) {
        writer.nodes.pop();
        writer.initializer(node.outputs[0]!, constant);
        continue;
      }
    }
    for (const name of writer.nodes.at(-1)!.outputs) {
      if (name === '') continue;
      const { type, shape } = writer.info(name);
      if (!type || !shape?.every((dim) => typeof dim === 'number')) {
        throw failure(writer, node, `the shape of "${name}" is not static; give the shape of every input`);
      }
    }
  }
  return running;
}

type Preparation = (writer: GraphWriter, node: Node, batchNorm: 'train' | 'frozen', running: Running) => Node;

/** auto_pad as explicit pads (Operators.md, Conv). */
const explicitPads =
  (kernelOf: (writer: GraphWriter, node: Node) => readonly number[]): Preparation =>
  (writer, node) => {
    if (textAttribute(node, 'auto_pad', 'NOTSET') === 'NOTSET') return node;
    const sizes = writer.shape(node.inputs[0]!).slice(2) as number[];
    return withAttributes(node, { auto_pad: null, pads: padsOn(node, sizes, kernelOf(writer, node)) });
  };

const weightKernel = (writer: GraphWriter, node: Node) => writer.shape(node.inputs[1]!).slice(2);

/** output_shape and auto_pad as explicit pads (Operators.md, ConvTranspose). */
const transposedPads: Preparation = (writer, node) => {
  const auto = textAttribute(node, 'auto_pad', 'NOTSET');
  const stated = intsAttribute(node, 'output_shape');
  if (auto === 'NOTSET' && !stated) return node;
  const kernel = weightKernel(writer, node);
  const strides = intsAttribute(
    node,
    'strides',
    kernel.map(() => 1),
  );
  const dilations = intsAttribute(
    node,
    'dilations',
    kernel.map(() => 1),
  );
  const extra = intsAttribute(
    node,
    'output_padding',
    kernel.map(() => 0),
  );
  const sizes = writer.shape(node.inputs[0]!).slice(2);
  const totals = kernel.map((k, axis) => {
    const full = strides[axis]! * (sizes[axis]! - 1) + extra[axis]! + (k - 1) * dilations[axis]! + 1;
    if (!stated && !auto.startsWith('SAME')) return 0;
    const wanted = stated ? stated.at(axis - kernel.length)! : sizes[axis]! * strides[axis]!;
    if (full < wanted) throw failure(writer, node, `an output of ${wanted}, larger than ${full}`);
    return full - wanted;
  });
  const pads = beginsAndEnds(totals, auto !== 'SAME_UPPER');
  return withAttributes(node, { auto_pad: null, output_shape: null, pads });
};

const batchNormalization: Preparation = (writer, node, mode, running) => {
  const [x, scale, bias, mean, variance] = node.inputs as [string, string, string, string, string];
  if (mode === 'frozen') return { ...withAttributes(node, { training_mode: null }), outputs: [node.outputs[0]!] };
  for (const name of [mean, variance]) {
    if (!writer.has(name) || writer.initializers.has(name)) {
      throw failure(writer, node, `its running statistic "${name}" is not a float32 initializer`);
    }
  }
  const shape = writer.shape(x);
  const perChannel = shape.reduce((a, b, axis) => (axis === 1 ? a : a * b), 1);
  if (perChannel < 2) throw failure(writer, node, 'batch statistics of one value per channel; use a larger batch');
  writer.scope = node.name || node.outputs[0]!;
  const outputs = [
    node.outputs[0]!,
    ...['mean', 'invStd', 'runningMean', 'runningVar'].map((name) => writer.fresh(name)),
  ];
  writer.scope = '';
  // Where one layer stands twice in the graph, the second goes on from the first.
  const inputs = [x, scale, bias, running.get(mean) ?? mean, running.get(variance) ?? variance];
  running.set(mean, outputs[3]!);
  running.set(variance, outputs[4]!);
  const attributes = { epsilon: floatValue(node, 'epsilon', 1e-5), momentum: floatValue(node, 'momentum', 0.9) };
  return makeNode('BatchNormTrain', inputs, outputs, attributes, { name: node.name, domain: TRAINING_DOMAIN });
};

const poolKernel = (_writer: GraphWriter, node: Node) => intsAttribute(node, 'kernel_shape', []);
const pool: Preparation = (writer, node, ...rest) => {
  const explicit = explicitPads(poolKernel)(writer, node, ...rest);
  return intAttribute(node, 'storage_order', 0) === 0 ? explicit : withAttributes(explicit, { storage_order: null });
};

const preparations: Readonly<Record<string, Preparation>> = {
  Conv: explicitPads(weightKernel),
  ConvTranspose: transposedPads,
  MaxPool: pool,
  AveragePool: pool,
  BatchNormalization: batchNormalization,
};
