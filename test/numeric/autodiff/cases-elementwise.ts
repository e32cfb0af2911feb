import * as tf from '@tensorflow/tfjs-core';
import { float32Tensor, floatAttribute, int64Tensor, scalar, type ConstTensor } from '../../../main/onnx/index.ts';
import { fed, variable as v, type GradientCase } from './gradient-case.ts';

const truth = (dims: readonly number[]): ConstTensor => ({
  type: 'bool',
  dims,
  bytes: Uint8Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => ((i * 7) % 3 === 0 ? 1 : 0)),
});

/** Pairs of shapes that broadcast in different ways. */
const pairs: readonly (readonly [string, number[], number[]])[] = [
  ['equal', [2, 3, 4], [2, 3, 4]],
  ['scalar', [2, 3], []],
  ['channels', [2, 3, 2, 2], [3, 1, 1]],
  ['both ways', [2, 1, 3], [4, 1]],
  ['ones in front', [3], [1, 1, 3]],
  ['all of one', [2, 3, 4], [1, 1, 1]],
  ['excitation', [2, 3, 2, 2], [2, 3, 1, 1]],
];

type Two = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

const broadcasting = (op: string, tfjs: Two, range: readonly [number, number] = [-2, 2]): GradientCase[] =>
  pairs.map(([note, a, b]) => ({
    op,
    note,
    inputs: [v(a, ...range), v(b, range[0] + 0.1, range[1] - 0.23)],
    tfjs: ([x, y]) => tfjs(x!, y!),
  }));

const one = (
  op: string,
  tfjs?: (x: tf.Tensor) => tf.Tensor,
  more: Partial<GradientCase> = {},
  range: [number, number] = [-3, 3],
): GradientCase => ({
  op,
  inputs: [v([2, 3, 5], ...range)],
  ...more,
  ...(tfjs ? { tfjs: ([x]) => tfjs(x!) } : {}),
});

const square = v([2, 3]);
const erfOf = (x: tf.Tensor) => tf.erf(x);
const swish = (x: tf.Tensor) => tf.mul(x, tf.div(tf.clipByValue(tf.add(x, 3), 0, 6), 6));

/** x at the shape of x + other: TensorFlow.js' maximum and minimum have no gradient for operands of different shapes. */
const wide = (x: tf.Tensor, other: tf.Tensor): tf.Tensor => tf.add(x, tf.zerosLike(other));

