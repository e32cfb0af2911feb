import * as tf from '@tensorflow/tfjs-core';
import { float32Tensor, int64Tensor, type AttributeInput } from '../../../main/onnx/index.ts';
import { variable as v, type GradientCase, type Variable } from './gradient-case.ts';

const ints = (...values: number[]) => int64Tensor([values.length], values);

const matmul = (note: string, a: number[], b: number[], inTfjs = true): GradientCase => ({
  op: 'MatMul',
  note,
  inputs: [v(a), v(b)],
  ...(inTfjs ? { tfjs: ([x, y]) => tf.matMul(x!, y!) } : {}),
});

const gemm = (transA: number, transB: number, c?: Variable, alpha = 1, beta = 1): GradientCase => ({
  op: 'Gemm',
  note: `trans ${transA}${transB}, C [${c?.dims.join() ?? 'none'}], alpha ${alpha}`,
  inputs: [v(transA ? [4, 3] : [3, 4]), v(transB ? [5, 4] : [4, 5]), ...(c ? [c] : [])],
  attributes: { transA, transB, alpha, beta },
  tfjs: ([a, b, bias]) => {
    const product = tf.mul(tf.matMul(a!, b!, transA === 1, transB === 1), Math.fround(alpha));
    return bias ? tf.add(product, tf.mul(bias, Math.fround(beta))) : product;
  },
});

/** @param tfjs the same by other operators: TensorFlow.js' einsum has no gradient. */
const einsum = (equation: string, shapes: number[][], tfjs: (x: tf.Tensor[]) => tf.Tensor): GradientCase => ({
  op: 'Einsum',
  note: equation,
  inputs: shapes.map((shape) => v(shape)),
  attributes: { equation },
  tfjs,
});

type Reduce = (x: tf.Tensor, axes: number[] | undefined, keep: boolean) => tf.Tensor;

/** Every form in which a reduction states its axes. */
const reduce = (op: string, tfjs?: Reduce, range: [number, number] = [-2, 2]): GradientCase[] => {
  const inputSince = op === 'ReduceSum' ? 13 : 18;
  const entry = (note: string, axes: number[] | undefined, keep: 0 | 1, opset: number): GradientCase => {
    const asInput = opset >= inputSince;
    const attributes: Record<string, AttributeInput> = { keepdims: keep };
    if (axes && !asInput) attributes['axes'] = axes;
    return {
      op,
      note: `${note}, opset ${opset}`,
      inputs: [v([2, 3, 4, 2], ...range), ...(axes && asInput ? [ints(...axes)] : [])],
      attributes,
      opset,
      ...(tfjs ? { tfjs: ([x]: tf.Tensor[]) => tfjs(x!, axes, keep === 1) } : {}),
    };
  };
  return [
    entry('one axis', [1], 1, 17),
    entry('two axes, dropped', [2, -1], 0, 17),
    entry('all', undefined, 0, 17),
    entry('axes as input', [-3, 0], 0, 18),
    entry('all, kept', undefined, 1, 21),
    {
      op,
      note: 'none',
      inputs: [v([2, 3], Math.max(0.5, range[0]), 2), ints()],
      attributes: { noop_with_empty_axes: 1 },
      opset: 18,
    },
  ];
};

const squares: Reduce = (x, axes, keep) => tf.sum(tf.square(x), axes, keep);
const axesOf = (x: tf.Tensor, axis: number): number => (axis < 0 ? axis + x.rank : axis);

/** TensorFlow.js reduces along the last axis alone. */
const alongLast = (x: tf.Tensor, rawAxis: number, of: (x: tf.Tensor) => tf.Tensor): tf.Tensor => {
  const axis = axesOf(x, rawAxis);
  const order = [...x.shape.keys()].filter((at) => at !== axis).concat(axis);
  return tf.transpose(
    of(tf.transpose(x, order)),
    order.map((_, at) => order.indexOf(at)),
  );
};

