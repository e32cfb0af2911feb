import type { Tensor as TfTensor } from '@tensorflow/tfjs-core';
import { GraphWriter } from '../../../main/autodiff/graph-writer.ts';
import { TRAINING_DOMAIN, TRAINING_VERSION } from '../../../main/autodiff/training-ops.ts';
import { walkBack } from '../../../main/autodiff/walk.ts';
import {
  elementCount,
  graph,
  model as makeModel,
  node as makeNode,
  value,
  type AttributeInput,
  type ConstTensor,
  type Model,
} from '../../../main/onnx/index.ts';
import { evaluate } from './reference.ts';
import { fromConst, tensor, type RefTensor } from './reference-tensor.ts';

/** A float32 input whose gradient is wanted; its numbers are distinct and spread evenly over a range. */
export interface Variable {
  readonly kind: 'variable';
  readonly dims: readonly number[];
  readonly from: number;
  readonly to: number;
}

/** An input that is fed at run time and has no gradient: the rule cannot read it. */
export interface Fed {
  readonly kind: 'fed';
  readonly tensor: ConstTensor;
}

/** One operator with its inputs in order: variables, fed values, constants, or left out (null). The same object twice: the same value. */
export interface GradientCase {
  readonly op: string;
  readonly note?: string;
  readonly inputs: readonly (Variable | Fed | ConstTensor | null)[];
  readonly attributes?: Readonly<Record<string, AttributeInput>>;
  readonly outputs?: number;
  /** Outputs that a gradient reaches; default all. */
  readonly reached?: readonly number[];
  /** Default 17. */
  readonly opset?: number;
  readonly domain?: string;
  /** The operator in TensorFlow.js, from the variables in order to the reached outputs in order. */
  readonly tfjs?: (variables: TfTensor[]) => TfTensor | TfTensor[];
}

export const variable = (dims: readonly number[], from = -2, to = 2): Variable => ({
  kind: 'variable',
  dims,
  from,
  to,
});
export const fed = (of: ConstTensor): Fed => ({ kind: 'fed', tensor: of });

/** Deterministic numbers in [0, 1) (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Distinct numbers, an even grid in random order: no two are closer than (to - from) / n, so that no maximum is near a tie. */
function spread(count: number, from: number, to: number, seed: number): Float64Array {
  const random = randomFrom(seed);
  const numbers = Float64Array.from({ length: count }, (_, i) =>
    Math.fround(from + ((to - from) * (i + 0.37)) / count),
  );
  for (let i = count - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [numbers[i], numbers[j]] = [numbers[j]!, numbers[i]!];
  }
  return numbers;
}

export interface Prepared {
  /** Forward node alone. */
  readonly forward: Model;
  /** Forward node and gradient nodes; outputs: forward outputs, then gradients. */
  readonly backward: Model;
  readonly feeds: Readonly<Record<string, RefTensor>>;
  readonly variables: readonly string[];
  readonly outputs: readonly string[];
  /** Seed dL/dY by the name of the output it belongs to. */
  readonly seeds: ReadonlyMap<string, { readonly name: string; readonly tensor: RefTensor }>;
  /** Variable -> its gradient in `backward` (none: the rule says there is none). */
  readonly gradients: ReadonlyMap<string, string>;
}

/**
 * Builds the operator, and its gradient by the table.
 * @param only index (among the variables) of the one variable that is wanted; default all.
 */
