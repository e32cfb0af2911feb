import * as tf from '@tensorflow/tfjs-core';
import { floatValue, intAttribute, textAttribute } from '../../../onnx/index.ts';
import type { OpContext, OpRow, OpRows } from './row.ts';

/** Sums one operand of an equation over letters that nobody else has, and orders it by `order` with size 1 where a letter is missing. */
function spread(x: tf.Tensor, letters: readonly string[], order: readonly string[]): tf.Tensor {
  const present = order.filter((letter) => letters.includes(letter));
  const sorted = tf.transpose(
    x,
    present.map((letter) => letters.indexOf(letter)),
  );
  return tf.reshape(
    sorted,
    order.map((letter) => (letters.includes(letter) ? x.shape[letters.indexOf(letter)]! : 1)),
  );
}

/** As a matrix [batch…, rows…, 1] x [batch…, …]: every operand is spread over all letters, multiplied and summed. Exact, not lean. */
function einsum(context: OpContext): tf.Tensor {
  const equation = textAttribute(context.node, 'equation', '').replaceAll(' ', '');
  const [left, right] = equation.split('->');
  const terms = (left ?? '').split(',').map((term) => [...term]);
  if (
    terms.length !== context.count ||
    terms.some((term) => new Set(term).size !== term.length || term.includes('.'))
  ) {
    throw context.unsupported(`the equation "${equation}"`);
  }
  const all = [...new Set(terms.flat())];
  const counts = (letter: string) => terms.filter((term) => term.includes(letter)).length;
  const result = right === undefined ? all.filter((letter) => counts(letter) === 1).sort() : [...right];
  if (result.some((letter) => !all.includes(letter))) throw context.unsupported(`the equation "${equation}"`);
  const summed = all.filter((letter) => !result.includes(letter));
  const order = [...result, ...summed];
  const product = terms.map((term, index) => spread(context.tensor(index), term, order)).reduce((a, b) => tf.mul(a, b));
  const axes = summed.map((_, i) => result.length + i);
  return axes.length ? tf.sum(product, axes) : product;
}

/** numpy.matmul: ranks from 1, leading axes broadcast. */
const matMul: OpRow = (context) => {
  const [a, b] = [context.tensor(0), context.tensor(1)];
  const left = a.rank === 1 ? tf.expandDims(a, 0) : a;
  const right = b.rank === 1 ? tf.expandDims(b, 1) : b;
  let product: tf.Tensor;
  if (right.rank === 2 && left.rank > 2) {
    // One large product instead of many small ones.
    const rows = left.shape.slice(0, -1);
    const flat = tf.matMul(tf.reshape(left, [-1, left.shape.at(-1)!]), right);
    product = tf.reshape(flat, [...rows, right.shape[1]!]);
  } else {
    // The kernels broadcast leading axes only where one side has none.
    const rank = Math.max(left.rank, right.rank) - 2;
    const lead = (x: tf.Tensor) => [...Array<number>(rank - (x.rank - 2)).fill(1), ...x.shape.slice(0, -2)];
    const [a0, b0] = [lead(left), lead(right)];
    const both = a0.map((dim, axis) => Math.max(dim, b0[axis]!));
    const spreadTo = (x: tf.Tensor) => tf.broadcastTo(x, [...both, ...x.shape.slice(-2)]);
    product = a0.join() === b0.join() ? tf.matMul(left, right) : tf.matMul(spreadTo(left), spreadTo(right));
  }
  const drop = [...(a.rank === 1 ? [product.rank - 2] : []), ...(b.rank === 1 ? [product.rank - 1] : [])];
  return drop.length ? tf.squeeze(product, drop) : product;
};

const gemm: OpRow = (context) => {
  const { node } = context;
  const flag = (name: string) => intAttribute(node, name, 0) === 1;
  const scaled = (x: tf.Tensor, by: number) => (by === 1 ? x : tf.mul(x, by));
  const product = tf.matMul(context.tensor(0), context.tensor(1), flag('transA'), flag('transB'));
  const alpha = scaled(product, floatValue(node, 'alpha', 1));
  return context.has(2) ? tf.add(alpha, scaled(context.tensor(2), floatValue(node, 'beta', 1))) : alpha;
};

export const matrixRows: OpRows = [
  ['MatMul', matMul],
  ['Gemm', gemm],
  ['Einsum', einsum],
];
