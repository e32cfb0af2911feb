import { float32Tensor, intAttribute, intsAttribute, textAttribute, type ConstTensor } from '../../onnx/index.ts';
import type { GradientRule, RuleContext } from '../rule.ts';
import { constantNumbers, multiplyAxis, reduceSum, reshape, sameShape } from './emit.ts';

/*
 * Resize is linear and separable: Y = R_axis X per axis, with a constant matrix R [out, in] of interpolation weights. The gradient is the
 * product with its transpose; repeating by a whole factor is the sum over blocks.
 */

interface AxisSizes {
  readonly from: number;
  readonly to: number;
  readonly scale: number;
}

const f32 = Math.fround;

/**
 * Position in the input of position i of the output (attribute coordinate_transformation_mode of Resize, opset 19). In float32, as the runtime computes it:
 * with nearest a position on the border between two pixels goes to the one that rounding leaves it at.
 */
const coordinates: Readonly<Record<string, (i: number, sizes: AxisSizes) => number>> = {
  half_pixel: (i, { scale }) => f32(f32((i + 0.5) / scale) - 0.5),
  half_pixel_symmetric: (i, { from, to, scale }) => {
    const center = from / 2;
    const offset = f32(center * f32(1 - f32(to / f32(from * scale))));
    return f32(f32(offset + f32((i + 0.5) / scale)) - 0.5);
  },
  pytorch_half_pixel: (i, { to, scale }) => (to > 1 ? f32(f32((i + 0.5) / scale) - 0.5) : 0),
  align_corners: (i, { from, to }) => (to === 1 ? 0 : f32(f32(i * (from - 1)) / (to - 1))),
  asymmetric: (i, { scale }) => f32(i / scale),
};

/** What lies as near to the middle between two pixels counts as the middle (as in ONNX Runtime). */
const HALF = 1e-6;

const roundings: Readonly<Record<string, (x: number) => number>> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5 - HALF),
  round_prefer_ceil: (x) => Math.floor(x + 0.5 + HALF),
  floor: Math.floor,
  ceil: Math.ceil,
};

/** Adds the weights of output position `i`, at input position `x`, to its row. */
type Weigh = (row: Float64Array, x: number) => void;

const nearest =
  (round: (x: number) => number): Weigh =>
  (row, x) => {
    row[Math.min(row.length - 1, Math.max(0, round(x)))]! += 1;
  };

const linear: Weigh = (row, x) => {
  const clamped = Math.min(row.length - 1, Math.max(0, x));
  const low = Math.floor(clamped);
  const high = Math.min(row.length - 1, low + 1);
  row[low]! += 1 - (clamped - low);
  row[high]! += clamped - low;
};

function weighOf(context: RuleContext): Weigh {
  const { node } = context;
  const mode = textAttribute(node, 'mode', 'nearest');
  if (intAttribute(node, 'antialias', 0) === 1)
    throw context.unsupported(`a gradient of the mode "${mode}" with antialias`);
  if (mode === 'linear') return linear;
  const rounding = textAttribute(node, 'nearest_mode', 'round_prefer_floor');
  const round = roundings[rounding];
  if (mode !== 'nearest' || !round) {
    throw context.unsupported(`a gradient of the mode "${mode}"${mode === 'nearest' ? ` (${rounding})` : ''}`);
  }
  return nearest(round);
}

/** Scale per axis: as given, or by the sizes. */
function scalesOf(context: RuleContext, from: readonly number[], to: readonly number[]): number[] {
  const { node } = context;
  if (intsAttribute(node, 'axes') || textAttribute(node, 'keep_aspect_ratio_policy', 'stretch') !== 'stretch') {
    throw context.unsupported('a gradient of resizing along chosen axes or by an aspect ratio');
  }
  const given = constantNumbers(context, 2, 'scales');
  return from.map((dim, axis) => given?.[axis] ?? f32(to[axis]! / dim));
}

/** The transpose of one axis' interpolation matrix, [in, out]. */
function transposedWeights(
  sizes: AxisSizes,
  coordinate: (i: number, sizes: AxisSizes) => number,
  weigh: Weigh,
): ConstTensor {
  const { from, to } = sizes;
  const weights = new Float32Array(from * to);
  for (let i = 0; i < to; i += 1) {
    const row = new Float64Array(from);
    weigh(row, coordinate(i, sizes));
    for (let j = 0; j < from; j += 1) weights[j * to + i] = row[j]!;
  }
  return float32Tensor([from, to], weights);
}

export const resizeRule: GradientRule = (context, [gradient]) => {
  const { node } = context;
  const others = node.inputs.slice(1).map(() => undefined);
  if (gradient === undefined || !context.wants(0)) return [undefined, ...others];
  const to = context.shape(node.inputs[0]!);
  const from = context.shape(node.outputs[0]!);
  // Whatever the scales: what keeps its shape is copied.
  if (sameShape(from, to)) return [gradient, ...others];
  const mode = textAttribute(node, 'coordinate_transformation_mode', 'half_pixel');
  const coordinate = coordinates[mode];
  if (!coordinate) throw context.unsupported(`a gradient of the coordinates "${mode}"`);
  const scales = scalesOf(context, to, from);
  const weigh = weighOf(context);
  const shape = [...from];
  let name = gradient;
  const blocks = to.map((dim, axis) =>
    blockSize({ from: dim, to: from[axis]!, scale: scales[axis]! }, coordinate, weigh),
  );
  if (blocks.every((block) => block !== undefined)) {
    // Every input element was repeated: one sum over blocks.
    const apart = to.flatMap((dim, axis) => (blocks[axis] === 1 ? [dim] : [dim, blocks[axis]!]));
    let at = 0;
    const axes = blocks.flatMap((block) => {
      at += block === 1 ? 1 : 2;
      return block === 1 ? [] : [at - 1];
    });
    return [reduceSum(context, reshape(context, name, from, apart), axes, false), ...others];
  }
  to.forEach((dim, axis) => {
    if (blocks[axis] === 1) return;
    const sizes = { from: dim, to: from[axis]!, scale: scales[axis]! };
    const matrix = context.tensor(transposedWeights(sizes, coordinate, weigh));
    name = multiplyAxis(context, name, shape, axis, matrix, dim);
    shape[axis] = dim;
  });
  return [name, ...others];
};

/** b where output position i shows input position floor(i / b) and nothing else; undefined otherwise. */
function blockSize(
  sizes: AxisSizes,
  coordinate: (i: number, sizes: AxisSizes) => number,
  weigh: Weigh,
): number | undefined {
  const block = sizes.to / sizes.from;
  if (!Number.isInteger(block)) return undefined;
  for (let i = 0; i < sizes.to; i += 1) {
    const row = new Float64Array(sizes.from);
    weigh(row, coordinate(i, sizes));
    if (row[Math.floor(i / block)] !== 1) return undefined;
  }
  return block;
}
