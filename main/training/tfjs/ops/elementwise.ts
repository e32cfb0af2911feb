import * as tf from '@tensorflow/tfjs-core';
import { elementCount, floatValue, intAttribute, textAttribute, elementTypeOf } from '../../../onnx/index.ts';
import { dtypes, type Layout } from '../tensor-value.ts';
import type { OpContext, OpRow, OpRows, Output } from './row.ts';

const unary =
  (compute: (x: tf.Tensor, context: OpContext) => tf.Tensor): OpRow =>
  (context) => {
    const { tensor, layout } = context.value(0).arranged;
    return { tensor: compute(tensor, context), layout };
  };

/**
 * The inputs in one layout, ready to broadcast: channels last where an operand of rank 4 is at hand so (the others are small or would be
 * transposed once anyway), else ONNX order.
 */
export function aligned(context: OpContext, indices: readonly number[]): { tensors: tf.Tensor[]; layout: Layout } {
  const values = indices.map((index) => context.value(index));
  const useLast =
    values.some((value) => value.dims.length === 4 && value.hasChannelsLast) &&
    values.every((value) => value.dims.length <= 4);
  if (!useLast) return { tensors: values.map((value) => value.tensor), layout: 'first' };
  const tensors = values.map((value) => {
    if (value.dims.length === 4) return value.channelsLast;
    if (elementCount(value.dims) === 1) return tf.reshape(value.tensor, []);
    const [n, c, h, w] = [...Array<number>(4 - value.dims.length).fill(1), ...value.dims] as [
      number,
      number,
      number,
      number,
    ];
    // A lone channel axis only changes its place.
    if (n === 1 && h === 1 && w === 1) return tf.reshape(value.tensor, [1, 1, 1, c]);
    return tf.transpose(tf.reshape(value.tensor, [n, c, h, w]), [0, 2, 3, 1]);
  });
  return { tensors, layout: 'last' };
}

const binary =
  (compute: (a: tf.Tensor, b: tf.Tensor, context: OpContext) => tf.Tensor): OpRow =>
  (context) => {
    const { tensors, layout } = aligned(context, [0, 1]);
    return { tensor: compute(tensors[0]!, tensors[1]!, context), layout };
  };

/** Any number of operands. */
const variadic =
  (combine: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor, finish?: (sum: tf.Tensor, count: number) => tf.Tensor): OpRow =>
  (context) => {
    const { tensors, layout } = aligned(context, [...Array(context.count).keys()]);
    const combined = tensors.slice(1).reduce(combine, tensors[0]!);
    return { tensor: finish ? finish(combined, tensors.length) : combined, layout };
  };

const numberAt = (context: OpContext, attribute: string, index: number): number | undefined =>
  context.has(index) ? context.numbers(index)[0] : floatValue(context.node, attribute);

/** Infinity where there is none. */
const clipBounds = (context: OpContext): [min: number, max: number] => [
  numberAt(context, 'min', 1) ?? -Infinity,
  numberAt(context, 'max', 2) ?? Infinity,
];

const hardSigmoid = (x: tf.Tensor, alpha: number, beta: number): tf.Tensor =>
  tf.clipByValue(tf.add(tf.mul(x, alpha), beta), 0, 1);

function gelu(x: tf.Tensor, context: OpContext): tf.Tensor {
  if (textAttribute(context.node, 'approximate', 'none') === 'tanh') {
    const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.mul(x, tf.square(x)))));
    return tf.mul(tf.mul(x, 0.5), tf.add(1, tf.tanh(inner)));
  }
  return tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2))));
}

/** Whole numbers: x^n by the float kernel would lose nothing below 2^24, which step counts stay under. */
const power = (a: tf.Tensor, b: tf.Tensor): tf.Tensor =>
  a.dtype === b.dtype
    ? tf.pow(a, b)
    : tf.cast(tf.pow(tf.cast(a, 'float32'), tf.cast(b, 'float32')), a.dtype === 'int32' ? 'int32' : 'float32');

function modulo(a: tf.Tensor, b: tf.Tensor, context: OpContext): tf.Tensor {
  const floored = tf.mod(a, b);
  if (intAttribute(context.node, 'fmod', 0) === 0) return floored;
  return tf.mul(tf.sign(a), tf.mod(tf.abs(a), tf.abs(b)));
}

function cast(context: OpContext): Output {
  const to = elementTypeOf(intAttribute(context.node, 'to', 0));
  const dtype = to && dtypes[to];
  if (!dtype) throw context.unsupported(`TensorFlow.js has no tensors of type ${to}`);
  const { tensor, layout } = context.value(0).arranged;
  // The WASM kernel reads the bytes of a number as truth values.
  const truth = dtype === 'bool' && tensor.dtype !== 'bool';
  const cast = truth ? tf.notEqual(tensor, tf.scalar(0, tensor.dtype as 'float32')) : tf.cast(tensor, dtype);
  return { tensor: cast, layout };
}

/** slope per channel or element, broadcast to x. */
const prelu: OpRow = (context) => {
  const { tensors, layout } = aligned(context, [0, 1]);
  const [x, slope] = tensors as [tf.Tensor, tf.Tensor];
  return { tensor: tf.add(tf.relu(x), tf.mul(slope, tf.minimum(x, 0))), layout };
};

