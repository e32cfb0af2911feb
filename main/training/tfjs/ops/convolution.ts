import * as tf from '@tensorflow/tfjs-core';
import { intAttribute, intsAttribute } from '../../../onnx/index.ts';
import { last, type OpContext, type OpRow, type OpRows } from './row.ts';
import { extentOf, place, reachOf, slidOver, spreadOut, strided, unplace, windowOf, type Window } from './window.ts';

/*
 * Convolutions and their gradients on [N, H, W, C] with the kernels of TensorFlow.js. Weights [out, in/group, kh, kw] become
 * [kh, kw, in, out], of a depthwise convolution (group = in) [kh, kw, channels, multiplier]. A dilated weight is spread out with zeros,
 * since the gradient kernels know no dilation.
 */

type Pair = readonly [number, number];

/** [out, in, kh, kw] -> [kh, kw, in, out], gaps filled with zeros. */
function filterOf(weight: tf.Tensor, window: Window): tf.Tensor4D {
  const first = tf.transpose(weight, [2, 3, 1, 0]) as tf.Tensor4D;
  return dilate(first, window);
}

/** [channels * multiplier, 1, kh, kw] -> [kh, kw, channels, multiplier], gaps filled with zeros. */
function depthwiseFilterOf(weight: tf.Tensor, channels: number, window: Window): tf.Tensor4D {
  const [out, , kh, kw] = weight.shape as [number, number, number, number];
  const split = tf.reshape(weight, [channels, out / channels, kh, kw]);
  return dilate(tf.transpose(split, [2, 3, 0, 1]) as tf.Tensor4D, window);
}

function dilate(filter: tf.Tensor4D, { dilations }: Window): tf.Tensor4D {
  if (dilations[0] === 1 && dilations[1] === 1) return filter;
  const [kh, kw, a, b] = filter.shape;
  const spread = spreadOut(tf.reshape(filter, [1, kh, kw, a * b]), [dilations[0], dilations[1]]);
  return tf.reshape(spread, [spread.shape[1], spread.shape[2], a, b]);
}

/** Of the gradient of a spread-out filter, the positions that are weights. */
const undilate = (filter: tf.Tensor4D, { dilations, kernel }: Window): tf.Tensor4D => {
  if (dilations[0] === 1 && dilations[1] === 1) return filter;
  const [h, w, a, b] = filter.shape;
  const picked = strided(tf.reshape(filter, [1, h, w, a * b]), [0, 0], kernel, dilations);
  return tf.reshape(picked, [kernel[0], kernel[1], a, b]);
};

const channelSlice = (x: tf.Tensor4D, from: number, count: number): tf.Tensor4D =>
  count === x.shape[3] ? x : tf.slice4d(x, [0, 0, 0, from], [x.shape[0], x.shape[1], x.shape[2], count]);

const filterSlice = (weight: tf.Tensor, from: number, count: number): tf.Tensor =>
  count === weight.shape[0] ? weight : tf.slice(weight, [from, 0, 0, 0], [count, ...weight.shape.slice(1)]);

interface Convolution {
  window: Window;
  groups: number;
  /** Of X: input channels. */
  channels: number;
  /** Output channels. */
  filters: number;
  depthwise: boolean;
  /** Size of X. */
  size: Pair;
  /** Size of Y. */
  out: Pair;
  /** X as the windows see it: padded or cut to this size. */
  extent: Pair;
}

/** @param input [N, C, H, W] of X; @param weight [out, in/group, kh, kw] */
function convolutionOf(context: OpContext, input: readonly number[], weight: readonly number[]): Convolution {
  const window = windowOf(context, weight.slice(2), input);
  const groups = intAttribute(context.node, 'group', 1);
  const [channels, filters] = [input[1]!, weight[0]!];
  const size: Pair = [input[2]!, input[3]!];
  const out: Pair = [slidOver(window, size[0], 0), slidOver(window, size[1], 1)];
  const extent: Pair = [extentOf(window, out[0], 0), extentOf(window, out[1], 1)];
  const depthwise = groups > 1 && weight[1] === 1;
  return { window, groups, channels, filters, depthwise, size, out, extent };
}

const perGroup = (
  { groups, channels, filters }: Convolution,
  compute: (inFrom: number, inCount: number, outFrom: number, outCount: number) => tf.Tensor,
): tf.Tensor[] => {
  const [ins, outs] = [channels / groups, filters / groups];
  return Array.from({ length: groups }, (_, i) => compute(i * ins, ins, i * outs, outs));
};

const joined = (parts: tf.Tensor[], axis: number): tf.Tensor =>
  parts.length === 1 ? parts[0]! : tf.concat(parts, axis);

