import { assert } from '../contract/errors.ts';
import type { Attribute, ConstTensor, ElementType, Graph, Int, Model, Node, Shape, Value } from './model.ts';

/**
 * A short form of attributes: text, an int, a list of ints, a tensor. Of the names in FLOAT_NAMES a number is a float; a whole
 * Attribute is taken as it is.
 */
export type AttributeInput = number | bigint | string | readonly Int[] | ConstTensor | Attribute;

/** Attributes of ai.onnx operators that are float (or floats) wherever they occur. */
const FLOAT_NAMES = new Set([
  'alpha',
  'beta',
  'bias',
  'clip',
  'cubic_coeff_a',
  'epsilon',
  'extrapolation_value',
  'gamma',
  'high',
  'lambd',
  'low',
  'max',
  'mean',
  'min',
  'momentum',
  'norm_coefficient',
  'ratio',
  'scale',
  'scales',
  'seed',
  'spatial_scale',
  'value_float',
  'value_floats',
]);

const encoder = new TextEncoder();

/** Attributes are float32 in the file: rounded here already, so that a pass computes with what the runtime will read. */
export const floatAttribute = (value: number): Attribute => ({ kind: 'float', value: Math.fround(value) });

function attributeOf(name: string, input: AttributeInput): Attribute {
  if (typeof input === 'string') return { kind: 'string', value: encoder.encode(input) };
  if (typeof input === 'number' || typeof input === 'bigint') {
    if (FLOAT_NAMES.has(name)) return floatAttribute(Number(input));
    assert(
      typeof input === 'bigint' || Number.isInteger(input),
      `attribute ${name} = ${input} is an int; use floatAttribute`,
    );
    return { kind: 'int', value: input };
  }
  if (Array.isArray(input)) {
    const value = input as readonly Int[];
    if (FLOAT_NAMES.has(name)) return { kind: 'floats', value: value.map((item) => Math.fround(Number(item))) };
    assert(
      value.every((item) => typeof item === 'bigint' || Number.isInteger(item)),
      `attribute ${name} is a list of ints`,
    );
    return { kind: 'ints', value };
  }
  if ('kind' in input) return input;
  return { kind: 'tensor', value: input as ConstTensor };
}

const attributesOf = (input: Readonly<Record<string, AttributeInput>>): ReadonlyMap<string, Attribute> =>
  new Map(Object.entries(input).map(([name, value]) => [name, attributeOf(name, value)]));

/**
 * Makes a node: `node('Conv', ['x', 'w', 'b'], ['y'], {strides: [2, 2], group: 32})`.
 * @param options name default: the first output's name.
 */
export function node(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, AttributeInput>> = {},
  options: { name?: string; domain?: string } = {},
): Node {
  return {
    name: options.name ?? outputs[0] ?? '',
    op,
    domain: options.domain ?? '',
    inputs: [...inputs],
    outputs: [...outputs],
    attributes: attributesOf(attributes),
    doc: '',
    unknown: [],
  };
}

/** The node with some attributes set anew (null: removed). */
export function withAttributes(of: Node, changes: Readonly<Record<string, AttributeInput | null>>): Node {
  const attributes = new Map(of.attributes);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) attributes.delete(name);
    else attributes.set(name, attributeOf(name, value));
  }
  return { ...of, attributes };
}

/** @param shape null: not known, not even its rank */
export const value = (name: string, type: ElementType = 'float32', shape: Shape = null): Value => ({
  name,
  type,
  shape,
  doc: '',
  unknown: [],
});

/** With nothing but what is given: no types of inner values. */
export const graph = (parts: {
  name?: string;
  nodes: readonly Node[];
  inputs: readonly Value[];
  outputs: readonly Value[];
  initializers?: ReadonlyMap<string, ConstTensor> | Readonly<Record<string, ConstTensor>>;
}): Graph => ({
  name: parts.name ?? 'graph',
  nodes: parts.nodes,
  inputs: parts.inputs,
  outputs: parts.outputs,
  initializers:
    parts.initializers instanceof Map ? parts.initializers : new Map(Object.entries(parts.initializers ?? {})),
  valueInfo: new Map(),
  doc: '',
  unknown: [],
});

/** @param options opset default 17 (IR version 8, which ORT and every other runtime of the last years reads). */
export const model = (
  of: Graph,
  options: { opset?: number; irVersion?: number; metadata?: Record<string, string> } = {},
): Model => ({
  irVersion: options.irVersion ?? 8,
  opsets: new Map([['', options.opset ?? 17]]),
  producerName: 'mekiki',
  producerVersion: '',
  domain: '',
  modelVersion: 0,
  doc: '',
  metadata: new Map(Object.entries(options.metadata ?? {})),
  graph: of,
  unknown: [],
});

// ---------------------------------------------------------------- reading attributes
const decoder = new TextDecoder();

export function intAttribute(of: Node, name: string): number | undefined;
export function intAttribute(of: Node, name: string, fallback: number): number;
export function intAttribute(of: Node, name: string, fallback?: number): number | undefined {
  const found = of.attributes.get(name);
  return found?.kind === 'int' ? Number(found.value) : fallback;
}

export function floatValue(of: Node, name: string): number | undefined;
export function floatValue(of: Node, name: string, fallback: number): number;
export function floatValue(of: Node, name: string, fallback?: number): number | undefined {
  const found = of.attributes.get(name);
  return found?.kind === 'float' ? found.value : fallback;
}

export function intsAttribute(of: Node, name: string): number[] | undefined;
export function intsAttribute(of: Node, name: string, fallback: readonly number[]): number[];
export function intsAttribute(of: Node, name: string, fallback?: readonly number[]): number[] | undefined {
  const found = of.attributes.get(name);
  return found?.kind === 'ints' ? found.value.map(Number) : fallback && [...fallback];
}

export function textAttribute(of: Node, name: string): string | undefined;
export function textAttribute(of: Node, name: string, fallback: string): string;
export function textAttribute(of: Node, name: string, fallback?: string): string | undefined {
  const found = of.attributes.get(name);
  return found?.kind === 'string' ? decoder.decode(found.value) : fallback;
}

export function tensorAttribute(of: Node, name: string): ConstTensor | undefined {
  const found = of.attributes.get(name);
  return found?.kind === 'tensor' ? found.value : undefined;
}
