import { intAttribute, intsAttribute, textAttribute } from '../build.ts';
import type { Dim, Shape } from '../model.ts';
import { knownSize, shapeOf, typeOf, type OpContext, type OpFacts } from './facts.ts';

/** Of a sliding window over the spatial dims, as ONNX states it (Operators.md, Conv and the pools). */
export interface Window {
  kernel: number[];
  strides: number[];
  dilations: number[];
  /** Begins, then ends. */
  pads: number[];
  autoPad: string;
  ceil: boolean;
}

/** @param kernel sizes of the spatial dims. @throws GRAPH_INVALID for lists of other lengths, and for a kernel, stride or dilation below 1 */
export function windowOf(context: OpContext, kernel: readonly number[]): Window {
  const { node } = context;
  const rank = kernel.length;
  const list = (name: string, fallback: number, length: number) => {
    const found = intsAttribute(node, name) ?? Array.from({ length }, () => fallback);
    if (found.length !== length) throw context.fail(`${name} has ${found.length} entries, not ${length}`);
    return found;
  };
  const strides = list('strides', 1, rank);
  const dilations = list('dilations', 1, rank);
  if ([...kernel, ...strides, ...dilations].some((item) => item < 1))
    throw context.fail('a kernel, stride or dilation below 1');
  return {
    kernel: [...kernel],
    strides,
    dilations,
    pads: list('pads', 0, rank * 2),
    autoPad: textAttribute(node, 'auto_pad', 'NOTSET'),
    ceil: intAttribute(node, 'ceil_mode', 0) === 1,
  };
}