const conv: OpRow = (context) => {
  const weight = context.tensor(1);
  const c = convolutionOf(context, context.dims(0), weight.shape);
  const x = place(context.channelsLast(0), c.window.begin, c.extent);
  const strides: [number, number] = [...c.window.strides];
  const y = c.depthwise
    ? tf.depthwiseConv2d(x, depthwiseFilterOf(weight, c.channels, c.window), strides, 'valid')
    : joined(
        perGroup(c, (inFrom, ins, outFrom, outs) =>
          tf.conv2d(
            channelSlice(x, inFrom, ins),
            filterOf(filterSlice(weight, outFrom, outs), c.window),
            strides,
            'valid',
          ),
        ),
        3,
      );
  return last(context.has(2) ? tf.add(y, context.tensor(2)) : y);
};

// ---------------------------------------------------------------- gradient of the input
function depthwiseInputGrad(context: OpContext, dY: tf.Tensor4D, filter: tf.Tensor4D, c: Convolution): tf.Tensor4D {
  const [n] = dY.shape;
  const [kh, kw, channels, multiplier] = filter.shape;
  if (context.hasKernel('DepthwiseConv2dNativeBackpropInput')) {
    return tf.engine().runKernel(
      'DepthwiseConv2dNativeBackpropInput',
      { dy: dY, filter },
      {
        strides: [...c.window.strides],
        pad: 'valid',
        dilations: [1, 1],
        inputShape: [n, ...c.extent, channels],
      },
    ) as tf.Tensor4D;
  }
  // A depthwise convolution of dY, spread out by the strides, with the turned filter; once per multiplier.
  const turned = tf.reverse(filter, [0, 1]) as tf.Tensor4D;
  const spread = tf.reshape(spreadOut(dY, c.window.strides), [
    n,
    -1,
    spreadSize(c, 1),
    channels * multiplier,
  ]) as tf.Tensor4D;
  const parts = Array.from({ length: multiplier }, (_, m) => {
    const part = multiplier === 1 ? spread : multiplied(spread, channels, multiplier, m);
    const around = place(part, [kh - 1, kw - 1], [c.extent[0] + kh - 1, c.extent[1] + kw - 1]);
    const of = multiplier === 1 ? turned : tf.slice4d(turned, [0, 0, 0, m], [kh, kw, channels, 1]);
    return tf.depthwiseConv2d(around, of, 1, 'valid');
  });
  return parts.reduce((a, b) => tf.add(a, b));
}

const spreadSize = ({ out, window }: Convolution, i: 0 | 1): number => (out[i] - 1) * window.strides[i] + 1;

/** Channels c * multiplier + m of [N, H, W, channels * multiplier]. */
const multiplied = (x: tf.Tensor4D, channels: number, multiplier: number, m: number): tf.Tensor4D => {
  const [n, h, w] = x.shape;
  const split = tf.reshape(x, [n * h * w, channels, multiplier]);
  return tf.reshape(tf.slice3d(split as tf.Tensor3D, [0, 0, m], [n * h * w, channels, 1]), [n, h, w, channels]);
};

/** dX [N, H, W, in] of dY [N, h, w, out]; the input's padding is cut off again. */
function inputGrad(context: OpContext, dY: tf.Tensor4D, weight: tf.Tensor, c: Convolution): tf.Tensor4D {
  const [n] = dY.shape;
  const placed = c.depthwise
    ? depthwiseInputGrad(context, dY, depthwiseFilterOf(weight, c.channels, c.window), c)
    : (joined(
        perGroup(c, (_, ins, outFrom, outs) =>
          tf.conv2dTranspose(
            channelSlice(dY, outFrom, outs),
            filterOf(filterSlice(weight, outFrom, outs), c.window),
            [n, c.extent[0], c.extent[1], ins],
            [...c.window.strides],
            'valid',
          ),
        ),
        3,
      ) as tf.Tensor4D);
  return unplace(placed, c.window.begin, c.size);
}

const convInputGrad: OpRow = (context) => {
  const weight = context.tensor(1);
  const shape = intsAttribute(context.node, 'input_shape')!;
  return last(inputGrad(context, context.channelsLast(0), weight, convolutionOf(context, shape, weight.shape)));
};

