import { intAttribute, intsAttribute } from '../build.ts';
import type { Dim, Shape } from '../model.ts';
import {
  axisOf,
  broadcast,
  hidden,
  listFrom,
  MAX_TRACKED_VALUES,
  numbersIn,
  shapeOf,
  sized,
  sizeOf,
  strided,
  stridesOf,
  typeOf,
  type OpContext,
  type OpFacts,
  type TensorInfo,
} from './facts.ts';

function reshape(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const target = intsAttribute(context.node, 'shape') ?? context.inputs[1]?.values;
  if (!target) {
    const rank = shapeOf(context, 1)?.[0];
    return sized(context, typeof rank === 'number' && rank <= 64 ? Array.from({ length: rank }, () => null) : null);
  }
  const keepZero = intAttribute(context.node, 'allowzero', 0) === 1;
  const dims: Dim[] = target.map((dim, axis) => (dim === 0 && !keepZero ? (input?.[axis] ?? null) : dim));
  const open = dims.indexOf(-1);
  const total = input && sizeOf(input);
  if (open < 0) {
    const size = sizeOf(dims);
    if (typeof total === 'number' && size !== null && size !== total) {
      throw context.fail(`[${input!.join(', ')}] cannot become [${dims.join(', ')}]`);
    }
    return sized(context, dims, context.inputs[0]?.values);
  }
  const rest = dims.filter((_, axis) => axis !== open);
  dims[open] = openDim(context, input, rest);
  return sized(context, dims, dims[open] === null ? undefined : context.inputs[0]?.values);
}

/** The -1 of a Reshape; symbols that stand on both sides cancel ([N, 1280, 1, 1] -> [N, -1]). */
function openDim(context: OpContext, input: Shape, rest: readonly Dim[]): Dim {
  if (!input) return null;
  const left: Dim[] = [...input];
  for (const dim of rest) {
    const at = typeof dim === 'string' ? left.indexOf(dim) : -1;
    if (at >= 0) left.splice(at, 1);
  }
  const total = sizeOf(left);
  const known = sizeOf(rest.filter((dim) => typeof dim !== 'string' || !input.includes(dim)));
  if (total === null || known === null || known === 0) return null;
  if (!Number.isInteger(total / known)) throw context.fail(`[${input.join(', ')}] cannot be divided by ${known}`);
  return total / known;
}

function concat(context: OpContext): TensorInfo[] {
  const shapes = context.inputs.map((input) => input?.shape ?? null);
  const first = shapes.find((shape) => shape !== null);
  if (!first) return sized(context, null);
  const axis = axisOf(context, intAttribute(context.node, 'axis', 1), first.length);
  const dims = first.map((_, at): Dim => {
    const across = shapes.map((shape) => {
      if (shape && shape.length !== first.length)
        throw context.fail(`ranks ${first.length} and ${shape.length} cannot be joined`);
      return shape?.[at] ?? null;
    });
    if (at === axis) return sizeOf(across) === null ? null : (across as number[]).reduce((sum, dim) => sum + dim, 0);
    const numbers = new Set(across.filter((dim) => typeof dim === 'number'));
    if (numbers.size > 1) throw context.fail(`sizes ${[...numbers].join(' and ')} differ on axis ${at}`);
    return [...numbers][0] ?? across.find((dim) => dim !== null) ?? null;
  });
  const parts = context.inputs.map((input) => input?.values);
  // A name takes three bytes of a file and may stand for many numbers: they are counted before they are joined.
  const few = parts.reduce((sum, part) => sum + (part?.length ?? Infinity), 0) <= MAX_TRACKED_VALUES;
  return sized(context, dims, first.length === 1 && few ? parts.flatMap((part) => part!) : undefined);
}

function split(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const type = typeOf(context, 0);
  const count = context.node.outputs.length;
  if (intAttribute(context.node, 'num_outputs', count) !== count) {
    throw context.fail(`it has ${count} outputs, num_outputs is ${intAttribute(context.node, 'num_outputs', count)}`);
  }
  if (!input) return Array.from({ length: count }, () => ({ type, shape: null }));
  const axis = axisOf(context, intAttribute(context.node, 'axis', 0), input.length);
  const size = input[axis]!;
  const stated = listFrom(context, 'split', 1);
  if (stated && stated.length !== count) throw context.fail(`${stated.length} sizes for ${count} outputs`);
  const sum = stated?.reduce((total, part) => total + part, 0);
  if (sum !== undefined && typeof size === 'number' && sum !== size)
    throw context.fail(`parts of ${stated!.join(' + ')} do not make ${size}`);
  // Since opset 18 the last part may be smaller; before, the parts had to be equal.
  const chunk = typeof size === 'number' ? Math.ceil(size / count) : null;
  return Array.from({ length: count }, (_, i) => {
    const even = chunk === null || hidden(context, 'split', 1) ? null : Math.min(chunk, Number(size) - i * chunk);
    const part = stated ? (stated[i] ?? null) : even;
    return { type, shape: input.map((dim, at) => (at === axis ? part : dim)) };
  });
}

