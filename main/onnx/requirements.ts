import { AppError } from '../contract/errors.ts';
import { indexGraph, runtimeInputs } from './edit.ts';
import { factsOf, inferShapes, type InferOptions } from './infer-shapes.ts';
import { opsetOf, type ElementType, type Model } from './model.ts';

/* What a pass, autodiff or an engine needs of a model before it starts; each names the first thing that is in the way. */

export const OLDEST_OPSET = 13;
export const NEWEST_OPSET = 21;

/** @throws UNSUPPORTED_OP with the first node for an opset outside 13 to 21, or an operator without a row. */
export function requireSupportedOps(model: Model, options: Pick<InferOptions, 'extraFacts'> = {}): void {
  const opset = opsetOf(model);
  for (const node of model.graph.nodes) {
    const op = node.domain === '' ? node.op : `${node.domain}.${node.op}`;
    const at = { op, opset, node: node.name || node.outputs[0] || node.op };
    if (opset < OLDEST_OPSET || opset > NEWEST_OPSET) {
      throw new AppError('UNSUPPORTED_OP', { ...at, problem: `only opsets ${OLDEST_OPSET} to ${NEWEST_OPSET} are` });
    }
    if (!factsOf(node, options.extraFacts)) {
      throw new AppError('UNSUPPORTED_OP', { ...at, problem: 'nothing is known about it' });
    }
  }
}

/** Types that carry weights but no gradients. Whole numbers of 32 and 64 bits are indices and shapes. */
const NOT_TRAINABLE = new Set<ElementType>(['float16', 'bfloat16', 'float64', 'int8', 'uint8', 'int16', 'uint16']);

/** @throws UNSUPPORTED_OP naming the node that reads a constant, or makes a value, of half, double or 8 or 16 bit whole numbers. */
export function requireFloat32(model: Model, options: InferOptions = {}): void {
  const { consumers } = indexGraph(model.graph);
  const opset = opsetOf(model);
  for (const [name, tensor] of model.graph.initializers) {
    const reader = consumers.get(name)?.[0];
    if (!reader || !NOT_TRAINABLE.has(tensor.type)) continue;
    throw new AppError('UNSUPPORTED_OP', {
      op: reader.op,
      opset,
      node: reader.name || reader.outputs[0] || reader.op,
      problem: `its constant "${name}" is ${tensor.type}; float32 is needed`,
    });
  }
  const infos = inferShapes(model, options);
  for (const node of model.graph.nodes) {
    const odd = node.outputs.find((name) => NOT_TRAINABLE.has(infos.get(name)?.type ?? 'float32'));
    if (odd === undefined) continue;
    throw new AppError('UNSUPPORTED_OP', {
      op: node.op,
      opset,
      node: node.name || node.outputs[0] || node.op,
      problem: `its result "${odd}" is ${infos.get(odd)!.type}; float32 is needed`,
    });
  }
}

/** Type and shape of a value of which nothing is open. */
export interface StaticInfo {
  readonly type: ElementType;
  readonly shape: readonly number[];
}

/**
 * Every value's type and static shape.
 * @param inputShapes of inputs whose file states symbols.
 * @throws GRAPH_INVALID naming the first input or value with an open size; INVALID_INPUT for a shape of an input that is not there.
 */
export function requireStaticShapes(
  model: Model,
  inputShapes: Readonly<Record<string, readonly number[]>> = {},
  options: Omit<InferOptions, 'inputShapes' | 'unknownOps'> = {},
): ReadonlyMap<string, StaticInfo> {
  const inputs = runtimeInputs(model.graph);
  const unknown = Object.keys(inputShapes).find((name) => !inputs.some((input) => input.name === name));
  if (unknown !== undefined) {
    throw new AppError('INVALID_INPUT', { what: 'inputShapes', problem: `there is no input "${unknown}"` });
  }
  for (const { name, shape } of inputs) {
    const given = inputShapes[name] ?? shape;
    const open = given?.findIndex((dim) => typeof dim !== 'number') ?? 0;
    if (open >= 0) {
      const size = given?.[open];
      throw new AppError('GRAPH_INVALID', {
        where: name,
        problem: given
          ? `its size ${open} (${size ?? '?'}) is left open; state it`
          : 'its shape is left open; state it',
      });
    }
  }
  const found = new Map<string, StaticInfo>();
  for (const [name, { type, shape }] of inferShapes(model, { ...options, inputShapes })) {
    if (type === null || !shape || !shape.every((dim): dim is number => typeof dim === 'number')) {
      const text = shape ? `[${shape.map((dim) => dim ?? '?').join(', ')}]` : 'unknown';
      throw new AppError('GRAPH_INVALID', {
        where: name,
        problem: `its ${type === null ? 'type' : `shape ${text}`} cannot be told`,
      });
    }
    found.set(name, { type, shape });
  }
  return found;
}
