import { elementCount, int64Tensor, numbersOf, scalar } from '../../onnx/index.ts';
import type { RuleContext } from '../rule.ts';

/* Small pieces that rules emit again and again. Shapes are static throughout. */

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((dim, axis) => dim === b[axis]);

export const constant = (context: RuleContext, value: number): string => context.tensor(scalar(value));

export const ints = (context: RuleContext, values: readonly number[]): string =>
  context.tensor(int64Tensor([values.length], values));

/** Input names of the node by index; undefined for one left out. */
export const inputOf = (context: RuleContext, index: number): string | undefined =>
  context.node.inputs[index] || undefined;

/** Elements of a constant input; undefined where it is left out or empty (an empty tensor stands for "left out" in Resize). */
export function constantNumbers(context: RuleContext, index: number, what: string): number[] | undefined {
  const name = inputOf(context, index);
  if (name === undefined) return undefined;
  const tensor = context.constant(name);
  if (!tensor) throw context.unsupported(`its ${what} are computed at run time`);
  return tensor.dims.includes(0) ? undefined : [...numbersOf(tensor)];
}

/** Whole numbers given as attribute in old opsets and as constant input in newer ones; undefined where left out. */
export function numbersFrom(context: RuleContext, attribute: string, inputIndex: number): number[] | undefined {
  const found = context.node.attributes.get(attribute);
  return found?.kind === 'ints' ? found.value.map(Number) : constantNumbers(context, inputIndex, attribute);
}

/** -1 counts from the end. */
export const axisIn = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** Nothing is emitted where the shapes are equal. */
export function reshape(context: RuleContext, name: string, from: readonly number[], to: readonly number[]): string {
  return sameShape(from, to) ? name : context.emit1('Reshape', [name, ints(context, to)]);
}

export function reduceSum(context: RuleContext, name: string, axes: readonly number[], keepdims: boolean): string {
  return context.emit1('ReduceSum', [name, ints(context, axes)], { keepdims: keepdims ? 1 : 0 });
}

/**
 * Sums a gradient of shape `from` back to an operand of shape `to` that was broadcast to it: at most one ReduceSum and
 * one Reshape, none where the shapes are equal.
 */
export function reduceTo(context: RuleContext, name: string, from: readonly number[], to: readonly number[]): string {
  const extra = from.length - to.length;
  const axes = from.flatMap((dim, axis) => (dim !== 1 && (axis < extra || to[axis - extra] === 1) ? [axis] : []));
  if (axes.length === 0) return reshape(context, name, from, to);
  const keepdims = extra === 0;
  const reduced = reduceSum(context, name, axes, keepdims);
  const left = keepdims ? to : from.filter((_, axis) => !axes.includes(axis));
  return reshape(context, reduced, left, to);
}

/** Repeats a value of shape `from` (same rank, sizes 1 where they differ) to `to`. */
export function expandTo(context: RuleContext, name: string, from: readonly number[], to: readonly number[]): string {
  return sameShape(from, to) ? name : context.emit1('Expand', [name, ints(context, to)]);
}

/** @param pads zeros to add before each axis, then after each; all zero: nothing is emitted. */
export function padZeros(context: RuleContext, name: string, pads: readonly number[]): string {
  return pads.every((pad) => pad === 0) ? name : context.emit1('Pad', [name, ints(context, pads)]);
}

/** Steps 1 by default; nothing is emitted where everything is kept. */
export function slice(
  context: RuleContext,
  name: string,
  parts: readonly { axis: number; start: number; end: number; step?: number }[],
): string {
  if (parts.length === 0) return name;
  const list = (pick: (part: (typeof parts)[number]) => number) => ints(context, parts.map(pick));
  const inputs = [name, list((part) => part.start), list((part) => part.end), list((part) => part.axis)];
  if (parts.some((part) => (part.step ?? 1) !== 1)) inputs.push(list((part) => part.step ?? 1));
  return context.emit1('Slice', inputs);
}

/** Nothing is emitted where the order stays. */
export function transpose(context: RuleContext, name: string, perm: readonly number[]): string {
  return perm.every((from, to) => from === to) ? name : context.emit1('Transpose', [name], { perm });
}

/** [..., a, b] -> [..., b, a]. */
export const swapLast = (context: RuleContext, name: string, rank: number): string =>
  transpose(context, name, [...Array(rank - 2).keys(), rank - 1, rank - 2]);

/**
 * Multiplies along one axis by a matrix given as constant or value: out[…, i, …] = sum_j matrix[i, j] x[…, j, …].
 * @param matrix name of a value [to, from]
 */
export function multiplyAxis(
  context: RuleContext,
  name: string,
  shape: readonly number[],
  axis: number,
  matrix: string,
  to: number,
): string {
  const outer = elementCount(shape.slice(0, axis));
  const inner = elementCount(shape.slice(axis + 1));
  const result = [...shape.slice(0, axis), to, ...shape.slice(axis + 1)];
  if (inner === 1) {
    const rows = reshape(context, name, shape, [outer, shape[axis]!]);
    return reshape(context, context.emit1('Gemm', [rows, matrix], { transB: 1 }), [outer, to], result);
  }
  const folded = [outer, shape[axis]!, inner];
  const product = context.emit1('MatMul', [matrix, reshape(context, name, shape, folded)]);
  return reshape(context, product, [outer, to, inner], result);
}
