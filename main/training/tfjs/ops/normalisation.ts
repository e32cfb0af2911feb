import * as tf from '@tensorflow/tfjs-core';
import { floatValue, intAttribute } from '../../../onnx/index.ts';
import type { GraphValue } from '../tensor-value.ts';
import type { OpContext, OpRow, OpRows, Output } from './row.ts';

/** A per-channel vector ready to broadcast, and the axes over which a channel's statistics run. */
interface Channels {
  x: tf.Tensor;
  axes: number[];
  spread: (vector: tf.Tensor) => tf.Tensor;
  arrange: (tensor: tf.Tensor) => Output;
  /** Elements per channel. */
  count: number;
}

function channelsOf(value: GraphValue, like?: GraphValue): Channels {
  const rank = value.dims.length;
  const last = rank === 4 && (value.hasChannelsLast || (like?.hasChannelsLast ?? false));
  const x = last ? value.channelsLast : value.tensor;
  const axis = last ? 3 : 1;
  const axes = [...Array(rank).keys()].filter((at) => at !== axis);
  return {
    x,
    axes,
    spread: (vector) => (last ? vector : tf.reshape(vector, [-1, ...Array<number>(rank - 2).fill(1)])),
    arrange: (tensor) => ({ tensor, layout: last ? 'last' : 'first' }),
    count: x.size / x.shape[axis]!,
  };
}

/** With the running statistics. */
const batchNormalization: OpRow = (context) => {
  if (intAttribute(context.node, 'training_mode', 0) === 1)
    throw context.unsupported('training_mode (use BatchNormTrain)');
  const { x, spread, arrange } = channelsOf(context.value(0));
  const [scale, bias, mean, variance] = [1, 2, 3, 4].map((index) => context.tensor(index)) as [
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
  ];
  const factor = tf.mul(scale, tf.rsqrt(tf.add(variance, floatValue(context.node, 'epsilon', 1e-5))));
  const offset = tf.sub(bias, tf.mul(mean, factor));
  return arrange(tf.add(tf.mul(x, spread(factor)), spread(offset)));
};

/** Ioffe and Szegedy 2015, algorithm 1; running variance unbiased as PyTorch keeps it. */
const batchNormTrain: OpRow = (context) => {
  const { x, axes, spread, arrange, count } = channelsOf(context.value(0));
  const [scale, bias, runningMean, runningVariance] = [1, 2, 3, 4].map((index) => context.tensor(index)) as [
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
  ];
  const kept = floatValue(context.node, 'momentum', 0.9);
  const mean = tf.mean(x, axes);
  const centred = tf.sub(x, spread(mean));
  const variance = tf.mean(tf.square(centred), axes);
  const invStd = tf.rsqrt(tf.add(variance, floatValue(context.node, 'epsilon', 1e-5)));
  const y = tf.add(tf.mul(centred, spread(tf.mul(invStd, scale))), spread(bias));
  const moved = (running: tf.Tensor, now: tf.Tensor) => tf.add(tf.mul(running, kept), tf.mul(now, 1 - kept));
  const unbiased = tf.mul(variance, count / Math.max(1, count - 1));
  return [arrange(y), mean, invStd, moved(runningMean, mean), moved(runningVariance, unbiased)];
};

/** dX = scale invStd (dY - mean(dY) - x^ mean(dY x^)) with x^ = (X - mean) invStd (Ioffe and Szegedy 2015, section 3). */
const batchNormGrad: OpRow = (context) => {
  const { x, axes, spread, arrange, count } = channelsOf(context.value(1), context.value(0));
  const dY = channelsOf(context.value(0), context.value(1)).x;
  const [scale, mean, invStd] = [2, 3, 4].map((index) => context.tensor(index)) as [tf.Tensor, tf.Tensor, tf.Tensor];
  const normal = tf.mul(tf.sub(x, spread(mean)), spread(invStd));
  const dBias = tf.sum(dY, axes);
  const dScale = tf.sum(tf.mul(dY, normal), axes);
  const inner = tf.sub(tf.sub(dY, spread(tf.div(dBias, count))), tf.mul(normal, spread(tf.div(dScale, count))));
  return [arrange(tf.mul(inner, spread(tf.mul(scale, invStd)))), dScale, dBias];
};

const biasGrad: OpRow = (context) => {
  const { x, axes } = channelsOf(context.value(0));
  return tf.sum(x, axes);
};

/** Ba, Kiros and Hinton 2016; the second and third output are mean and 1 / deviation. */
const layerNormalization: OpRow = (context) => {
  const x = context.tensor(0);
  const axis = context.axis(intAttribute(context.node, 'axis', -1), x.rank);
  const axes = [...Array(x.rank).keys()].slice(axis);
  const mean = tf.mean(x, axes, true);
  const centred = tf.sub(x, mean);
  const variance = tf.mean(tf.square(centred), axes, true);
  const invStd = tf.rsqrt(tf.add(variance, floatValue(context.node, 'epsilon', 1e-5)));
  const scaled = tf.mul(tf.mul(centred, invStd), context.tensor(1));
  return [context.has(2) ? tf.add(scaled, context.tensor(2)) : scaled, mean, invStd];
};

const softmaxAxis = (context: OpContext): number => {
  if (context.opset < 13) throw context.unsupported('the softmax of opsets before 13');
  return context.axis(intAttribute(context.node, 'axis', -1), context.dims(0).length);
};

const softmax: OpRow = (context) => {
  const axis = softmaxAxis(context);
  const x = context.tensor(0);
  const exponentials = tf.exp(tf.sub(x, tf.max(x, axis, true)));
  return tf.div(exponentials, tf.sum(exponentials, axis, true));
};

const logSoftmax: OpRow = (context) => {
  const axis = softmaxAxis(context);
  const x = context.tensor(0);
  const shifted = tf.sub(x, tf.max(x, axis, true));
  return tf.sub(shifted, tf.log(tf.sum(tf.exp(shifted), axis, true)));
};

export const normalisationRows: OpRows = [
  ['BatchNormalization', batchNormalization],
  ['LayerNormalization', layerNormalization],
  ['Softmax', softmax],
  ['LogSoftmax', logSoftmax],
];

export const normalisationTrainingRows: OpRows = [
  ['BatchNormTrain', batchNormTrain],
  ['BatchNormGrad', batchNormGrad],
  ['BiasGrad', biasGrad],
];
