import {
  elementCount,
  float32Tensor,
  int64Tensor,
  intAttribute,
  intsAttribute,
  numbersOf,
  sliceBounds,
  textAttribute,
  type SliceBounds,
} from '../../onnx/index.ts';
import type { GradientRule, RuleContext, RuleRows } from '../rule.ts';
import {
  axisIn,
  constant,
  ints,
  multiplyAxis,
  numbersFrom,
  padZeros,
  reduceSum,
  reduceTo,
  reshape,
  slice,
  transpose,
} from './emit.ts';
import { padRule } from './pad.ts';
import { resizeRule } from './resize.ts';

/* Operators that move elements: the gradient moves them back and sums what was used more than once. */

/** The rule of an operator whose first input alone is data; the other inputs (shapes, axes) have no gradient. */
const dataOnly =
  (
    emit: (context: RuleContext, gradient: string, from: readonly number[], to: readonly number[]) => string,
  ): GradientRule =>
  (context, [gradient]) => {
    const others = context.node.inputs.slice(1).map(() => undefined);
    if (gradient === undefined || !context.wants(0)) return [undefined, ...others];
    const { inputs, outputs } = context.node;
    return [emit(context, gradient, context.shape(outputs[0]!), context.shape(inputs[0]!)), ...others];
  };

const concat: GradientRule = (context, [gradient]) => {
  const { inputs } = context.node;
  if (gradient === undefined) return inputs.map(() => undefined);
  const axis = axisIn(intAttribute(context.node, 'axis', 0), context.shape(inputs[0]!).length);
  let start = 0;
  return inputs.map((name, index) => {
    const from = start;
    start += context.shape(name)[axis]!;
    if (!context.wants(index)) return undefined;
    return inputs.length === 1 ? gradient : slice(context, gradient, [{ axis, start: from, end: start }]);
  });
};

const split: GradientRule = (context, gradients) => {
  const { inputs, outputs } = context.node;
  const others = inputs.slice(1).map(() => undefined);
  if (!context.wants(0)) return [undefined, ...others];
  const shape = context.shape(inputs[0]!);
  const axis = axisIn(intAttribute(context.node, 'axis', 0), shape.length);
  // An output that nobody names has a size all the same.
  const sizes = splitSizes(context, shape[axis]!);
  const reached = outputs.flatMap((_, index) => (gradients[index] === undefined ? [] : [index]));
  if (reached.length === 1) {
    const at = reached[0]!;
    const before = sizes.slice(0, at).reduce((sum, size) => sum + size, 0);
    const pads = [...shape, ...shape].map(() => 0);
    pads[axis] = before;
    pads[axis + shape.length] = shape[axis]! - before - sizes[at]!;
    return [padZeros(context, gradients[at]!, pads), ...others];
  }
  const parts = sizes.map((size, index) => {
    const dims = shape.map((dim, at) => (at === axis ? size : dim));
    return gradients[index] ?? context.emit1('Expand', [constant(context, 0), ints(context, dims)]);
  });
  return [context.emit1('Concat', parts, { axis }), ...others];
};

function splitSizes(context: RuleContext, size: number): number[] {
  const stated = numbersFrom(context, 'split', 1);
  if (stated) return stated;
  const { length } = context.node.outputs;
  const chunk = Math.ceil(size / length);
  return Array.from({ length }, (_, index) => Math.max(0, Math.min(chunk, size - index * chunk)));
}

/** What a Slice takes along each axis. */
function sliceWindow(context: RuleContext, shape: readonly number[]): (SliceBounds & { step: number })[] {
  const window = shape.map((count) => ({ start: 0, step: 1, count }));
  const starts = numbersFrom(context, 'starts', 1)!;
  const ends = numbersFrom(context, 'ends', 2)!;
  const axes = numbersFrom(context, 'axes', 3) ?? [...starts.keys()];
  const steps = numbersFrom(context, 'steps', 4) ?? starts.map(() => 1);
  axes.forEach((rawAxis, i) => {
    const axis = axisIn(rawAxis, shape.length);
    const step = steps[i]!;
    window[axis] = { ...sliceBounds(shape[axis]!, starts[i]!, ends[i]!, step), step };
  });
  return window;
}