export const elementwiseCases: readonly GradientCase[] = [
  ...broadcasting('Add', (a, b) => tf.add(a, b)),
  ...broadcasting('Sub', (a, b) => tf.sub(a, b)),
  ...broadcasting('Mul', (a, b) => tf.mul(a, b)),
  ...broadcasting('Div', (a, b) => tf.div(a, b), [0.5, 2.5]),
  ...broadcasting('Pow', (a, b) => tf.pow(a, b), [0.5, 2.5]),
  ...broadcasting('Max', (a, b) => tf.maximum(wide(a, b), wide(b, a))),
  ...broadcasting('Min', (a, b) => tf.minimum(wide(a, b), wide(b, a))),
  { op: 'Mul', note: 'square', inputs: [square, square], tfjs: ([x]) => tf.mul(x!, x!) },
  { op: 'Div', note: 'constant divisor', inputs: [v([2, 3]), scalar(4)], tfjs: ([x]) => tf.div(x!, 4) },
  { op: 'Div', note: 'constant dividend', inputs: [scalar(4), v([2, 3], 1, 2)], tfjs: ([x]) => tf.div(4, x!) },
  { op: 'Pow', note: 'squared', inputs: [v([2, 3]), scalar(2)], tfjs: ([x]) => tf.square(x!) },
  { op: 'Pow', note: 'first power', inputs: [v([2, 3]), scalar(1)] },
  { op: 'Pow', note: 'zeroth power', inputs: [v([2, 3]), scalar(0)] },
  {
    op: 'Pow',
    note: 'cubed, whole exponent',
    inputs: [v([2, 3]), int64Tensor([1], [3])],
    tfjs: ([x]) => tf.pow(x!, 3),
  },
  { op: 'Pow', note: 'root', inputs: [v([2, 3], 0.5, 2), scalar(0.5)], tfjs: ([x]) => tf.sqrt(x!) },
  { op: 'Pow', note: 'mixed constant', inputs: [v([2, 3]), float32Tensor([3], [0, 2, 3])] },
  { op: 'Pow', note: 'whole exponent fed', inputs: [v([2, 3], 0.5, 2), fed(int64Tensor([3], [0, 2, 3]))] },
  { op: 'Max', note: 'three operands', inputs: [v([2, 3]), v([3], -1, 1.5), v([2, 1], -0.9, 0.8)] },
  { op: 'Min', note: 'with a constant', inputs: [v([2, 3, 2]), scalar(0.1)], tfjs: ([x]) => tf.minimum(x!, 0.1) },
  { op: 'Max', note: 'constant first', inputs: [scalar(0.1), v([2, 3, 2])], tfjs: ([x]) => tf.maximum(0.1, x!) },
  { op: 'Max', note: 'one operand', inputs: [v([2, 3])] },
  { op: 'Sum', note: 'three operands', inputs: [v([2, 3]), v([3]), v([2, 1])] },
  { op: 'Mean', note: 'three operands', inputs: [v([2, 3]), v([3]), v([2, 1])] },
  { op: 'Mean', note: 'one operand', inputs: [v([2, 3])] },
  { op: 'Where', inputs: [truth([2, 3]), v([2, 3]), v([2, 3])] },
  { op: 'Where', note: 'broadcast', inputs: [fed(truth([3, 1])), v([2, 1, 4]), v([])] },
  { op: 'Where', note: 'constant branch', inputs: [fed(truth([2, 4])), v([4]), scalar(-10)] },
  { op: 'Identity', inputs: [v([2, 3])], tfjs: ([x]) => tf.clone(x!) },
  { op: 'Cast', note: 'to float64', inputs: [v([2, 3])], attributes: { to: 11 } },
  { op: 'Cast', note: 'to float32', inputs: [v([2, 3])], attributes: { to: 1 } },
  one('Neg', (x) => tf.neg(x)),
  one('Exp', (x) => tf.exp(x)),
  one('Log', (x) => tf.log(x), {}, [0.3, 3]),
  one('Sqrt', (x) => tf.sqrt(x), {}, [0.3, 3]),
  one('Reciprocal', (x) => tf.reciprocal(x), {}, [0.3, 3]),
  one('Reciprocal', (x) => tf.reciprocal(x), { note: 'negative' }, [-3, -0.3]),
  one('Abs', (x) => tf.abs(x)),
  one('Sign', (x) => tf.sign(x)),
  one('Floor', (x) => tf.floor(x)),
  one('Ceil', (x) => tf.ceil(x)),
  one('Round', (x) => tf.round(x)),
  // --- activations
  one('Relu', (x) => tf.relu(x)),
  one('Clip', (x) => tf.relu6(x), { inputs: [v([2, 4, 5], -4, 10), scalar(0), scalar(6)] }),
  one('Clip', (x) => tf.maximum(x, -0.5), { note: 'lower bound only', inputs: [v([2, 5]), scalar(-0.5)] }),
  one('Clip', (x) => tf.minimum(x, 0.5), { note: 'upper bound only', inputs: [v([2, 5]), null, scalar(0.5)] }),
  one('HardSwish', swish, {}, [-5, 5]),
  one('HardSigmoid', (x) => tf.clipByValue(tf.add(tf.mul(x, 0.2), 0.5), 0, 1), {}, [-4, 4]),
  one(
    'HardSigmoid',
    (x) => tf.div(tf.clipByValue(tf.add(x, 3), 0, 6), 6),
    { note: 'sixths', attributes: { alpha: floatAttribute(1 / 6), beta: 0.5 } },
    [-5, 5],
  ),
  one('Sigmoid', (x) => tf.sigmoid(x)),
  one('Tanh', (x) => tf.tanh(x)),
  one('Erf', erfOf),
  one('Gelu', (x) => tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2)))), { opset: 20 }),
  one(
    'Gelu',
    (x) => {
      const u = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.pow(x, 3))));
      return tf.mul(tf.mul(x, 0.5), tf.add(1, tf.tanh(u)));
    },
    { note: 'tanh', opset: 20, attributes: { approximate: 'tanh' } },
  ),
  one('LeakyRelu', (x) => tf.leakyRelu(x, 0.01)),
  one('LeakyRelu', (x) => tf.leakyRelu(x, 0.2), { note: 'steeper', attributes: { alpha: 0.2 } }),
  one('Elu', (x) => tf.elu(x)),
  one('Elu', undefined, { note: 'alpha', attributes: { alpha: 0.7 } }),
  one('Selu', (x) => tf.selu(x)),
  one('Softplus', (x) => tf.softplus(x)),
  one('Dropout', (x) => tf.clone(x)),
  one('Dropout', (x) => tf.clone(x), {
    note: 'ratio',
    inputs: [v([2, 3]), scalar(0.5), { ...truth([]), bytes: new Uint8Array(1) }],
  }),
];
