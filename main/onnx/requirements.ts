import { AppError } from '../contract/errors.ts';
import { runtimeInputs } from './edit.ts';
import { factsOf, inferShapes, type InferOptions, type TensorInfo } from './infer-shapes.ts';
import { opsetOf, type ElementType, type Graph, type Model } from './model.ts';

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

const HALF: ReadonlySet<ElementType | null | undefined> = new Set(['float16', 'bfloat16']);

/**
 * The first node that computes in half precision, in words; null: none does. Features, pruning, INT8 and training take float32 alone. Weights that are stored as halves
 * and cast before use are not in the way.
 * @param infos as inferShapes gives them
 */
export function halfPrecisionIn({ nodes }: Graph, infos: ReadonlyMap<string, TensorInfo>): string | null {
  const typeOf = (name: string) => infos.get(name)?.type;
  for (const { op, name, outputs } of nodes) {
    const half = op === 'Constant' ? undefined : outputs.find((output) => HALF.has(typeOf(output)));
    if (half !== undefined) {
      return `its ${op} "${name || half}" gives ${typeOf(half)}; half precision is not taken, export it in float32`;
    }
  }
  return null;
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
