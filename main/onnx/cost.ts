import { AppError } from '../contract/errors.ts';
import { indexGraph, runtimeInputs } from './edit.ts';
import { constantsOf, contextOf, factsOf, inferShapes, type InferOptions } from './infer-shapes.ts';
import { opsetOf, type Dim, type ElementType, type Model, type Node, type Shape } from './model.ts';
import { opFacts } from './op-facts/table.ts';
import { elementCount } from './tensor.ts';
import { verifyStructure } from './verify.ts';

export interface NodeCost {
  name: string;
  op: string;
  macs: number;
  params: number;
  inputShapes: readonly Shape[];
  outputShape: Shape;
}

export interface ModelCost {
  /** Multiply-accumulates of convolutions and matrix products, for the batch size of the given shape. */
  macs: number;
  /** Trained numbers; a tensor used twice counts once; running statistics of BatchNormalization do not count. */
  params: number;
  perNode: NodeCost[];
}

/**
 * @param inputShape of the (first) run-time input, for example [1, 3, 224, 224].
 * @throws GRAPH_INVALID, UNSUPPORTED_OP where a shape cannot be told.
 */
export function modelCost(
  model: Model,
  inputShape: readonly number[],
  options: Omit<InferOptions, 'inputShapes'> = {},
): ModelCost {
  const input = runtimeInputs(model.graph)[0];
  if (!input) throw new AppError('GRAPH_INVALID', { where: model.graph.name || 'graph', problem: 'it has no input' });
  const infos = inferShapes(model, { ...options, inputShapes: { [input.name]: inputShape } });
  const constant = constantsOf(model);
  const countParams = paramCounter(model, constant);
  const perNode = model.graph.nodes.map((node): NodeCost => {
    const context = contextOf(model, node, infos, constant);
    const outputs = node.outputs.map((name) => infos.get(name) ?? { type: null, shape: null });
    const facts = factsOf(node, options.extraFacts);
    return {
      name: node.name || node.outputs[0] || node.op,
      op: node.op,
      macs: facts?.macs?.(context, outputs) ?? 0,
      params: countParams(node),
      inputShapes: context.inputs.map((info) => info?.shape ?? null),
      outputShape: outputs[0]?.shape ?? null,
    };
  });
  const sum = (of: (cost: NodeCost) => number) => perNode.reduce((total, cost) => total + of(cost), 0);
  return { macs: sum((cost) => cost.macs), params: sum((cost) => cost.params), perNode };
}

/** Counts the trained numbers a node holds, each tensor once, also where they pass a DequantizeLinear, Cast or Identity first. */
function paramCounter(model: Model, constant: ReturnType<typeof constantsOf>): (node: Node) => number {
  const index = indexGraph(model.graph);
  const counted = new Set<string>();
  const sourceOf = (name: string): string => {
    let at = name;
    for (let steps = 0; steps < 8; steps++) {
      const maker = index.producer.get(at);
      if (!maker || !['DequantizeLinear', 'Cast', 'Identity', 'Transpose'].includes(maker.op)) break;
      at = maker.inputs[0] ?? '';
    }
    return at;
  };
  return (node) => {
    const facts = node.domain === '' ? opFacts.get(node.op) : undefined;
    // A dequantised weight is counted at the node that computes with it.
    if (!facts?.params || node.op === 'DequantizeLinear') return 0;
    let total = 0;
    for (const at of facts.params) {
      const name = sourceOf(node.inputs[at] ?? '');
      const tensor = constant(name);
      // Indices and shapes are not trained.
      if (tensor?.type === 'int64' || tensor?.type === 'bool') continue;
      // A single number beside an Add or Mul (its row lists both inputs) is a setting, not a weight.
      if (!tensor || counted.has(name) || (elementCount(tensor.dims) === 1 && facts.params.includes(0))) continue;
      counted.add(name);
      total += elementCount(tensor.dims);
    }
    return total;
  };
}

export interface ValueSummary {
  name: string;
  type: ElementType | null;
  shape: readonly Dim[] | null;
}

export interface GraphInfo {
  inputs: ValueSummary[];
  outputs: ValueSummary[];
  opset: number;
  /** For one image; null where a shape could not be told (see `notes`). */
  macs: number | null;
  params: number;
  /** By operator ("domain.Op" outside ai.onnx): number of nodes and what they cost; `macs` is null as above. */
  ops: Record<string, { count: number; macs: number | null; params: number }>;
  /** In the order of the graph. */
  nodes: { name: string; op: string; macs: number | null; params: number; outputShape: Shape }[];
  /** Shape at which `macs` was counted. */
  macsAt: readonly number[] | null;
  notes: string[];
}

/** Batch 1; an open height or width becomes 224, any other open size 1. */
export const concreteShape = (shape: readonly Dim[]): number[] =>
  shape.map((dim, axis) => (typeof dim === 'number' ? dim : shape.length === 4 && axis >= 2 ? 224 : 1));

/**
 * What `graph info FILE` prints. Works for any readable model; what cannot be told is null and named in `notes`.
 * @param at shape of the input at which is counted; default: what the file states, see concreteShape
 * @throws GRAPH_INVALID.
 */
export function graphInfo(model: Model, at?: readonly number[]): GraphInfo {
  verifyStructure(model);
  const notes: string[] = [];
  const infos = inferShapes(model, { unknownOps: 'unknown' });
  const summary = (names: readonly string[]) =>
    names.map((name) => ({ name, type: infos.get(name)?.type ?? null, shape: infos.get(name)?.shape ?? null }));
  const inputs = runtimeInputs(model.graph);
  const shape = at ?? (inputs[0]?.shape ? concreteShape(inputs[0].shape) : null);
  let cost: ModelCost | null = null;
  if (shape && inputs.length === 1) {
    try {
      cost = modelCost(model, shape, { unknownOps: 'unknown' });
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      notes.push(`multiply-accumulates could not be counted: ${error.message}`);
    }
  }
  const counter = paramCounter(model, constantsOf(model));
  const ops = Object.create(null) as GraphInfo['ops'];
  const nodes = model.graph.nodes.map((node, i) => {
    const op = node.domain === '' ? node.op : `${node.domain}.${node.op}`;
    if (!factsOf(node)) notes.push(`nothing is known about the operator ${op}`);
    const entry = {
      name: node.name || node.outputs[0] || node.op,
      op,
      macs: cost ? cost.perNode[i]!.macs : null,
      params: counter(node),
      outputShape: cost ? cost.perNode[i]!.outputShape : (infos.get(node.outputs[0] ?? '')?.shape ?? null),
    };
    const row = (ops[op] ??= { count: 0, macs: cost ? 0 : null, params: 0 });
    row.count += 1;
    row.params += entry.params;
    if (row.macs !== null) row.macs += entry.macs ?? 0;
    return entry;
  });
  const macs = cost?.macs ?? null;
  return {
    inputs: summary(inputs.map((input) => input.name)),
    outputs: summary(model.graph.outputs.map((output) => output.name)),
    opset: opsetOf(model),
    macs,
    params: nodes.reduce((total, entry) => total + entry.params, 0),
    ops,
    nodes,
    macsAt: macs === null ? null : shape,
    notes: [...new Set(notes)],
  };
}