function slidSize(context: OpContext, window: Window, axis: number, size: Dim): Dim {
  const stride = window.strides[axis]!;
  const reach = (window.kernel[axis]! - 1) * window.dilations[axis]! + 1;
  const padding = window.autoPad === 'NOTSET' ? window.pads[axis]! + window.pads[axis + window.kernel.length]! : 0;
  const same = window.autoPad.startsWith('SAME');
  if (typeof size !== 'number') return stride === 1 && (same || padding === reach - 1) ? size : null;
  if (same) return Math.ceil(size / stride);
  const steps = (size + padding - reach) / stride;
  let out = (window.ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
  // A last window that would start in the trailing padding is not counted.
  if (window.ceil && (out - 1) * stride >= size + window.pads[axis]!) out -= 1;
  if (out < 1) throw context.fail(`a window of ${reach} does not fit into ${size} with padding ${padding}`);
  return out;
}

/** [N, C, …] -> [N, channels, …]. */
function slide(context: OpContext, input: Shape, kernel: readonly number[], channels: Dim): Shape {
  if (!input) return null;
  if (input.length !== kernel.length + 2)
    throw context.fail(`a window of ${kernel.length} dims over a tensor of rank ${input.length}`);
  const window = windowOf(context, kernel);
  return [input[0]!, channels, ...input.slice(2).map((size, axis) => slidSize(context, window, axis, size))];
}

/** Sizes under the kernel, from a weight that is [., ., kernel…]; null: it is computed, and the node does not state them either. */
const kernelOf = (context: OpContext, weight: readonly Dim[]): readonly number[] | null => {
  const kernel = weight.slice(2);
  if (kernel.every((size) => typeof size === 'number')) return kernel;
  return intsAttribute(context.node, 'kernel_shape') ?? null;
};

const convShape = (context: OpContext, inputAt: number, weightAt: number): Shape => {
  const input = shapeOf(context, inputAt);
  const weight = shapeOf(context, weightAt);
  if (!weight) return input && [input[0]!, ...input.slice(1).map(() => null)];
  if (weight.length < 3) throw context.fail('its weight is not [out, in, kernel…]');
  const [out, inPerGroup] = weight as [Dim, Dim];
  const group = intAttribute(context.node, 'group', 1);
  if (group < 1 || (typeof out === 'number' && out % group !== 0))
    throw context.fail(`${out} channels do not divide into ${group} groups`);
  const channels = input?.[1];
  if (typeof channels === 'number' && typeof inPerGroup === 'number' && channels !== inPerGroup * group) {
    throw context.fail(`its input has ${channels} channels, its weight expects ${inPerGroup * group}`);
  }
  const kernel = kernelOf(context, weight);
  return kernel ? slide(context, input, kernel, out) : input && [input[0]!, out, ...input.slice(2).map(() => null)];
};

const convMacs =
  (weightAt: number): NonNullable<OpFacts['macs']> =>
  (context, [output]) => {
    const weight = shapeOf(context, weightAt);
    return knownSize(context, output?.shape) * (knownSize(context, weight) / Math.max(1, Number(weight![0])));
  };

const poolShape = (context: OpContext): Shape => {
  const kernel = intsAttribute(context.node, 'kernel_shape');
  if (!kernel) throw context.fail('it states no kernel_shape');
  const input = shapeOf(context, 0);
  return slide(context, input, kernel, input?.[1] ?? null);
};

const globalPool: OpFacts = {
  infer: (context) => {
    const input = shapeOf(context, 0);
    return [{ type: typeOf(context, 0), shape: input && input.map((dim, axis) => (axis < 2 ? dim : 1)) }];
  },
};

function transposedShape(context: OpContext): Shape {
  const input = shapeOf(context, 0);
  const weight = shapeOf(context, 1);
  if (!input || !weight) return null;
  if (weight.length !== input.length || weight.length < 3) throw context.fail('its weight is not [in, out, kernel…]');
  const [, outPerGroup] = weight;
  const channels = typeof outPerGroup === 'number' ? outPerGroup * intAttribute(context.node, 'group', 1) : null;
  const kernel = kernelOf(context, weight);
  if (!kernel) return [input[0]!, channels, ...input.slice(2).map(() => null)];
  const window = windowOf(context, kernel);
  const extra = intsAttribute(
    context.node,
    'output_padding',
    kernel.map(() => 0),
  );
  const stated = intsAttribute(context.node, 'output_shape');
  const spatial = input.slice(2).map((size, axis): Dim => {
    if (stated) return stated.at(axis - kernel.length) ?? null;
    if (typeof size !== 'number') return null;
    const stride = window.strides[axis]!;
    if (window.autoPad.startsWith('SAME')) return size * stride;
    const padding = window.autoPad === 'NOTSET' ? window.pads[axis]! + window.pads[axis + kernel.length]! : 0;
    const out = stride * (size - 1) + extra[axis]! + (kernel[axis]! - 1) * window.dilations[axis]! + 1 - padding;
    if (out < 1) throw context.fail(`padding ${padding} leaves nothing of ${out + padding}`);
    return out;
  });
  return [input[0]!, channels, ...spatial];
}

export const convolutionFacts: [string, OpFacts][] = [
  [
    'Conv',
    {
      infer: (context) => [{ type: typeOf(context, 0), shape: convShape(context, 0, 1) }],
      macs: convMacs(1),
      params: [1, 2],
    },
  ],
  [
    'ConvInteger',
    { infer: (context) => [{ type: 'int32', shape: convShape(context, 0, 1) }], macs: convMacs(1), params: [1] },
  ],
  [
    'QLinearConv',
    {
      infer: (context) => [{ type: typeOf(context, 7), shape: convShape(context, 0, 3) }],
      macs: convMacs(3),
      params: [3, 8],
    },
  ],
  [
    'ConvTranspose',
    {
      infer: (context) => [{ type: typeOf(context, 0), shape: transposedShape(context) }],
      macs: (context) => {
        const weight = shapeOf(context, 1);
        return knownSize(context, shapeOf(context, 0)) * (knownSize(context, weight) / Math.max(1, Number(weight![0])));
      },
      params: [1, 2],
    },
  ],
  [
    'MaxPool',
    {
      infer: (context) => {
        const shape = poolShape(context);
        return [
          { type: typeOf(context, 0), shape },
          { type: 'int64', shape },
        ];
      },
    },
  ],
  ['AveragePool', { infer: (context) => [{ type: typeOf(context, 0), shape: poolShape(context) }] }],
  ...['GlobalAveragePool', 'GlobalMaxPool'].map((op): [string, OpFacts] => [op, globalPool]),
];
