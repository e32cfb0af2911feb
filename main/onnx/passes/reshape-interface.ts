import { AppError, isAppError } from '../../contract/errors.ts';
import { value } from '../build.ts';
import { addNodes, eliminateDead, indexGraph, runtimeInputs, setInputs, setOutputs, withGraph } from '../edit.ts';
import { inferShapes } from '../infer-shapes.ts';
import type { ConstTensor, Dim, Model, Node } from '../model.ts';
import { verifyStructure } from '../verify.ts';

/** States the outputs' types anew and drops stated inner types, after something upstream changed. */
function restate(model: Model): Model {
  const bare = withGraph(model, { ...model.graph, valueInfo: new Map() });
  const infos = inferShapes(bare, { unknownOps: 'unknown' });
  const outputs = model.graph.outputs.map((output) => {
    const info = infos.get(output.name);
    return info?.type ? { ...output, type: info.type, shape: info.shape } : output;
  });
  const next = withGraph(bare, setOutputs(bare.graph, outputs));
  verifyStructure(next);
  return next;
}

/**
 * Makes the named values the outputs, in this order; what they do not need is dropped. Any value that a node makes will do.
 * @throws NOT_FOUND for a name that no node makes.
 */
export function selectOutputs(model: Model, names: readonly string[]): Model {
  const { producer } = indexGraph(model.graph);
  const missing = names.find((name) => !producer.has(name));
  if (missing !== undefined) throw new AppError('NOT_FOUND', { kind: 'Model output', id: missing });
  const present = new Map(model.graph.outputs.map((output) => [output.name, output]));
  const infos = inferShapes(model, { unknownOps: 'unknown' });
  const outputs = names.map((name) => {
    const info = infos.get(name);
    return present.get(name) ?? value(name, info?.type ?? 'float32', info?.shape ?? null);
  });
  const next = withGraph(model, eliminateDead(setOutputs(model.graph, outputs)));
  verifyStructure(next);
  return next;
}

/**
 * States another size of the image input ([N, C, H, W]): numbers, or symbols to leave it open.
 * @throws GRAPH_INVALID without an image input, and when the model cannot work at that size (a fixed Reshape, a kernel larger than the map).
 */
export function setInputSize(model: Model, size: { batch?: Dim; height: Dim; width: Dim }): Model {
  const image = runtimeInputs(model.graph).find((input) => input.shape?.length === 4);
  if (!image?.shape)
    throw new AppError('GRAPH_INVALID', { where: 'inputs', problem: 'there is no input [N, C, H, W]' });
  const [batch, channels] = image.shape;
  const shape: Dim[] = [size.batch ?? batch!, channels!, size.height, size.width];
  const inputs = model.graph.inputs.map((input) => (input.name === image.name ? { ...input, shape } : input));
  return restate(withGraph(model, setInputs(model.graph, inputs)));
}

/** False where a layer holds the model to one picture in each run, as a Reshape to a fixed batch does, whatever its input states. @throws GRAPH_INVALID, as setInputSize does */
export function takesTwo(model: Model, size: number): boolean {
  // What is wrong whatever the batch is thrown as it is.
  setInputSize(model, { height: size, width: size });
  try {
    const { outputs } = setInputSize(model, { batch: 2, height: size, width: size }).graph;
    return outputs.every(({ shape }) => typeof shape?.[0] !== 'number' || shape[0] === 2);
  } catch (error) {
    if (isAppError(error, 'GRAPH_INVALID')) return false;
    throw error;
  }
}

/**
 * Adds nodes and the constants they need, in any order.
 * @param options outputs: names of the outputs from now on (default: those there are); what they do not need is dropped.
 */
export function appendNodes(
  model: Model,
  nodes: readonly Node[],
  options: {
    initializers?: ReadonlyMap<string, ConstTensor> | Readonly<Record<string, ConstTensor>>;
    outputs?: readonly string[];
  } = {},
): Model {
  const next = withGraph(model, addNodes(model.graph, nodes, options.initializers));
  verifyStructure(next);
  return options.outputs ? selectOutputs(next, options.outputs) : next;
}