export function prepare(of: GradientCase, only?: number): Prepared {
  const names = new Map<object, string>();
  const inputs = of.inputs.map((input, i) => {
    if (input === null) return '';
    if (!names.has(input)) names.set(input, `x${i}`);
    return names.get(input)!;
  });
  const domain = of.domain ?? '';
  const outputs = Array.from({ length: of.outputs ?? 1 }, (_, i) => `y${i}`);
  const node = makeNode(of.op, inputs, outputs, of.attributes ?? {}, { domain, name: 'tried' });
  const bare = withTraining(makeModel(graph({ nodes: [node], inputs: [], outputs: [] }), { opset: of.opset ?? 17 }));
  const writer = new GraphWriter(bare);
  const feeds: Record<string, RefTensor> = {};
  const variables: string[] = [];
  for (const [input, name] of names as Map<Variable | Fed | ConstTensor, string>) {
    if ('bytes' in input) writer.initializer(name, input);
    else if (input.kind === 'fed') {
      writer.declareInput(name, input.tensor.type, input.tensor.dims);
      feeds[name] = fromConst(input.tensor);
    } else {
      writer.declareInput(name, 'float32', input.dims);
      const numbers = spread(elementCount(input.dims), input.from, input.to, 1 + variables.length);
      feeds[name] = tensor(input.dims, numbers);
      variables.push(name);
    }
  }
  writer.add(node);
  const constants = new Map(writer.initializers);
  const inputValues = Object.keys(feeds).map((name) => value(name, writer.type(name), writer.shape(name)));
  const outputValues = outputs.map((name) => value(name, writer.type(name), writer.shape(name)));
  const seeds = new Map<string, { name: string; tensor: RefTensor }>();
  outputs.forEach((name, i) => {
    if (of.reached && !of.reached.includes(i)) return;
    const dims = writer.shape(name);
    writer.declareInput(`d${name}`, writer.type(name), dims);
    seeds.set(name, { name: `d${name}`, tensor: tensor(dims, spread(elementCount(dims), -1, 1, 100 + i)) });
  });
  const gradients = new Map<string, string>();
  walkBack({
    writer,
    nodes: [node],
    wanted: new Set(only === undefined ? variables : [variables[only]!]),
    seeds: new Map([...seeds].map(([name, seed]) => [name, [seed.name]])),
    onGradient: (name, gradient) => gradients.set(name, gradient),
  });
  const seedValues = [...seeds.values()].map(({ name }) => value(name, writer.type(name), writer.shape(name)));
  const given = new Set([...inputValues, ...seedValues, ...outputValues].map((item) => item.name));
  // A gradient may be the seed itself, or one value for two variables: then it cannot be an output of its own.
  const made = [...new Set(gradients.values())].filter((name) => !given.has(name));
  const backward = makeModel(
    graph({
      nodes: writer.nodes,
      inputs: [...inputValues, ...seedValues],
      outputs: [...outputValues, ...made.map((name) => value(name, writer.type(name), writer.shape(name)))],
      initializers: writer.initializers,
    }),
    { opset: of.opset ?? 17 },
  );
  const forward = makeModel(
    graph({ nodes: [node], inputs: inputValues, outputs: outputValues, initializers: constants }),
    {
      opset: of.opset ?? 17,
    },
  );
  const statedShapes = { ...backward.graph, valueInfo: writer.valueInfo() };
  return {
    forward: withTraining(forward),
    backward: withTraining({ ...backward, graph: statedShapes }),
    feeds,
    variables,
    outputs,
    seeds,
    gradients,
  };
}

const withTraining = (of: Model): Model => ({
  ...of,
  opsets: new Map([...of.opsets, [TRAINING_DOMAIN, TRAINING_VERSION]]),
});

/** L = sum over the reached outputs of seed · output. */
function loss(of: Prepared, feeds: Readonly<Record<string, RefTensor>>): number {
  const values = evaluate(of.forward, feeds);
  let sum = 0;
  for (const [name, seed] of of.seeds) {
    values.get(name)!.data.forEach((item, i) => (sum += item * seed.tensor.data[i]!));
  }
  return sum;
}

/** dL/dx by central differences in float64, element by element. */
export function centralDifferences(of: Prepared, name: string): Float64Array {
  const base = of.feeds[name]!;
  return base.data.map((x, i) => {
    const h = 1e-5 * Math.max(1, Math.abs(x));
    const at = (moved: number) => loss(of, { ...of.feeds, [name]: { ...base, data: base.data.with(i, moved) } });
    return (at(x + h) - at(x - h)) / (2 * h);
  });
}

/** All values of the gradient graph in float64. */
export const evaluateBackward = (of: Prepared): ReadonlyMap<string, RefTensor> =>
  evaluate(of.backward, {
    ...of.feeds,
    ...Object.fromEntries([...of.seeds.values()].map((seed) => [seed.name, seed.tensor])),
  });

/** Largest difference over the largest number (at least 1e-3, below which a slope counts as small). */
export function relativeError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Infinity;
  let largest = 1e-3;
  let difference = 0;
  for (let i = 0; i < expected.length; i += 1) {
    largest = Math.max(largest, Math.abs(expected[i]!));
    const apart = Math.abs(found[i]! - expected[i]!);
    // NaN must not pass as "not larger".
    difference = Number.isNaN(apart) ? Infinity : Math.max(difference, apart);
  }
  return difference / largest;
}
