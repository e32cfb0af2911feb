import { AppError } from '../contract/errors.ts';
import { constantOf, indexGraph, runtimeInputs, sortNodes } from './edit.ts';
import { opsetOf, type ConstTensor, type Dim, type Model, type Node } from './model.ts';
import { UNKNOWN, type OpContext, type OpFacts, type TensorInfo } from './op-facts/facts.ts';
import { constantInfo } from './op-facts/shape-values.ts';
import { opFacts } from './op-facts/table.ts';

export type { TensorInfo } from './op-facts/facts.ts';

/** Ranks add up in Gather: without a bound thirty nodes could ask for all memory. */
const MAX_RANK = 64;

export interface InferOptions {
  /** Shapes of inputs by name, in place of what the file states: makes symbolic sizes concrete. */
  inputShapes?: Readonly<Record<string, readonly Dim[]>>;
  /** 'throw' (default): UNSUPPORTED_OP. 'unknown': outputs of such nodes get no shape. */
  unknownOps?: 'throw' | 'unknown';
  /** Rows for operators of other domains, by `domain:op`; of ai.onnx the table's own row wins. */
  extraFacts?: ReadonlyMap<string, OpFacts>;
}

/** What is known of a node's operator. */
export const factsOf = (node: Node, extraFacts?: ReadonlyMap<string, OpFacts>): OpFacts | undefined =>
  node.domain === '' ? opFacts.get(node.op) : extraFacts?.get(`${node.domain}:${node.op}`);

/** What opFacts needs to know about a node in its place. */
export function contextOf(
  model: Model,
  node: Node,
  infos: ReadonlyMap<string, TensorInfo>,
  constant: (name: string) => ConstTensor | undefined,
): OpContext {
  const opset = opsetOf(model);
  const where = node.name || node.outputs[0] || node.op;
  return {
    node,
    opset,
    inputs: node.inputs.map((name) => (name === '' ? null : (infos.get(name) ?? UNKNOWN))),
    constant: (index) => constant(node.inputs[index] ?? ''),
    fail: (problem) => new AppError('GRAPH_INVALID', { where, problem: `${node.op}: ${problem}` }),
    unsupported: (problem) => new AppError('UNSUPPORTED_OP', { op: node.op, opset, node: where, problem }),
  };
}

/** Factory of `constant` for contextOf: one index per pass. */
export function constantsOf(model: Model): (name: string) => ConstTensor | undefined {
  const index = indexGraph(model.graph);
  return (name) => constantOf(model.graph, index, name);
}

/**
 * Type and shape of every value that can be told without running the model.
 * @throws UNSUPPORTED_OP (see options), GRAPH_INVALID where shapes contradict each other or nodes form a cycle.
 */
export function inferShapes(model: Model, options: InferOptions = {}): ReadonlyMap<string, TensorInfo> {
  const { graph } = model;
  const infos = new Map<string, TensorInfo>();
  for (const [name, tensor] of graph.initializers) infos.set(name, constantInfo(tensor));
  for (const { name, type, shape } of runtimeInputs(graph)) {
    const given = options.inputShapes?.[name];
    if (given && shape && given.length !== shape.length) {
      throw new AppError('GRAPH_INVALID', {
        where: name,
        problem: `rank ${given.length} is given, ${shape.length} is stated`,
      });
    }
    infos.set(name, { type, shape: given ?? shape });
  }
  const constant = constantsOf(model);
  const stated = new Map([...graph.outputs.map((output) => [output.name, output] as const), ...graph.valueInfo]);
  for (const node of sortNodes(graph).nodes) {
    const outputs = inferNode(model, node, infos, constant, stated, options);
    node.outputs.forEach((name, i) => {
      if (name !== '') infos.set(name, outputs[i] ?? UNKNOWN);
    });
  }
  return infos;
}

function inferNode(
  model: Model,
  node: Node,
  infos: ReadonlyMap<string, TensorInfo>,
  constant: (name: string) => ConstTensor | undefined,
  stated: ReadonlyMap<string, TensorInfo>,
  options: InferOptions,
): readonly TensorInfo[] {
  const context = contextOf(model, node, infos, constant);
  const facts = factsOf(node, options.extraFacts);
  if (facts) {
    const outputs = facts.infer(context);
    // Sizes are sizes: arithmetic on a hostile file must not leak -3 or NaN into a shape.
    for (const { shape } of outputs) {
      if (shape && shape.length > MAX_RANK) throw context.fail(`its output would have ${shape.length} dimensions`);
      if (shape?.some((dim) => typeof dim === 'number' && !(Number.isSafeInteger(dim) && dim >= 0))) {
        throw context.fail(`its output would be [${shape.join(', ')}]`);
      }
    }
    return outputs;
  }
  if ((options.unknownOps ?? 'throw') === 'throw') throw context.unsupported('nothing is known about it');
  return node.outputs.map((name) => {
    const { type, shape } = stated.get(name) ?? UNKNOWN;
    return { type, shape };
  });
}

/**
 * Infers all shapes and compares them with those the file states for its outputs and inner values.
 * @throws GRAPH_INVALID at the first difference, and whatever inferShapes throws.
 */
export function verifyShapes(model: Model, options: InferOptions = {}): ReadonlyMap<string, TensorInfo> {
  const infos = inferShapes(model, options);
  for (const stated of [...model.graph.outputs, ...model.graph.valueInfo.values()]) {
    const found = infos.get(stated.name);
    if (!found?.shape || !stated.shape) continue;
    const differs =
      found.shape.length !== stated.shape.length ||
      found.shape.some(
        (dim, i) => typeof dim === 'number' && typeof stated.shape![i] === 'number' && dim !== stated.shape![i],
      );
    if (differs) {
      const text = (shape: readonly Dim[]) => `[${shape.map((dim) => dim ?? '?').join(', ')}]`;
      throw new AppError('GRAPH_INVALID', {
        where: stated.name,
        problem: `${text(stated.shape)} is stated, ${text(found.shape)} follows from the graph`,
      });
    }
  }
  return infos;
}
