import * as tf from '@tensorflow/tfjs-core';
import { intAttribute } from '../../../onnx/index.ts';
import type { OpContext, OpRow, OpRows } from './row.ts';

type Reducer = (x: tf.Tensor, axes: number[], keep: boolean) => tf.Tensor;

function axesOf(context: OpContext): number[] {
  const rank = context.dims(0).length;
  const listed = context.list('axes', 1);
  if (listed?.length) return listed.map((axis) => context.axis(axis, rank));
  return intAttribute(context.node, 'noop_with_empty_axes', 0) === 1 ? [] : [...Array(rank).keys()];
}

/** Axis of [N, C, H, W] -> its place in [N, H, W, C]. */
const PLACE_LAST = [0, 3, 1, 2];

const reduction =
  (reduce: Reducer): OpRow =>
  (context) => {
    const axes = axesOf(context);
    const keep = intAttribute(context.node, 'keepdims', 1) === 1;
    const value = context.value(0);
    if (axes.length === 0) return tf.clone(value.tensor);
    // Where the order of what remains is the same in both layouts (channels alone, or nothing of them), no transposition is needed.
    if (value.hasChannelsLast) {
      const places = axes.map((axis) => PLACE_LAST[axis]!);
      if (keep) return { tensor: reduce(value.channelsLast, places, true), layout: 'last' };
      const remaining = [0, 2, 3].filter((axis) => !axes.includes(axis));
      if (axes.includes(1) || remaining.every((axis) => axis === 0)) return reduce(value.channelsLast, places, false);
    }
    return reduce(value.tensor, axes, keep);
  };

function logSumExp(x: tf.Tensor, axes: number[], keep: boolean): tf.Tensor {
  const largest = tf.max(x, axes, true);
  const sum = tf.log(tf.sum(tf.exp(tf.sub(x, largest)), axes, keep));
  return tf.add(sum, keep ? largest : tf.reshape(largest, sum.shape));
}

const argument =
  (find: (x: tf.Tensor, axis: number) => tf.Tensor): OpRow =>
  (context) => {
    if (intAttribute(context.node, 'select_last_index', 0) === 1) throw context.unsupported('the last of equal values');
    const rank = context.dims(0).length;
    const axis = context.axis(intAttribute(context.node, 'axis', 0), rank);
    const found = find(context.tensor(0), axis);
    return intAttribute(context.node, 'keepdims', 1) === 1 ? tf.expandDims(found, axis) : found;
  };

export const reductionRows: OpRows = [
  ['ReduceSum', reduction((x, axes, keep) => tf.sum(x, axes, keep))],
  ['ReduceMean', reduction((x, axes, keep) => tf.mean(x, axes, keep))],
  ['ReduceMax', reduction((x, axes, keep) => tf.max(x, axes, keep))],
  ['ReduceMin', reduction((x, axes, keep) => tf.min(x, axes, keep))],
  ['ReduceProd', reduction((x, axes, keep) => tf.prod(x, axes, keep))],
  ['ReduceL1', reduction((x, axes, keep) => tf.sum(tf.abs(x), axes, keep))],
  ['ReduceL2', reduction((x, axes, keep) => tf.sqrt(tf.sum(tf.square(x), axes, keep)))],
  ['ReduceSumSquare', reduction((x, axes, keep) => tf.sum(tf.square(x), axes, keep))],
  ['ReduceLogSum', reduction((x, axes, keep) => tf.log(tf.sum(x, axes, keep)))],
  ['ReduceLogSumExp', reduction(logSumExp)],
  ['ArgMax', argument((x, axis) => tf.argMax(x, axis))],
  ['ArgMin', argument((x, axis) => tf.argMin(x, axis))],
  [
    'CumSum',
    (context) => {
      const axis = context.axis(context.numbers(1)[0]!, context.dims(0).length);
      const flag = (name: string) => intAttribute(context.node, name, 0) === 1;
      return tf.cumsum(context.tensor(0), axis, flag('exclusive'), flag('reverse'));
    },
  ],
];