const sliceRule = dataOnly((context, gradient, from, to) => {
  const window = sliceWindow(context, to);
  const rank = to.length;
  // Backward steps first become forward ones.
  const backward = [...window.keys()].filter((axis) => window[axis]!.step < 0);
  let name = slice(
    context,
    gradient,
    backward.map((axis) => ({ axis, start: -1, end: Number.MIN_SAFE_INTEGER, step: -1 })),
  );
  const low = window.map(({ start, step, count }) => (count === 0 ? 0 : step < 0 ? start + step * (count - 1) : start));
  const stride = window.map(({ step }) => Math.abs(step));
  // Zeros between the elements: [m] -> [m, 1] -> [m, s] -> [m s].
  if (stride.some((step) => step > 1)) {
    name = reshape(
      context,
      name,
      from,
      from.flatMap((dim) => [dim, 1]),
    );
    const pads = [...from.flatMap(() => [0, 0]), ...stride.flatMap((step) => [0, step - 1])];
    name = padZeros(context, name, pads);
    name = reshape(
      context,
      name,
      from.flatMap((dim, axis) => [dim, stride[axis]!]),
      from.map((dim, axis) => dim * stride[axis]!),
    );
  }
  const after = to.map((dim, axis) => dim - low[axis]! - from[axis]! * stride[axis]!);
  // Of the zeros after the last element some may stand beyond the end.
  const over = [...Array(rank).keys()].filter((axis) => after[axis]! < 0);
  name = slice(
    context,
    name,
    over.map((axis) => ({ axis, start: 0, end: to[axis]! - low[axis]! })),
  );
  return padZeros(context, name, [...low, ...after.map((pad) => Math.max(0, pad))]);
});

const reshapeBack = dataOnly((context, gradient, from, to) => reshape(context, gradient, from, to));

const transposeRule = dataOnly((context, gradient, from) => {
  const perm = intsAttribute(context.node, 'perm') ?? [...from.keys()].reverse();
  return transpose(
    context,
    gradient,
    perm.map((_, axis) => perm.indexOf(axis)),
  );
});

/** [r0 d0, r1 d1, …] -> [r0, d0, r1, d1, …], summed over the repeats. */
const tile = dataOnly((context, gradient, from, to) => {
  const repeats = from.map((dim, axis) => dim / to[axis]!);
  const apart = to.flatMap((dim, axis) => (repeats[axis] === 1 ? [dim] : [repeats[axis]!, dim]));
  const axes: number[] = [];
  let at = 0;
  for (const repeat of repeats) {
    if (repeat === 1) at += 1;
    else {
      axes.push(at);
      at += 2;
    }
  }
  return axes.length === 0 ? gradient : reduceSum(context, reshape(context, gradient, from, apart), axes, false);
});

/** dX[i] = sum of dY[k] where index[k] = i: one product with a matrix of zeros and ones [size, indices]. */
const gather = dataOnly((context, gradient, from, to) => {
  const axis = axisIn(intAttribute(context.node, 'axis', 0), to.length);
  const size = to[axis]!;
  const indices = context.node.inputs[1]!;
  const count = elementCount(context.shape(indices));
  const lined = [...to.slice(0, axis), count, ...to.slice(axis + 1)];
  const dY = reshape(context, gradient, from, lined);
  const known = context.constant(indices);
  if (!known)
    return multiplyAxis(context, dY, lined, axis, oneHot(context, indices, [1, count], [size, 1], size), size);
  const picks = [...numbersOf(known)].map((pick) => axisIn(pick, size));
  if (picks.every((pick, i) => pick === picks[0]! + i)) {
    const pads = [...lined, ...lined].map(() => 0);
    pads[axis] = picks[0] ?? 0;
    pads[axis + lined.length] = size - count - pads[axis]!;
    return padZeros(context, dY, pads);
  }
  const matrix = new Float32Array(size * count);
  picks.forEach((pick, i) => (matrix[pick * count + i] = 1));
  return multiplyAxis(context, dY, lined, axis, context.tensor(float32Tensor([size, count], matrix)), size);
});

