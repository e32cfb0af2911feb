import * as tf from '@tensorflow/tfjs-core';
import { elementCount, floatValue, intAttribute, intsAttribute, textAttribute } from '../../../onnx/index.ts';
import type { OpContext, OpRow, OpRows } from './row.ts';

/** Place in the input of output position `at` (ONNX Operators.md, Resize, coordinate_transformation_mode). */
const coordinates: Record<string, (at: number, scale: number, from: number, to: number) => number> = {
  half_pixel: (at, scale) => (at + 0.5) / scale - 0.5,
  pytorch_half_pixel: (at, scale, _from, to) => (to > 1 ? (at + 0.5) / scale - 0.5 : 0),
  align_corners: (at, _scale, from, to) => (to === 1 ? 0 : (at * (from - 1)) / (to - 1)),
  asymmetric: (at, scale) => at / scale,
};

const roundings: Record<string, (x: number) => number> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

const clampTo = (size: number, at: number): number => Math.min(size - 1, Math.max(0, at));

/** One axis as a matrix [to, from]: a row holds the weights of one output position. */
function weightsAlong(context: OpContext, from: number, to: number, scale: number): Float32Array {
  const { node } = context;
  const place = coordinates[textAttribute(node, 'coordinate_transformation_mode', 'half_pixel')];
  const mode = textAttribute(node, 'mode', 'nearest');
  const rounding = roundings[textAttribute(node, 'nearest_mode', 'round_prefer_floor')];
  if (!place || !rounding || (mode !== 'nearest' && mode !== 'linear') || intAttribute(node, 'antialias', 0) !== 0) {
    throw context.unsupported('this mode of resizing');
  }
  const weights = new Float32Array(to * from);
  for (let at = 0; at < to; at++) {
    const x = place(at, scale, from, to);
    if (mode === 'nearest') {
      weights[at * from + clampTo(from, rounding(x))]! += 1;
      continue;
    }
    const low = Math.floor(x);
    weights[at * from + clampTo(from, low)]! += 1 - (x - low);
    weights[at * from + clampTo(from, low + 1)]! += x - low;
  }
  return weights;
}

/** Axis by axis a product with a matrix: nearest and linear in every coordinate mode, on every backend alike. */
const resize: OpRow = (context) => {
  if (intsAttribute(context.node, 'axes') || floatValue(context.node, 'cubic_coeff_a') !== undefined) {
    throw context.unsupported('resizing along chosen axes, or cubic');
  }
  const dims = context.dims(0);
  const given = context.has(3) ? context.numbers(3) : undefined;
  const scales = context.has(2) ? context.numbers(2) : [];
  const sizes = given?.length ? given : dims.map((dim, axis) => Math.floor(dim * scales[axis]! + 1e-9));
  let x = tf.clone(context.tensor(0));
  dims.forEach((from, axis) => {
    const to = sizes[axis]!;
    const scale = given?.length ? to / from : scales[axis]!;
    if (to === from && scale === 1) return;
    const shape = x.shape;
    const inner = elementCount(shape.slice(axis + 1));
    const matrix = tf.tensor3d(weightsAlong(context, from, to, scale), [1, to, from]);
    const product = tf.matMul(matrix, tf.reshape(x, [-1, from, inner]) as tf.Tensor3D);
    x = tf.reshape(product, [...shape.slice(0, axis), to, ...shape.slice(axis + 1)]);
  });
  return x;
};

export const resizeRows: OpRows = [['Resize', resize]];
