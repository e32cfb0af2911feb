import * as tf from '@tensorflow/tfjs-core';
import { TRAINING_DOMAIN } from '../../../main/autodiff/training-ops.ts';
import { float32Tensor, type AttributeInput } from '../../../main/onnx/index.ts';
import { variable as v, type GradientCase } from './gradient-case.ts';

interface Window {
  kernel: number[];
  strides?: number[];
  pads?: number[];
  dilations?: number[];
  group?: number;
  output_padding?: number[];
}

/** All attributes are stated, as in a prepared step graph. */
const windowOf = ({
  kernel,
  strides,
  pads,
  dilations,
  group,
  output_padding,
}: Window): Record<string, AttributeInput> => ({
  kernel_shape: kernel,
  strides: strides ?? kernel.map(() => 1),
  pads: pads ?? kernel.flatMap(() => [0, 0]),
  dilations: dilations ?? kernel.map(() => 1),
  group: group ?? 1,
  ...(output_padding ? { output_padding } : {}),
});

const toLast = (x: tf.Tensor) => tf.transpose(x as tf.Tensor4D, [0, 2, 3, 1]);
const toFirst = (x: tf.Tensor) => tf.transpose(x as tf.Tensor4D, [0, 3, 1, 2]);
type Pair = [number, number];
const explicit = ([top, left, bottom, right]: number[]): [Pair, Pair, Pair, Pair] => [
  [0, 0],
  [top!, bottom!],
  [left!, right!],
  [0, 0],
];

/** TensorFlow.js has gradients of 2-d convolutions without dilation, plain or depthwise. */
function convInTfjs(x: number[], w: number[], window: Window): GradientCase['tfjs'] {
  const group = window.group ?? 1;
  const depthwise = group === x[1] && group > 1;
  if (x.length !== 4 || window.dilations || (group > 1 && !depthwise)) return undefined;
  const strides = (window.strides ?? [1, 1]) as [number, number];
  return ([input, weight, bias]) => {
    // Padding on its own: not every kernel of the CPU backend takes explicit pads.
    const padded = tf.pad(toLast(input!), explicit(window.pads ?? [0, 0, 0, 0])) as tf.Tensor4D;
    const order = depthwise ? [2, 3, 0, 1] : [2, 3, 1, 0];
    let filter = tf.transpose(weight as tf.Tensor4D, order);
    // [kh, kw, C m, 1] -> [kh, kw, C, m]
    if (depthwise) filter = tf.reshape(filter, [w[2]!, w[3]!, group, w[0]! / group]);
    const y = depthwise
      ? tf.depthwiseConv2d(padded, filter, strides, 'valid')
      : tf.conv2d(padded, filter, strides, 'valid');
    return toFirst(bias ? tf.add(y, bias) : y);
  };
}

function conv(note: string, x: number[], w: number[], more: Omit<Window, 'kernel'> = {}, bias = false): GradientCase {
  const window = { kernel: w.slice(2), ...more };
  const tfjs = convInTfjs(x, w, window);
  return {
    op: 'Conv',
    note,
    inputs: [v(x), v(w, -1, 1), ...(bias ? [v([w[0]!])] : [])],
    attributes: windowOf(window),
    ...(tfjs ? { tfjs } : {}),
  };
}

const transposed = (
  note: string,
  x: number[],
  w: number[],
  more: Omit<Window, 'kernel'> = {},
  bias = false,
): GradientCase => ({
  op: 'ConvTranspose',
  note,
  inputs: [v(x), v(w, -1, 1), ...(bias ? [v([w[1]! * (more.group ?? 1)])] : [])],
  attributes: windowOf({ kernel: w.slice(2), ...more }),
});

type Pool = {
  strides?: number[];
  pads?: number[];
  dilations?: number[];
  ceil_mode?: number;
  count_include_pad?: number;
};

function pool(
  op: 'MaxPool' | 'AveragePool',
  note: string,
  x: number[],
  kernel: number[],
  more: Pool = {},
  opset?: number,
): GradientCase {
  const strides = more.strides ?? kernel.map(() => 1);
  const inTfjs = x.length === 4 && !more.dilations && !more.ceil_mode && !more.pads;
  const [size, step] = [kernel as [number, number], strides as [number, number]];
  return {
    op,
    note,
    inputs: [v(x)],
    attributes: { kernel_shape: kernel, ...more, strides, pads: more.pads ?? kernel.flatMap(() => [0, 0]) },
    ...(opset ? { opset } : {}),
    ...(inTfjs
      ? {
          tfjs: ([t]: tf.Tensor[]) => {
            const last = toLast(t!);
            return toFirst(
              op === 'MaxPool' ? tf.maxPool(last, size, step, 'valid') : tf.avgPool(last, size, step, 'valid'),
            );
          },
        }
      : {}),
  };
}