const where: OpRow = (context) => {
  const { tensors, layout } = aligned(context, [0, 1, 2]);
  return { tensor: tf.where(tensors[0]! as tf.Tensor<tf.Rank>, tensors[1]!, tensors[2]!), layout };
};

const bools =
  (compute: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor) =>
  (a: tf.Tensor, b: tf.Tensor): tf.Tensor =>
    compute(tf.cast(a, 'bool'), tf.cast(b, 'bool'));

export const elementwiseRows: OpRows = [
  ['Abs', unary((x) => tf.abs(x))],
  ['Ceil', unary((x) => tf.ceil(x))],
  ['Cos', unary((x) => tf.cos(x))],
  [
    'Elu',
    unary((x, { node }) => {
      const alpha = floatValue(node, 'alpha', 1);
      return tf.add(tf.relu(x), tf.mul(alpha, tf.sub(tf.exp(tf.minimum(x, 0)), 1)));
    }),
  ],
  ['Erf', unary((x) => tf.erf(x))],
  ['Exp', unary((x) => tf.exp(x))],
  ['Floor', unary((x) => tf.floor(x))],
  ['Gelu', unary(gelu)],
  [
    'HardSigmoid',
    unary((x, { node }) => hardSigmoid(x, floatValue(node, 'alpha', 0.2), floatValue(node, 'beta', 0.5))),
  ],
  ['HardSwish', unary((x) => tf.mul(x, hardSigmoid(x, 1 / 6, 0.5)))],
  ['Identity', unary((x) => tf.clone(x))],
  // Inference form: dropout is off in a step unless the graph draws its own mask.
  ['Dropout', unary((x) => tf.clone(x))],
  ['LeakyRelu', unary((x, { node }) => tf.leakyRelu(x, floatValue(node, 'alpha', 0.01)))],
  ['Log', unary((x) => tf.log(x))],
  ['Neg', unary((x) => tf.neg(x))],
  ['Not', unary((x) => tf.logicalNot(tf.cast(x, 'bool')))],
  ['IsNaN', unary((x) => tf.isNaN(x))],
  ['IsInf', unary((x) => tf.isInf(x))],
  ['Reciprocal', unary((x) => tf.reciprocal(x))],
  ['Relu', unary((x) => tf.relu(x))],
  ['Round', unary((x) => tf.round(x))],
  [
    'Selu',
    unary((x, { node }) => {
      const [alpha, gamma] = [floatValue(node, 'alpha', 1.6732632), floatValue(node, 'gamma', 1.050701)];
      return tf.mul(gamma, tf.add(tf.relu(x), tf.mul(alpha, tf.sub(tf.exp(tf.minimum(x, 0)), 1))));
    }),
  ],
  ['Sigmoid', unary((x) => tf.sigmoid(x))],
  ['Sign', unary((x) => tf.sign(x))],
  ['Sin', unary((x) => tf.sin(x))],
  ['Softplus', unary((x) => tf.softplus(x))],
  ['Sqrt', unary((x) => tf.sqrt(x))],
  ['Tanh', unary((x) => tf.tanh(x))],
  [
    'Clip',
    unary((x, context) => {
      const [min, max] = clipBounds(context);
      const above = min === -Infinity ? x : tf.maximum(x, tf.scalar(min, x.dtype as 'float32'));
      return max === Infinity ? tf.clone(above) : tf.minimum(above, tf.scalar(max, x.dtype as 'float32'));
    }),
  ],
  ['Add', binary((a, b) => tf.add(a, b))],
  ['Sub', binary((a, b) => tf.sub(a, b))],
  ['Mul', binary((a, b) => tf.mul(a, b))],
  // Whole numbers are divided rounding down (ONNX: towards zero); only step counts are divided so, which are never negative.
  ['Div', binary((a, b) => (a.dtype === 'int32' ? tf.floorDiv(a, b) : tf.div(a, b)))],
  ['Pow', binary(power)],
  ['Mod', binary(modulo)],
  ['PRelu', prelu],
  ['Max', variadic((a, b) => tf.maximum(a, b))],
  ['Min', variadic((a, b) => tf.minimum(a, b))],
  ['Sum', variadic((a, b) => tf.add(a, b))],
  [
    'Mean',
    variadic(
      (a, b) => tf.add(a, b),
      (sum, count) => tf.div(sum, count),
    ),
  ],
  ['Equal', binary((a, b) => tf.equal(a, b))],
  ['Greater', binary((a, b) => tf.greater(a, b))],
  ['GreaterOrEqual', binary((a, b) => tf.greaterEqual(a, b))],
  ['Less', binary((a, b) => tf.less(a, b))],
  ['LessOrEqual', binary((a, b) => tf.lessEqual(a, b))],
  ['And', binary(bools((a, b) => tf.logicalAnd(a, b)))],
  ['Or', binary(bools((a, b) => tf.logicalOr(a, b)))],
  ['Xor', binary(bools((a, b) => tf.logicalXor(a, b)))],
  ['Where', where],
  ['Cast', cast],
];