const soft = (op: string, of: (x: tf.Tensor) => tf.Tensor): GradientCase[] =>
  [undefined, 0, 1, -2].map((axis) => ({
    op,
    note: `axis ${axis ?? 'default'}`,
    inputs: [v([2, 3, 4])],
    ...(axis === undefined ? {} : { attributes: { axis } }),
    tfjs: ([x]) => alongLast(x!, axis ?? -1, of),
  }));

export const matrixCases: readonly GradientCase[] = [
  matmul('matrices', [3, 4], [4, 5]),
  matmul('batches', [2, 3, 4], [2, 4, 5]),
  matmul('heads', [2, 3, 3, 2], [2, 3, 2, 4]),
  matmul('one right matrix', [2, 3, 4], [4, 5], false),
  matmul('one right matrix for two batch axes', [2, 2, 3, 4], [4, 5], false),
  matmul('one left matrix', [3, 4], [2, 4, 5], false),
  matmul('batches broadcast', [2, 1, 3, 4], [3, 4, 2], false),
  matmul('batches broadcast on both sides', [2, 1, 2, 3], [1, 3, 3, 2], false),
  matmul('vector by matrix', [4], [4, 5], false),
  matmul('matrix by vector', [3, 4], [4], false),
  matmul('vectors', [4], [4], false),
  matmul('vector by batches', [4], [2, 4, 5], false),
  matmul('batches by vector', [2, 3, 4], [4], false),
  { op: 'MatMul', note: 'constant right', inputs: [v([2, 3]), float32Tensor([3, 2], [1, -2, 3, 4, 5, 6])] },
  ...[0, 1].flatMap((transA) => [0, 1].map((transB) => gemm(transA, transB))),
  gemm(0, 1, v([5])),
  gemm(0, 0, v([3, 1]), 0.5, 2),
  gemm(1, 0, v([3, 5]), 0.5),
  gemm(1, 1, v([]), 0.7, 0.3),
  gemm(0, 0, v([1, 5]), 1, 0.5),
  einsum(
    'ij,jk->ik',
    [
      [2, 3],
      [3, 4],
    ],
    ([a, b]) => tf.matMul(a!, b!),
  ),
  einsum(
    'bhid,bhjd->bhij',
    [
      [2, 2, 3, 2],
      [2, 2, 4, 2],
    ],
    ([a, b]) => tf.matMul(a!, b!, false, true),
  ),
  einsum(
    'bij,bjk -> bik',
    [
      [2, 3, 2],
      [2, 2, 3],
    ],
    ([a, b]) => tf.matMul(a!, b!),
  ),
  einsum(
    'ij,jk',
    [
      [2, 3],
      [3, 4],
    ],
    ([a, b]) => tf.matMul(a!, b!),
  ),
  einsum('ij,k->k', [[2, 3], [4]], ([a, b]) => tf.mul(tf.sum(a!), b!)),
  einsum('ij->ji', [[2, 3]], ([a]) => tf.transpose(a!)),
  ...reduce('ReduceSum', (x, axes, keep) => tf.sum(x, axes, keep)),
  ...reduce('ReduceMean', (x, axes, keep) => tf.mean(x, axes, keep)),
  ...reduce('ReduceMax', (x, axes, keep) => tf.max(x, axes, keep)),
  ...reduce('ReduceMin', (x, axes, keep) => tf.min(x, axes, keep)),
  ...reduce('ReduceL1', (x, axes, keep) => tf.sum(tf.abs(x), axes, keep)),
  ...reduce('ReduceL2', (x, axes, keep) => tf.sqrt(squares(x, axes, keep))),
  ...reduce('ReduceSumSquare', squares),
  ...reduce('ReduceLogSum', (x, axes, keep) => tf.log(tf.sum(x, axes, keep)), [0.5, 2]),
  ...reduce('ReduceLogSumExp', (x, axes, keep) => tf.logSumExp(x, axes, keep)),
  ...soft('Softmax', (x) => tf.softmax(x)),
  ...soft('LogSoftmax', (x) => tf.logSoftmax(x)),
];
