import { intAttribute } from '../build.ts';
import type { Dim } from '../model.ts';
import { sliceBounds } from '../slice-bounds.ts';
import {
  axisOf,
  hidden,
  listFrom,
  numbersIn,
  shapeOf,
  sized,
  strided,
  stridesOf,
  typeOf,
  type OpContext,
  type OpFacts,
  type TensorInfo,
} from './facts.ts';

function slice(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  if (!input) return sized(context, null);
  const starts = listFrom(context, 'starts', 1);
  const ends = listFrom(context, 'ends', 2);
  const steps = numbersIn(context, 4) ?? starts?.map(() => 1);
  const axes = listFrom(context, 'axes', 3) ?? starts?.map((_, i) => i);
  if (!starts || !ends || !steps || !axes || hidden(context, 'axes', 3) || hidden(context, 'steps', 4)) {
    const touched = new Set(listFrom(context, 'axes', 3)?.map((axis) => axisOf(context, axis, input.length)));
    return sized(
      context,
      input.map((dim, axis) => (touched.size > 0 && !touched.has(axis) ? dim : null)),
    );
  }
  const dims: Dim[] = [...input];
  const strides = stridesOf(input);
  let [values, first] = [context.inputs[0]?.values, 0];
  axes.forEach((rawAxis, i) => {
    const axis = axisOf(context, rawAxis, input.length);
    const size = input[axis]!;
    const step = steps[i]!;
    if (step === 0) throw context.fail('a step of 0');
    if (typeof size !== 'number') {
      dims[axis] = starts[i] === 0 && ends[i]! >= 2 ** 31 - 1 && step === 1 ? size : null;
      values = undefined;
      return;
    }
    const { start, count } = sliceBounds(size, starts[i]!, ends[i]!, step);
    dims[axis] = count;
    first += start * strides[axis]!;
    strides[axis] = step * strides[axis]!;
  });
  return sized(context, dims, strided(values, dims, strides, first));
}

function gather(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const indices = shapeOf(context, 1);
  if (!input || !indices) return sized(context, null);
  const axis = axisOf(context, intAttribute(context.node, 'axis', 0), input.length);
  const picks = numbersIn(context, 1);
  const source = input.length === 1 ? context.inputs[0]?.values : undefined;
  const values = source && picks?.map((pick) => source.at(pick) ?? null);
  return sized(context, [...input.slice(0, axis), ...indices, ...input.slice(axis + 1)], values);
}

/** One element per index, along one axis. */
function gatherElements(context: OpContext): TensorInfo[] {
  const [input, indices] = [shapeOf(context, 0), shapeOf(context, 1)];
  if (input && indices && input.length !== indices.length)
    throw context.fail(`indices of rank ${indices.length} into a tensor of rank ${input.length}`);
  if (input) axisOf(context, intAttribute(context.node, 'axis', 0), input.length);
  return sized(context, indices);
}

/** Indices [..., k] pick slices of the last dims. */
function gatherSlices(context: OpContext): TensorInfo[] {
  const [input, indices] = [shapeOf(context, 0), shapeOf(context, 1)];
  const depth = indices?.at(-1);
  if (!input || !indices || typeof depth !== 'number') return sized(context, null);
  const batch = intAttribute(context.node, 'batch_dims', 0);
  if (batch + depth > input.length) throw context.fail(`indices of ${depth} into a tensor of rank ${input.length}`);
  return sized(context, [...indices.slice(0, -1), ...input.slice(batch + depth)]);
}

function scatter(context: OpContext): TensorInfo[] {
  const [input, indices, updates] = [0, 1, 2].map((index) => shapeOf(context, index));
  if (input && indices && context.node.op === 'ScatterElements') {
    axisOf(context, intAttribute(context.node, 'axis', 0), input.length);
    if (indices.length !== input.length)
      throw context.fail(`indices of rank ${indices.length} into a tensor of rank ${input.length}`);
    const differs = updates?.some(
      (dim, axis) => typeof dim === 'number' && typeof indices[axis] === 'number' && dim !== indices[axis],
    );
    if (differs) throw context.fail(`updates [${updates!.join(', ')}] for indices [${indices.join(', ')}]`);
  }
  return sized(context, input ?? null);
}

function oneHot(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const type = typeOf(context, 2);
  if (!input) return [{ type, shape: null }];
  const axis = axisOf(context, intAttribute(context.node, 'axis', -1), input.length + 1);
  const depth = numbersIn(context, 1)?.[0] ?? null;
  return [{ type, shape: [...input.slice(0, axis), depth, ...input.slice(axis)] }];
}

export const indexingFacts: [string, OpFacts][] = [
  ['Slice', { infer: slice }],
  // The table of an embedding is trained.
  ['Gather', { infer: gather, params: [0] }],
  ['GatherElements', { infer: gatherElements }],
  ['GatherND', { infer: gatherSlices }],
  ['ScatterElements', { infer: scatter }],
  ['ScatterND', { infer: scatter }],
  ['OneHot', { infer: oneHot }],
  [
    'TopK',
    {
      infer: (context) => {
        const input = shapeOf(context, 0);
        const k = intAttribute(context.node, 'k') ?? numbersIn(context, 1)?.[0] ?? null;
        const axis = input && axisOf(context, intAttribute(context.node, 'axis', -1), input.length);
        const shape = input && input.map((dim, at) => (at === axis ? k : dim));
        return [
          { type: typeOf(context, 0), shape },
          { type: 'int64', shape },
        ];
      },
    },
  ],
];
