import { intAttribute, intsAttribute, textAttribute } from '../build.ts';
import type { Dim, Shape } from '../model.ts';
import {
  axisOf,
  MAX_TRACKED_VALUES,
  numbersIn,
  shapeOf,
  sizeOf,
  typeOf,
  type OpContext,
  type OpFacts,
  type TensorInfo,
} from './facts.ts';

/** Axes or sizes that were an attribute in old opsets and are an input in newer ones; undefined: unknown or left out. */
const listFrom = (context: OpContext, attribute: string, input: number): number[] | undefined =>
  intsAttribute(context.node, attribute) ?? numbersIn(context, input);

/** True where a list is computed at run time: its effect cannot be told. */
const hidden = (context: OpContext, attribute: string, input: number): boolean =>
  context.inputs[input] != null && listFrom(context, attribute, input) === undefined;

const sized = (context: OpContext, shape: Shape, values?: readonly Dim[]): TensorInfo[] => {
  const type = typeOf(context, 0);
  return [values && values.length <= MAX_TRACKED_VALUES ? { type, shape, values } : { type, shape }];
};

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
  return sized(context, dims);
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

function slice(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  if (!input) return sized(context, null);
  const starts = listFrom(context, 'starts', 1);
  const ends = listFrom(context, 'ends', 2);
  const steps = numbersIn(context, 4) ?? starts?.map(() => 1);
  const axes = listFrom(context, 'axes', 3) ?? starts?.map((_, i) => i);
  if (!starts || !ends || !steps || !axes || hidden(context, 'axes', 3)) {
    const touched = new Set(listFrom(context, 'axes', 3)?.map((axis) => axisOf(context, axis, input.length)));
    return sized(
      context,
      input.map((dim, axis) => (touched.size > 0 && !touched.has(axis) ? dim : null)),
    );
  }
  const dims: Dim[] = [...input];
  let values = input.length === 1 ? context.inputs[0]?.values : undefined;
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
    const clamp = (x: number, low: number, high: number) => Math.min(high, Math.max(low, x < 0 ? x + size : x));
    const from = step > 0 ? clamp(starts[i]!, 0, size) : clamp(starts[i]!, 0, size - 1);
    const to = step > 0 ? clamp(ends[i]!, 0, size) : ends[i]! < -size ? -1 : clamp(ends[i]!, -1, size - 1);
    const count = Math.max(0, Math.ceil((to - from) / step));
    dims[axis] = count;
    values = values && Array.from({ length: count }, (_, k) => values![from + k * step]!);
  });
  return sized(context, dims, values);
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
  return sized(
    context,
    dims,
    first.length === 1 && parts.every((part) => part) ? parts.flatMap((part) => part!) : undefined,
  );
}

function split(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const type = typeOf(context, 0);
  const count = context.node.outputs.length;
  if (!input) return Array.from({ length: count }, () => ({ type, shape: null }));
  const axis = axisOf(context, intAttribute(context.node, 'axis', 0), input.length);
  const size = input[axis]!;
  const stated = listFrom(context, 'split', 1);
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

function pad(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const pads = listFrom(context, 'pads', 1);
  if (!input) return sized(context, null);
  if (!pads)
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

function resize(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  if (!input) return sized(context, null);
  const old = context.node.op === 'Upsample' || context.opset < 11;
  const sizes = old ? undefined : context.inputs[3]?.values;
  const attribute = context.node.attributes.get('scales');
  const scales = attribute?.kind === 'floats' ? attribute.value : numbersIn(context, old ? 1 : 2);
  if (
    textAttribute(context.node, 'keep_aspect_ratio_policy', 'stretch') !== 'stretch' ||
    intsAttribute(context.node, 'axes')
  ) {
    throw context.unsupported('resizing along chosen axes or by an aspect ratio');
  }
  if (sizes?.length === input.length) return sized(context, sizes);
  if (scales?.length !== input.length)
    return sized(
      context,
      input.map(() => null),
    );
  return sized(
    context,
    input.map((dim, axis) =>
      scales[axis] === 1 ? dim : typeof dim === 'number' ? Math.floor(dim * scales[axis]! + 1e-9) : null,
    ),
  );
}

function expand(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  const target = context.inputs[1]?.values;
  if (!input || !target) return sized(context, null);
  const rank = Math.max(input.length, target.length);
  const at = (of: readonly Dim[], axis: number): Dim => (axis < rank - of.length ? 1 : of[axis - rank + of.length]!);
  return sized(
    context,
    Array.from({ length: rank }, (_, axis) => (at(target, axis) === 1 ? at(input, axis) : at(target, axis))),
  );
}

/** Channels to space by b: [N, C, H, W] -> [N, C / b², H b, W b], or back. */
const blocks = (context: OpContext, toSpace: boolean): TensorInfo[] => {
  const input = shapeOf(context, 0);
  if (!input) return sized(context, null);
  const block = intAttribute(context.node, 'blocksize', 1);
  const scale = (dim: Dim | undefined, by: number): Dim => (typeof dim === 'number' ? dim * by : null);
  const by = toSpace ? block : 1 / block;
  return sized(context, [input[0] ?? null, scale(input[1], 1 / (by * by)), scale(input[2], by), scale(input[3], by)]);
};

const REDUCTIONS = ['L1', 'L2', 'Max', 'Mean', 'Min', 'Prod', 'Sum', 'SumSquare'];

export const layoutFacts: [string, OpFacts][] = [
  ['Reshape', { infer: reshape }],
  ['Slice', { infer: slice }],
  ['Gather', { infer: gather }],
  ['Concat', { infer: concat }],
  ['Split', { infer: split }],
  ['Squeeze', { infer: squeeze }],
  ['Unsqueeze', { infer: unsqueeze }],
  ['Pad', { infer: pad }],
  ['Resize', { infer: resize }],
  ['Upsample', { infer: resize }],
  ['Expand', { infer: expand }],
  ['ArgMax', { infer: argument }],
  ['ArgMin', { infer: argument }],
  ['DepthToSpace', { infer: (context) => blocks(context, true) }],
  ['SpaceToDepth', { infer: (context) => blocks(context, false) }],
  ...REDUCTIONS.map((kind): [string, OpFacts] => [`Reduce${kind}`, { infer: reduce }]),
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
        return sized(
          context,
          order.map((axis) => input[axisOf(context, axis, input.length)]!),
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
