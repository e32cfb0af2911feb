import { int64Tensor, intAttribute, intsAttribute, scalar, type ConstTensor, type Node } from '../../onnx/index.ts';
import type { GraphWriter } from '../graph-writer.ts';
import type { Attributes, EmitOptions } from '../rule.ts';

/** How a training op's expansion adds standard nodes. */
export interface ExpandContext {
  readonly writer: GraphWriter;
  readonly opset: number;
  shape(name: string): readonly number[];
  emit1(op: string, inputs: readonly string[], attributes?: Attributes, options?: EmitOptions): string;
  tensor(value: ConstTensor): string;
  number(value: number): string;
  ints(values: readonly number[]): string;
  /** Nothing is emitted where the shape stays. */
  reshape(name: string, shape: readonly number[]): string;
  transpose(name: string, perm: readonly number[]): string;
  sum(name: string, axes: readonly number[], keepdims?: 0 | 1): string;
  mean(name: string, axes: readonly number[], keepdims?: 0 | 1): string;
  /** @param pads of the spatial axes, begins then ends, none negative. */
  padSpatial(name: string, pads: readonly number[], value?: number): string;
  slice(
    name: string,
    axes: readonly number[],
    starts: readonly number[],
    ends: readonly number[],
    steps?: readonly number[],
  ): string;
}

/** Standard nodes for one training op; gives the name of each of its outputs. */
export type Expansion = (context: ExpandContext, node: Node) => readonly string[];

export function expandContext(writer: GraphWriter): ExpandContext {
  const ints = (values: readonly number[]) => writer.tensor(int64Tensor([values.length], values), 'ints');
  const emit1: ExpandContext['emit1'] = (...args) => writer.emit1(...args);
  return {
    writer,
    opset: writer.opset,
    shape: (name) => writer.shape(name),
    emit1,
    tensor: (value) => writer.tensor(value),
    number: (value) => writer.tensor(scalar(value), 'number'),
    ints,
    reshape: (name, shape) =>
      writer.shape(name).join() === shape.join() ? name : emit1('Reshape', [name, ints(shape)]),
    transpose: (name, perm) => (perm.every((from, to) => from === to) ? name : emit1('Transpose', [name], { perm })),
    sum: (name, axes, keepdims = 0) => emit1('ReduceSum', [name, ints(axes)], { keepdims }),
    mean: (name, axes, keepdims = 0) =>
      // Axes are an input since opset 18.
      writer.opset < 18
        ? emit1('ReduceMean', [name], { axes, keepdims })
        : emit1('ReduceMean', [name, ints(axes)], { keepdims }),
    padSpatial: (name, pads, value = 0) => {
      if (pads.every((pad) => pad === 0)) return name;
      const rank = pads.length / 2;
      const full = [0, 0, ...pads.slice(0, rank), 0, 0, ...pads.slice(rank)];
      return emit1('Pad', [name, ints(full), ...(value === 0 ? [] : [writer.tensor(scalar(value), 'number')])]);
    },
    slice: (name, axes, starts, ends, steps) =>
      emit1('Slice', [name, ints(starts), ints(ends), ints(axes), ...(steps ? [ints(steps)] : [])]),
  };
}

export interface Window {
  kernel: readonly number[];
  strides: readonly number[];
  dilations: readonly number[];
  /** Begins, then ends. */
  pads: readonly number[];
  group: number;
}

/** Attributes of a training op, which are all present. */
export function windowOf(node: Node): Window {
  const kernel = intsAttribute(node, 'kernel_shape', []);
  const ones = kernel.map(() => 1);
  return {
    kernel,
    strides: intsAttribute(node, 'strides', ones),
    dilations: intsAttribute(node, 'dilations', ones),
    pads: intsAttribute(
      node,
      'pads',
      kernel.flatMap(() => [0, 0]),
    ),
    group: intAttribute(node, 'group', 1),
  };
}

export const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i);

/** All positions in a box, row-major. */
export const positions = (sizes: readonly number[]): number[][] =>
  sizes.reduce<number[][]>((list, size) => list.flatMap((at) => range(size).map((i) => [...at, i])), [[]]);

/**
 * What a sliding window read is given back to where it was read: a ConvTranspose whose output has exactly `sizes`.
 * @param weight [channels in, channels out / group, kernel…]
 */
export function slideBack(
  context: ExpandContext,
  values: string,
  weight: string,
  window: Window,
  sizes: readonly number[],
): string {
  const { kernel, strides, dilations, group } = window;
  const rank = kernel.length;
  const steps = context.shape(values).slice(2);
  const pads = [...window.pads];
  const extra = kernel.map((k, axis) => {
    const reach = strides[axis]! * (steps[axis]! - 1) + (k - 1) * dilations[axis]! + 1;
    const missing = sizes[axis]! + pads[axis]! + pads[axis + rank]! - reach;
    // A last window (ceil mode) that reaches past the padding: what falls there is cut off.
    if (missing < 0) pads[axis + rank] = pads[axis + rank]! - missing;
    return Math.max(0, missing);
  });
  return context.emit1('ConvTranspose', [values, weight], {
    kernel_shape: kernel,
    strides,
    dilations,
    pads,
    group,
    output_padding: extra,
  });
}