/** The gradient of a convolution's input, from X [N, in, h, w] and W [in, out/group, kh, kw]. */
const convTranspose: OpRow = (context) => {
  const weight = context.tensor(1);
  const [n, , ...small] = context.dims(0) as [number, number, number, number];
  const { node } = context;
  if (intsAttribute(node, 'output_shape') || node.attributes.get('auto_pad')?.kind === 'string') {
    const text = node.attributes.get('auto_pad');
    const named = text?.kind === 'string' && new TextDecoder().decode(text.value) !== 'NOTSET';
    if (named || intsAttribute(node, 'output_shape')) throw context.unsupported('output_shape or auto_pad');
  }
  const extra = intsAttribute(node, 'output_padding', [0, 0]);
  const groups = intAttribute(node, 'group', 1);
  const window = windowOf(context, weight.shape.slice(2), context.dims(0));
  const sides = ([0, 1] as const).map(
    (i) => window.strides[i] * (small[i]! - 1) + extra[i]! + reachOf(window, i) - window.begin[i] - window.end[i],
  );
  // The convolution whose input gradient this is maps [N, outputs, H, W] to [N, inputs, h, w].
  const c = convolutionOf(context, [n, weight.shape[1]! * groups, ...sides], weight.shape);
  const y = inputGrad(context, context.channelsLast(0), weight, c);
  return last(context.has(2) ? tf.add(y, context.tensor(2)) : y);
};

// ---------------------------------------------------------------- gradient of the weight
/** One value per kernel position, stacked: [kh, kw, …]. */
function stacked(kernel: Pair, compute: (at: Pair) => tf.Tensor): tf.Tensor {
  const parts: tf.Tensor[] = [];
  for (let i = 0; i < kernel[0]; i++) for (let j = 0; j < kernel[1]; j++) parts.push(compute([i, j]));
  return tf.reshape(tf.stack(parts), [...kernel, ...parts[0]!.shape]);
}

/** [kh, kw, in, out] with gaps left out. */
function weightGrad(context: OpContext, x: tf.Tensor4D, dY: tf.Tensor4D, c: Convolution): tf.Tensor4D {
  const { window } = c;
  if (context.hasKernel('Conv2DBackpropFilter')) {
    const filterShape = [reachOf(window, 0), reachOf(window, 1), x.shape[3], dY.shape[3]];
    const full = tf
      .engine()
      .runKernel(
        'Conv2DBackpropFilter',
        { x, dy: dY },
        { strides: [...window.strides], pad: 'valid', dataFormat: 'NHWC', filterShape },
      ) as tf.Tensor4D;
    return undilate(full, window);
  }
  const gradients = tf.reshape(dY, [-1, dY.shape[3]]);
  return stacked(window.kernel, (at) => {
    const seen = strided(x, [at[0] * window.dilations[0], at[1] * window.dilations[1]], c.out, window.strides);
    return tf.matMul(tf.reshape(seen, [-1, x.shape[3]]), gradients, true, false);
  }) as tf.Tensor4D;
}

/** [kh, kw, channels, multiplier] with gaps left out. */
function depthwiseWeightGrad(context: OpContext, x: tf.Tensor4D, dY: tf.Tensor4D, c: Convolution): tf.Tensor4D {
  const { window, channels } = c;
  const multiplier = c.filters / channels;
  if (context.hasKernel('DepthwiseConv2dNativeBackpropFilter')) {
    const full = tf.engine().runKernel(
      'DepthwiseConv2dNativeBackpropFilter',
      { x, dy: dY },
      {
        strides: [...window.strides],
        pad: 'valid',
        dilations: [1, 1],
        filterShape: [reachOf(window, 0), reachOf(window, 1), channels, multiplier],
      },
    ) as tf.Tensor4D;
    return undilate(full, window);
  }
  const gradients = tf.reshape(dY, [-1, channels, multiplier]);
  return stacked(window.kernel, (at) => {
    const seen = strided(x, [at[0] * window.dilations[0], at[1] * window.dilations[1]], c.out, window.strides);
    return tf.sum(tf.mul(tf.reshape(seen, [-1, channels, 1]), gradients), 0);
  }) as tf.Tensor4D;
}

const convWeightGrad: OpRow = (context) => {
  const shape = intsAttribute(context.node, 'weight_shape')!;
  const c = convolutionOf(context, context.dims(0), shape);
  const x = place(context.channelsLast(0), c.window.begin, c.extent);
  const dY = context.channelsLast(1);
  if (c.depthwise) {
    const gradient = depthwiseWeightGrad(context, x, dY, c);
    return tf.reshape(tf.transpose(gradient, [2, 3, 0, 1]), shape);
  }
  const parts = perGroup(c, (inFrom, ins, outFrom, outs) => {
    const gradient = weightGrad(context, channelSlice(x, inFrom, ins), channelSlice(dY, outFrom, outs), c);
    return tf.transpose(gradient, [3, 2, 0, 1]);
  });
  return joined(parts, 0);
};

export const convolutionRows: OpRows = [
  ['Conv', conv],
  ['ConvTranspose', convTranspose],
];

export const convolutionTrainingRows: OpRows = [
  ['ConvInputGrad', convInputGrad],
  ['ConvWeightGrad', convWeightGrad],
];
