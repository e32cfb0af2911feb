import { intAttribute } from '../build.ts';
import type { Dim } from '../model.ts';
import {
  axisOf,
  hidden,
  listFrom,
  numbersIn,
  shapeOf,
  sized,
  type OpContext,
  type OpFacts,
  type TensorInfo,
} from './facts.ts';

function reduce(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  if (!input || hidden(context, 'axes', 1)) return sized(context, null);
  const listed = listFrom(context, 'axes', 1);
  if (!listed?.length && intAttribute(context.node, 'noop_with_empty_axes', 0) === 1) return sized(context, input);
  const axes = new Set(listed?.length ? listed.map((axis) => axisOf(context, axis, input.length)) : input.keys());
  const keep = intAttribute(context.node, 'keepdims', 1) === 1;
  const dims = input.flatMap((dim, axis): Dim[] => (axes.has(axis) ? (keep ? [1] : []) : [dim]));
  const values = numbersIn(context, 0);
  const product = context.node.op === 'ReduceProd' && values && axes.size === input.length;
  return sized(context, dims, product ? [values.reduce((a, b) => a * b, 1)] : undefined);
}

function argument(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  if (!input) return [{ type: 'int64', shape: null }];
  const axis = axisOf(context, intAttribute(context.node, 'axis', 0), input.length);
  const keep = intAttribute(context.node, 'keepdims', 1) === 1;
  return [{ type: 'int64', shape: input.flatMap((dim, at): Dim[] => (at === axis ? (keep ? [1] : []) : [dim])) }];
}

const REDUCTIONS = ['L1', 'L2', 'LogSum', 'LogSumExp', 'Max', 'Mean', 'Min', 'Prod', 'Sum', 'SumSquare'];

export const reductionFacts: [string, OpFacts][] = [
  ['ArgMax', { infer: argument }],
  ['ArgMin', { infer: argument }],
  ...REDUCTIONS.map((kind): [string, OpFacts] => [`Reduce${kind}`, { infer: reduce }]),
];
