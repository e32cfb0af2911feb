import { intAttribute } from '../../../main/onnx/index.ts';
import {
  axisIn,
  build,
  indicesOf,
  flatIndex,
  listFrom,
  reader,
  size,
  stridesOf,
  tensor,
  type RefOp,
  type RefRows,
  type RefTensor,
} from './reference-tensor.ts';

/** The elements that each output of a reduction is made from. */
const reduction =
  (of: (values: number[]) => number): RefOp =>
  ([x, axesInput], node) => {
    const rank = x!.dims.length;
    const stated = listFrom(node, 'axes', axesInput) ?? [];
    const all = intAttribute(node, 'noop_with_empty_axes', 0) === 1 ? [] : [...x!.dims.keys()];
    const axes = stated.length > 0 ? stated.map((axis) => axisIn(axis, rank)) : all;
    const kept = x!.dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
    const groups: number[][] = Array.from({ length: size(kept) }, () => []);
    const strides = stridesOf(kept).map((stride, axis) => (axes.includes(axis) ? 0 : stride));
    let k = 0;
    for (const at of indicesOf(x!.dims)) groups[flatIndex(at, strides)]!.push(x!.data[k++]!);
    const dims = intAttribute(node, 'keepdims', 1) === 1 ? kept : kept.filter((_, axis) => !axes.includes(axis));
    return [tensor(dims, groups.map(of), x!.kind)];
  };

const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);

/** One line along an axis at a time. */
export const alongAxis = (x: RefTensor, rawAxis: number, of: (line: number[]) => number[]): RefTensor => {
  const axis = axisIn(rawAxis, x.dims.length);
  const stride = stridesOf(x.dims)[axis]!;
  const data = new Float64Array(x.data.length);
  for (const at of indicesOf(x.dims.map((dim, i) => (i === axis ? 1 : dim)))) {
    const start = flatIndex(at, stridesOf(x.dims));
    const line = Array.from({ length: x.dims[axis]! }, (_, i) => x.data[start + i * stride]!);
    of(line).forEach((value, i) => (data[start + i * stride] = value));
  }
  return tensor(x.dims, data);
};

const softmax = (line: number[]): number[] => {
  const top = Math.max(...line);
  const exps = line.map((value) => Math.exp(value - top));
  return exps.map((value) => value / sum(exps));
};

const logSoftmax = (line: number[]): number[] => {
  const top = Math.max(...line);
  const log = Math.log(sum(line.map((value) => Math.exp(value - top)))) + top;
  return line.map((value) => value - log);
};

const argMax: RefOp = ([x], node) => {
  const axis = axisIn(intAttribute(node, 'axis', 0), x!.dims.length);
  const keep = intAttribute(node, 'keepdims', 1) === 1;
  const read = reader(x!);
  const kept = x!.dims.map((dim, i) => (i === axis ? 1 : dim));
  const best = build(
    kept,
    (at) => {
      const line = Array.from({ length: x!.dims[axis]! }, (_, i) => read(at.with(axis, i)));
      return line.indexOf(Math.max(...line));
    },
    'int',
  );
  return [
    keep
      ? best
      : tensor(
          kept.filter((_, i) => i !== axis),
          best.data,
          'int',
        ),
  ];
};

export const reductionReference: RefRows = [
  ['ReduceSum', reduction(sum)],
  ['ReduceMean', reduction((values) => sum(values) / values.length)],
  ['ReduceMax', reduction((values) => Math.max(...values))],
  ['ReduceMin', reduction((values) => Math.min(...values))],
  ['ReduceProd', reduction((values) => values.reduce((a, b) => a * b, 1))],
  ['ReduceL1', reduction((values) => sum(values.map(Math.abs)))],
  ['ReduceL2', reduction((values) => Math.sqrt(sum(values.map((value) => value * value))))],
  ['ReduceSumSquare', reduction((values) => sum(values.map((value) => value * value)))],
  ['ReduceLogSum', reduction((values) => Math.log(sum(values)))],
  ['ReduceLogSumExp', reduction((values) => Math.log(sum(values.map(Math.exp))))],
  ['Softmax', ([x], node) => [alongAxis(x!, intAttribute(node, 'axis', -1), softmax)]],
  ['LogSoftmax', ([x], node) => [alongAxis(x!, intAttribute(node, 'axis', -1), logSoftmax)]],
  ['ArgMax', argMax],
];
