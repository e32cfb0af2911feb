import * as tf from '@tensorflow/tfjs-core';
import { floatValue } from '../../../onnx/index.ts';
import { aligned } from './elementwise.ts';
import type { OpRow, OpRows } from './row.ts';

const masked =
  (mask: (y: tf.Tensor, bounds: [min: number, max: number]) => tf.Tensor): OpRow =>
  (context) => {
    const { tensors, layout } = aligned(context, [0, 1]);
    const [dY, y] = tensors as [tf.Tensor, tf.Tensor];
    const bounds: [number, number] = [
      floatValue(context.node, 'min', -Infinity),
      floatValue(context.node, 'max', Infinity),
    ];
    return { tensor: tf.mul(dY, tf.cast(mask(y, bounds), 'float32')), layout };
  };

export const activationTrainingRows: OpRows = [
  ['ReluGrad', masked((y) => tf.greater(y, 0))],
  ['ClipGrad', masked((y, [min, max]) => tf.logicalAnd(tf.greater(y, min), tf.less(y, max)))],
];
