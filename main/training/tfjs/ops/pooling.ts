import * as tf from '@tensorflow/tfjs-core';
import { intAttribute, intsAttribute } from '../../../onnx/index.ts';
import { last, type OpContext, type OpRow, type OpRows } from './row.ts';
import { extentOf, place, reachOf, slidOver, spreadOut, strided, unplace, windowOf, type Window } from './window.ts';

/** The lowest float32: below everything a network computes, and unlike -Infinity it survives a multiplication by 0. */
const LOWEST = -3.4028234663852886e38;

type Pair = readonly [number, number];

interface Pool {
  window: Window;
  size: Pair;
  out: Pair;
  extent: Pair;
  /** How TensorFlow.js wants it. */
  attributes: { filterSize: [number, number]; strides: [number, number]; pad: 'valid' };
}

function poolOf(context: OpContext, input: readonly number[]): Pool {
  const window = windowOf(context, intsAttribute(context.node, 'kernel_shape')!, input);
  if (window.dilations[0] !== 1 || window.dilations[1] !== 1) throw context.unsupported('dilated pooling');
  const size: Pair = [input[2]!, input[3]!];
  const out: Pair = [slidOver(window, size[0], 0), slidOver(window, size[1], 1)];
  return {
    window,
    size,
    out,
    extent: [extentOf(window, out[0], 0), extentOf(window, out[1], 1)],
    attributes: { filterSize: [...window.kernel], strides: [...window.strides], pad: 'valid' },
  };
}

const maxPool: OpRow = (context) => {
  if (context.node.outputs.length > 1 && context.node.outputs[1] !== '') throw context.unsupported('its Indices');
  const { window, extent, attributes } = poolOf(context, context.dims(0));
  const x = place(context.channelsLast(0), window.begin, extent, LOWEST);
  return last(tf.maxPool(x, attributes.filterSize, attributes.strides, 'valid'));
};

/**
 * Of equal values the first in row-major order gets everything, as in PyTorch. Not by the kernel MaxPoolGrad: the WASM one decides ties
 * otherwise, and after a ReLU ties are common.
 */
const maxPoolGrad: OpRow = (context) => {
  const { window, size, out, extent } = poolOf(context, context.dims(1));
  const x = place(context.channelsLast(1), window.begin, extent, LOWEST);
  const [dY, y] = [context.channelsLast(0), context.channelsLast(2)];
  let free: tf.Tensor = tf.onesLike(y);
  let sum: tf.Tensor = tf.zerosLike(x);
  for (let i = 0; i < window.kernel[0]; i++) {
    for (let j = 0; j < window.kernel[1]; j++) {
      const hit = tf.mul(tf.cast(tf.equal(strided(x, [i, j], out, window.strides), y), 'float32'), free);
      free = tf.sub(free, hit);
      sum = tf.add(sum, place(spreadOut(tf.mul(hit, dY) as tf.Tensor4D, window.strides), [i, j], extent));
    }
  }
  return last(unplace(sum as tf.Tensor4D, window.begin, size));
};

/** What each output position divides its sum by: [1, h, w, 1]. Positions beyond the padding (ceil_mode) never count. */
function divisors(context: OpContext, { window, size, out }: Pool): tf.Tensor4D {
  const padding = intAttribute(context.node, 'count_include_pad', 0) === 1;
  const along = (i: 0 | 1) =>
    Array.from({ length: out[i] }, (_, at) => {
      const from = at * window.strides[i] - window.begin[i];
      const to = Math.min(from + reachOf(window, i), size[i] + (padding ? window.end[i] : 0));
      return to - (padding ? from : Math.max(from, 0));
    });
  const [rows, columns] = [along(0), along(1)];
  return tf.tensor4d(
    rows.flatMap((row) => columns.map((column) => row * column)),
    [1, out[0], out[1], 1],
  );
}

const averagePool: OpRow = (context) => {
  const pool = poolOf(context, context.dims(0));
  const { window, extent, attributes } = pool;
  const x = place(context.channelsLast(0), window.begin, extent);
  const mean = tf.avgPool(x, attributes.filterSize, attributes.strides, 'valid');
  const area = window.kernel[0] * window.kernel[1];
  return last(tf.mul(mean, tf.div(area, divisors(context, pool))));
};

const averagePoolGrad: OpRow = (context) => {
  const shape = intsAttribute(context.node, 'input_shape')!;
  const pool = poolOf(context, shape);
  const { window, size, extent, attributes } = pool;
  const dY = context.channelsLast(0);
  const area = window.kernel[0] * window.kernel[1];
  const scaled = tf.mul(dY, tf.div(area, divisors(context, pool)));
  // Of `input` the kernel takes the shape only.
  const input = tf.zeros([shape[0]!, ...extent, shape[1]!]);
  const dX = tf.engine().runKernel('AvgPoolGrad', { dy: scaled, input }, attributes);
  return last(unplace(dX as tf.Tensor4D, window.begin, size));
};

const globalPool =
  (reduce: (x: tf.Tensor, axes: number[]) => tf.Tensor): OpRow =>
  (context) => {
    const value = context.value(0);
    const rank = value.dims.length;
    if (rank === 4 && value.hasChannelsLast) return last(reduce(value.channelsLast, [1, 2]));
    return reduce(
      value.tensor,
      Array.from({ length: rank - 2 }, (_, i) => i + 2),
    );
  };

export const poolingRows: OpRows = [
  ['MaxPool', maxPool],
  ['AveragePool', averagePool],
  ['GlobalAveragePool', globalPool((x, axes) => tf.mean(x, axes, true))],
  ['GlobalMaxPool', globalPool((x, axes) => tf.max(x, axes, true))],
];

export const poolingTrainingRows: OpRows = [
  ['MaxPoolGrad', maxPoolGrad],
  ['AveragePoolGrad', averagePoolGrad],
];