/** 1 where index = position, for indices computed at run time; they are reshaped to `dims`, positions 0 … size-1 to `line`. */
function oneHot(
  context: RuleContext,
  indices: string,
  dims: readonly number[],
  line: readonly number[],
  size: number,
): string {
  const type = context.type(indices);
  let lined = reshape(context, indices, context.shape(indices), dims);
  if (type !== 'int64') lined = context.emit1('Cast', [lined], { to: 7 });
  const ofInt = (value: number) => context.tensor(int64Tensor([], [value]));
  const negative = context.emit1('Less', [lined, ofInt(0)]);
  const fromEnd = context.emit1('Add', [lined, ofInt(size)]);
  const positive = context.emit1('Where', [negative, fromEnd, lined]);
  const positions = context.tensor(
    int64Tensor(
      line,
      Array.from({ length: size }, (_, i) => i),
    ),
  );
  return context.emit1('Cast', [context.emit1('Equal', [positive, positions])], { to: 1 });
}

/** dX[…, i, …] = sum over k of dY[…, k, …] where index[…, k, …] = i. */
const gatherElements = dataOnly((context, gradient, from, to) => {
  const rank = to.length;
  const axis = axisIn(intAttribute(context.node, 'axis', 0), rank);
  const size = to[axis]!;
  // [before, k, after] -> [before, k, 1, after], against positions [size, 1, …].
  const apart = [...from.slice(0, axis + 1), 1, ...from.slice(axis + 1)];
  const line = [size, ...from.slice(axis + 1).map(() => 1)];
  const mask = oneHot(context, context.node.inputs[1]!, apart, line, size);
  const spread = context.emit1('Mul', [mask, reshape(context, gradient, from, apart)]);
  const summed = reduceSum(context, spread, [axis], false);
  // Indices may cover less than the data along the other axes.
  const after = to.map((dim, at) => (at === axis ? 0 : dim - from[at]!));
  return padZeros(context, summed, [...to.map(() => 0), ...after]);
});

const spaceToDepth = dataOnly((context, gradient) =>
  context.emit1('DepthToSpace', [gradient], { blocksize: intAttribute(context.node, 'blocksize', 1), mode: 'DCR' }),
);

const depthToSpace = dataOnly((context, gradient, from, to) => {
  const block = intAttribute(context.node, 'blocksize', 1);
  if (textAttribute(context.node, 'mode', 'DCR') === 'DCR') {
    return context.emit1('SpaceToDepth', [gradient], { blocksize: block });
  }
  const [n, c, h, w] = [to[0]!, from[1]!, to[2]!, to[3]!];
  const apart = transpose(context, reshape(context, gradient, from, [n, c, h, block, w, block]), [0, 1, 3, 5, 2, 4]);
  return reshape(context, apart, [n, c, block, block, h, w], to);
});

export const layoutRules: RuleRows = [
  ['Concat', concat],
  ['Split', split],
  ['Slice', sliceRule],
  ['Pad', padRule],
  ['Transpose', transposeRule],
  ...['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze'].map((op) => [op, reshapeBack] as const),
  ['Expand', dataOnly((context, gradient, from, to) => reduceTo(context, gradient, from, to))],
  ['Tile', tile],
  ['Gather', gather],
  ['GatherElements', gatherElements],
  ['Resize', resizeRule],
  ['DepthToSpace', depthToSpace],
  ['SpaceToDepth', spaceToDepth],
];