function squeeze(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  if (!input || hidden(context, 'axes', 1)) return sized(context, null);
  const axes = listFrom(context, 'axes', 1)?.map((axis) => axisOf(context, axis, input.length));
  const bad = axes?.find((axis) => typeof input[axis] === 'number' && input[axis] !== 1);
  if (bad !== undefined) throw context.fail(`axis ${bad} has size ${input[bad]}, not 1`);
  return sized(
    context,
    input.filter((dim, axis) => (axes ? !axes.includes(axis) : dim !== 1)),
    context.inputs[0]?.values,
  );
}

function unsqueeze(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const axes = listFrom(context, 'axes', 1);
  if (!input || !axes) return sized(context, null);
  const rank = input.length + axes.length;
  const at = new Set(axes.map((axis) => axisOf(context, axis, rank)));
  let next = 0;
  return sized(
    context,
    Array.from({ length: rank }, (_, axis) => (at.has(axis) ? 1 : (input[next++] ?? null))),
    context.inputs[0]?.values,
  );
}

function pad(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const pads = listFrom(context, 'pads', 1);
  if (!input) return sized(context, null);
  if (!pads || hidden(context, 'axes', 3))
    return sized(
      context,
      input.map(() => null),
    );
  const axes =
    numbersIn(context, 3)?.map((axis) => axisOf(context, axis, input.length)) ?? input.map((_, axis) => axis);
  if (pads.length !== axes.length * 2) throw context.fail(`${pads.length} pads for ${axes.length} axes`);
  const dims: Dim[] = [...input];
  axes.forEach((axis, i) => {
    const more = pads[i]! + pads[i + axes.length]!;
    const size = input[axis]!;
    dims[axis] = more === 0 ? size : typeof size === 'number' ? size + more : null;
  });
  return sized(context, dims);
}

function expand(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const target = context.inputs[1]?.values;
  if (!input || !target) return sized(context, null);
  const dims = broadcast(context, [input, target]);
  const [only, more] = context.inputs[0]?.values ?? [];
  const count = dims && sizeOf(dims);
  const repeated = only !== undefined && more === undefined && count !== null && count <= MAX_TRACKED_VALUES;
  return sized(context, dims, repeated ? Array.from({ length: count }, () => only) : undefined);
}

/** Channels to space by b: [N, C, H, W] -> [N, C / b², H b, W b], or back. */
const blocks = (context: OpContext, toSpace: boolean): TensorInfo[] => {
  const input = shapeOf(context, 0);
  if (!input) return sized(context, null);
  const block = intAttribute(context.node, 'blocksize', 1);
  const times = (dim: Dim | undefined, by: number): Dim => (typeof dim === 'number' ? dim * by : null);
  // Divided, not multiplied by a reciprocal: 49 / 49 is 1, 49 * (1 / 49) is not.
  const over = (dim: Dim | undefined, by: number): Dim => (typeof dim === 'number' ? dim / by : null);
  const [channels, side] = toSpace ? [over, times] : [times, over];
  return sized(context, [
    input[0] ?? null,
    channels(input[1], block * block),
    side(input[2], block),
    side(input[3], block),
  ]);
};

export const layoutFacts: [string, OpFacts][] = [
  ['Reshape', { infer: reshape }],
  ['Concat', { infer: concat }],
  ['Split', { infer: split }],
  ['Squeeze', { infer: squeeze }],
  ['Unsqueeze', { infer: unsqueeze }],
  ['Pad', { infer: pad }],
  // A class token is a parameter that only an Expand reads.
  ['Expand', { infer: expand, params: [0] }],
  ['DepthToSpace', { infer: (context) => blocks(context, true) }],
  ['SpaceToDepth', { infer: (context) => blocks(context, false) }],
  [
    'Flatten',
    {
      infer: (context) => {
        const input = shapeOf(context, 0);
        if (!input) return sized(context, [null, null]);
        const raw = intAttribute(context.node, 'axis', 1);
        const axis = raw < 0 ? raw + input.length : raw;
        if (axis < 0 || axis > input.length) throw context.fail(`axis ${raw} of a tensor of rank ${input.length}`);
        const side = (dims: readonly Dim[]): Dim => {
          const rest = dims.filter((dim) => dim !== 1);
          return rest.length === 1 ? rest[0]! : sizeOf(dims);
        };
        return sized(context, [side(input.slice(0, axis)), side(input.slice(axis))]);
      },
    },
  ],
  [
    'Transpose',
    {
      infer: (context) => {
        const input = shapeOf(context, 0);
        if (!input) return sized(context, null);
        const order = intsAttribute(context.node, 'perm') ?? [...input.keys()].reverse();
        if (order.length !== input.length || new Set(order).size !== order.length) {
          throw context.fail(`[${order.join(', ')}] does not order ${input.length} axes`);
        }
        const axes = order.map((axis) => axisOf(context, axis, input.length));
        const dims = axes.map((axis) => input[axis]!);
        const strides = stridesOf(input);
        return sized(
          context,
          dims,
          strided(
            context.inputs[0]?.values,
            dims,
            axes.map((axis) => strides[axis]!),
          ),
        );
      },
    },
  ],
  [
    'Tile',
    {
      infer: (context) => {
        const input = shapeOf(context, 0);
        const repeats = numbersIn(context, 1);
        if (!input) return sized(context, null);
        return sized(
          context,
          input.map((dim, axis) =>
            repeats?.[axis] === 1 ? dim : typeof dim === 'number' && repeats ? dim * repeats[axis]! : null,
          ),
        );
      },
    },
  ],
];
