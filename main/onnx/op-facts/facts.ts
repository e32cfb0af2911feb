import { AppError } from '../../contract/errors.ts';
import { intsAttribute } from '../build.ts';
import type { ConstTensor, Dim, ElementType, Node, Shape } from '../model.ts';

/** What is known of a value before anything runs. */
export interface TensorInfo {
  readonly type: ElementType | null;
  readonly shape: Shape;
  /**
   * Elements of a small constant or shape computation, row-major; null where unknown, text where it is a symbolic size. Lets Shape ->
   * Gather -> Concat -> Reshape chains of exporters be followed.
   */
  readonly values?: readonly Dim[];
}

export interface OpContext {
  readonly node: Node;
  readonly opset: number;
  /** As the node lists them; null for one left out. */
  readonly inputs: readonly (TensorInfo | null)[];
  /** The constant behind an input, if it is one. */
  readonly constant: (index: number) => ConstTensor | undefined;
  /** A contradiction in the graph, named after this node. */
  readonly fail: (problem: string) => AppError;
  /** Something this program does not do. */
  readonly unsupported: (problem: string) => AppError;
}

/** What this program knows of an operator: a row of the table. */
export interface OpFacts {
  /** One entry per output; entries left out are unknown. */
  readonly infer: (context: OpContext) => readonly TensorInfo[];
  /** Multiply-accumulates for known shapes; default 0 (element-wise work is not counted, as is the custom). */
  readonly macs?: (context: OpContext, outputs: readonly TensorInfo[]) => number;
  /** Inputs that hold trained numbers when constant. */
  readonly params?: readonly number[];
}

/** Longer constants are not followed element by element. */
export const MAX_TRACKED_VALUES = 256;

export const UNKNOWN: TensorInfo = { type: null, shape: null };

/** The shape of an input, or null. */
export const shapeOf = (context: OpContext, index: number): Shape => context.inputs[index]?.shape ?? null;
export const typeOf = (context: OpContext, index: number): ElementType | null => context.inputs[index]?.type ?? null;

/** All elements of an input as numbers; undefined unless every one is known. */
export function numbersIn(context: OpContext, index: number): number[] | undefined {
  const values = context.inputs[index]?.values;
  return values?.every((item): item is number => typeof item === 'number') ? [...values] : undefined;
}

/** -1 counts from the end. @throws GRAPH_INVALID outside the rank. */
export function axisOf(context: OpContext, axis: number, rank: number): number {
  const positive = axis < 0 ? axis + rank : axis;
  if (positive < 0 || positive >= Math.max(rank, 1)) throw context.fail(`axis ${axis} of a tensor of rank ${rank}`);
  return positive;
}

/** Numpy broadcasting of two dims. */
function broadcastDim(context: OpContext, a: Dim, b: Dim): Dim {
  if (a === 1) return b;
  if (b === 1 || a === b) return a;
  if (typeof a === 'number' && typeof b === 'number') throw context.fail(`sizes ${a} and ${b} do not fit together`);
  // A known size against an unknown one must win, or the graph would fail when run.
  return typeof a === 'number' ? a : typeof b === 'number' ? b : null;
}

/** Numpy broadcasting (Broadcasting.md); null where one shape is not known. @throws GRAPH_INVALID for sizes that do not fit together */
export function broadcast(context: OpContext, shapes: readonly Shape[]): Shape {
  let result: readonly Dim[] = [];
  for (const shape of shapes) {
    if (!shape) return null;
    const rank = Math.max(result.length, shape.length);
    const at = (of: readonly Dim[], i: number): Dim => (i < rank - of.length ? 1 : of[i - (rank - of.length)]!);
    const left = result;
    result = Array.from({ length: rank }, (_, i) => broadcastDim(context, at(left, i), at(shape, i)));
  }
  return result;
}

/** Product of dims; null if any is not a number. */
export const sizeOf = (shape: readonly Dim[]): number | null =>
  shape.reduce<number | null>(
    (product, dim) => (product === null || typeof dim !== 'number' ? null : product * dim),
    1,
  );

/** As sizeOf, of a shape that must be known by now (costs). */
export function knownSize(context: OpContext, shape: Shape | undefined): number {
  const size = shape ? sizeOf(shape) : null;
  if (size === null) throw context.fail('its shape is not known: give the shape of every input');
  return size;
}

/** Axes or sizes that were an attribute in old opsets and are an input in newer ones; undefined: unknown or left out. */
export const listFrom = (context: OpContext, attribute: string, input: number): number[] | undefined =>
  intsAttribute(context.node, attribute) ?? numbersIn(context, input);

/** True where a list is computed at run time: its effect cannot be told. */
export const hidden = (context: OpContext, attribute: string, input: number): boolean =>
  context.inputs[input] != null && listFrom(context, attribute, input) === undefined;

/** How many elements lie between neighbours along each axis, row-major; 0 before an open size. */
export const stridesOf = (dims: readonly Dim[]): number[] => dims.map((_, axis) => sizeOf(dims.slice(axis + 1)) ?? 0);

/** Followed elements seen through other strides, which is what Transpose and Slice do; undefined where a size is open. */
export function strided(
  values: readonly Dim[] | undefined,
  dims: readonly Dim[],
  strides: readonly number[],
  first = 0,
): readonly Dim[] | undefined {
  const count = sizeOf(dims);
  if (!values || count === null || count > MAX_TRACKED_VALUES) return undefined;
  return Array.from({ length: count }, (_, flat) => {
    let [left, at] = [flat, first];
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      const size = Number(dims[axis]);
      at += (left % size) * strides[axis]!;
      left = Math.floor(left / size);
    }
    return values[at] ?? null;
  });
}

/** The one output of most operators: type of the first input, this shape, and small values where known. */
export const sized = (context: OpContext, shape: Shape, values?: readonly Dim[]): TensorInfo[] => {
  const type = typeOf(context, 0);
  return [values && values.length <= MAX_TRACKED_VALUES ? { type, shape, values } : { type, shape }];
};