const pools = (op: 'MaxPool' | 'AveragePool'): GradientCase[] => [
  pool(op, '2x2', [2, 2, 4, 6], [2, 2], { strides: [2, 2] }),
  pool(op, '3x2, overlapping', [1, 2, 6, 5], [3, 2], { strides: [2, 1] }),
  pool(op, 'padded', [1, 2, 7, 7], [3, 3], { strides: [2, 2], pads: [1, 1, 1, 1] }),
  pool(op, 'padded on one side', [2, 1, 6, 5], [3, 3], { strides: [2, 2], pads: [0, 1, 1, 0] }),
  pool(op, 'stride beyond the window', [1, 2, 8, 7], [2, 2], { strides: [3, 3] }),
  pool(op, 'one axis', [2, 3, 9], [3], { strides: [2], pads: [1, 1] }),
];

const image = [2, 3, 4, 3];

export const windowCases: readonly GradientCase[] = [
  conv('3x3', [2, 3, 5, 6], [4, 3, 3, 3]),
  conv('3x3, padded, bias', [2, 3, 5, 4], [2, 3, 3, 3], { pads: [1, 1, 1, 1] }, true),
  conv('1x1', [2, 4, 3, 3], [5, 4, 1, 1], {}, true),
  conv('1x1, strided', [2, 3, 5, 4], [4, 3, 1, 1], { strides: [2, 2] }),
  conv('3x3, strided', [1, 2, 7, 8], [3, 2, 3, 3], { strides: [2, 2], pads: [1, 1, 1, 1] }),
  conv('rows left over', [1, 2, 8, 8], [2, 2, 3, 3], { strides: [3, 3] }),
  conv('asymmetric', [1, 2, 6, 7], [3, 2, 3, 2], { strides: [2, 3], pads: [0, 1, 2, 0] }),
  conv('dilated', [1, 2, 8, 7], [3, 2, 3, 3], { dilations: [2, 2], pads: [2, 2, 2, 2] }),
  conv('dilated, strided, asymmetric', [1, 2, 9, 8], [2, 2, 2, 3], {
    dilations: [3, 2],
    strides: [2, 1],
    pads: [1, 0, 2, 3],
  }),
  conv('groups', [2, 4, 5, 5], [6, 2, 3, 3], { group: 2, pads: [1, 1, 1, 1] }, true),
  conv('groups, strided, dilated', [1, 6, 7, 7], [3, 2, 3, 3], {
    group: 3,
    strides: [2, 2],
    dilations: [2, 2],
    pads: [2, 2, 2, 2],
  }),
  conv('depthwise', [2, 3, 5, 6], [3, 1, 3, 3], { group: 3, pads: [1, 1, 1, 1] }, true),
  conv('depthwise, strided', [2, 4, 7, 6], [4, 1, 3, 3], { group: 4, strides: [2, 2], pads: [0, 0, 1, 1] }),
  conv('depthwise, multiplier', [1, 3, 5, 5], [6, 1, 3, 3], { group: 3, pads: [1, 1, 1, 1] }),
  conv('depthwise, 5x5, dilated', [1, 2, 9, 9], [2, 1, 5, 5], { group: 2, dilations: [2, 2], pads: [4, 4, 4, 4] }),
  conv('depthwise, 5x5, strided', [1, 2, 8, 8], [2, 1, 5, 5], { group: 2, strides: [2, 2], pads: [2, 2, 2, 2] }),
  conv('the whole image', [2, 3, 4, 4], [5, 3, 4, 4]),
  conv('patches', [1, 3, 8, 8], [4, 3, 4, 4], { strides: [4, 4] }, true),
  conv('one axis', [2, 3, 9], [4, 3, 3], { strides: [2], pads: [1, 0] }, true),
  transposed('2x2', [2, 3, 3, 4], [3, 2, 2, 2], { strides: [2, 2] }, true),
  transposed('3x3, padded', [1, 2, 4, 4], [2, 3, 3, 3], {
    strides: [2, 2],
    pads: [1, 1, 1, 1],
    output_padding: [1, 1],
  }),
  transposed('groups', [1, 4, 3, 3], [4, 2, 3, 3], { group: 2, pads: [1, 0, 0, 1] }, true),
  transposed('dilated', [1, 2, 4, 3], [2, 2, 3, 2], { dilations: [2, 1], strides: [1, 2] }),
  transposed('depthwise', [1, 3, 3, 3], [3, 1, 4, 4], { group: 3, strides: [2, 2], pads: [1, 1, 1, 1] }),
  ...pools('MaxPool'),
  ...pools('AveragePool'),
  pool('MaxPool', 'ceil', [1, 2, 6, 7], [3, 3], { strides: [2, 2], ceil_mode: 1 }),
  pool('MaxPool', 'dilated', [1, 2, 7, 6], [2, 2], { dilations: [2, 2] }),
  pool('AveragePool', 'padding counted', [1, 2, 5, 5], [3, 3], {
    strides: [2, 2],
    pads: [1, 1, 1, 1],
    count_include_pad: 1,
  }),
  pool('AveragePool', 'ceil', [1, 2, 6, 7], [3, 3], { strides: [2, 2], ceil_mode: 1 }),
  { op: 'GlobalAveragePool', inputs: [v(image)], tfjs: ([x]) => tf.mean(x!, [2, 3], true) },
  { op: 'GlobalAveragePool', note: 'one axis', inputs: [v([2, 3, 5])], tfjs: ([x]) => tf.mean(x!, [2], true) },
  { op: 'GlobalMaxPool', inputs: [v(image)], tfjs: ([x]) => tf.max(x!, [2, 3], true) },
  {
    op: 'BatchNormTrain',
    domain: TRAINING_DOMAIN,
    inputs: [v(image), v([3], 0.5, 2), v([3]), float32Tensor([3], [0, 1, 2]), float32Tensor([3], [1, 2, 3])],
    attributes: { epsilon: 1e-3, momentum: 0.9 },
    outputs: 5,
    reached: [0],
    tfjs: ([x, scale, bias]) => {
      const column = (t: tf.Tensor) => tf.reshape(t, [3, 1, 1]);
      const { mean, variance } = tf.moments(x!, [0, 2, 3], true);
      const normal = tf.div(tf.sub(x!, mean), tf.sqrt(tf.add(variance, Math.fround(1e-3))));
      return tf.add(tf.mul(normal, column(scale!)), column(bias!));
    },
  },
  {
    op: 'BatchNormTrain',
    note: 'matrix',
    domain: TRAINING_DOMAIN,
    inputs: [v([5, 3]), v([3], 0.5, 2), v([3]), float32Tensor([3], [0, 1, 2]), float32Tensor([3], [1, 2, 3])],
    attributes: { epsilon: 1e-5, momentum: 0.8 },
    outputs: 5,
    reached: [0],
  },
  {
    op: 'BatchNormalization',
    note: 'frozen',
    inputs: [v(image), v([3], 0.5, 2), v([3]), float32Tensor([3], [0, 0.5, -1]), float32Tensor([3], [1, 2, 0.5])],
    attributes: { epsilon: 1e-3 },
    tfjs: ([x, scale, bias]) =>
      toFirst(
        tf.batchNorm(
          toLast(x!) as tf.Tensor4D,
          [0, 0.5, -1],
          [1, 2, 0.5],
          bias as tf.Tensor1D,
          scale as tf.Tensor1D,
          1e-3,
        ),
      ),
  },
  {
    op: 'BatchNormalization',
    note: 'frozen, matrix',
    inputs: [v([4, 3]), v([3], 0.5, 2), v([3]), float32Tensor([3], [0, 0.5, -1]), float32Tensor([3], [1, 2, 0.5])],
  },
  ...[
    { note: 'last axis', x: [2, 3, 4], scale: [4], axis: -1 },
    { note: 'two axes', x: [3, 2, 4], scale: [2, 4], axis: 1 },
  ].map(({ note, x, scale, axis }): GradientCase => ({
    op: 'LayerNormalization',
    note,
    inputs: [v(x), v(scale, 0.5, 2), v(scale)],
    attributes: { axis, epsilon: 1e-4 },
    tfjs: ([t, gain, bias]) => {
      const { mean, variance } = tf.moments(t!, axis === -1 ? [2] : [1, 2], true);
      const normal = tf.div(tf.sub(t!, mean), tf.sqrt(tf.add(variance, Math.fround(1e-4))));
      return tf.add(tf.mul(normal, gain!), bias!);
    },
  })),
  {
    op: 'LayerNormalization',
    note: 'without bias',
    inputs: [v([2, 3, 4]), v([4], 0.5, 2)],
  },
];
