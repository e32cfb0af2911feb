import { elementCount, float32Tensor, int64Tensor, intAttribute, intsAttribute } from '../../onnx/index.ts';
import { positions, range, slideBack, windowOf, type Expansion, type Window } from './context.ts';

const LOWEST = -3.4028234663852886e38;

/** Kernel weights [channels count, 1, kernel…] that give entry k of a window back to place k. */
function oneHot(channels: number, kernel: readonly number[]): Float32Array {
  const area = elementCount(kernel);
  const values = new Float32Array(channels * area * area);
  for (let c = 0; c < channels; c++) for (let k = 0; k < area; k++) values[(c * area + k) * area + k] = 1;
  return values;
}

/** Trailing padding needed for the last window (ceil mode). */
function reachPads(window: Window, sizes: readonly number[], steps: readonly number[]): number[] {
  const { kernel, strides, dilations, pads } = window;
  const rank = kernel.length;
  const ends = kernel.map((k, axis) => {
    const reach = strides[axis]! * (steps[axis]! - 1) + (k - 1) * dilations[axis]! + 1;
    return Math.max(pads[axis + rank]!, reach - sizes[axis]! - pads[axis]!);
  });
  return [...pads.slice(0, rank), ...ends];
}

/**
 * The window's entries are stacked and the first of the largest gets all (ArgMax takes the first, as PyTorch does); a grouped ConvTranspose
 * with one-hot weights then adds up what each place got from all windows over it.
 */
export const maxPoolGrad: Expansion = (context, node) => {
  const [dY, x] = node.inputs as [string, string];
  const window = windowOf(node);
  const { kernel, strides, dilations } = window;
  const rank = kernel.length;
  const [n, c, ...sizes] = context.shape(x) as [number, number, ...number[]];
  const steps = context.shape(dY).slice(2);
  const padded = context.padSpatial(x, reachPads(window, sizes, steps), LOWEST);
  const stacked = context.reshape(padded, [n, c, 1, ...context.shape(padded).slice(2)]);
  const parts = positions(kernel).map((place) => {
    const starts = place.map((i, axis) => i * dilations[axis]!);
    const ends = starts.map((start, axis) => start + strides[axis]! * (steps[axis]! - 1) + 1);
    return context.slice(stacked, range(rank, 3), starts, ends, strides);
  });
  const area = elementCount(kernel);
  const entries = parts.length === 1 ? parts[0]! : context.emit1('Concat', parts, { axis: 2 });
  const chosen = context.emit1('ArgMax', [entries], { axis: 2, keepdims: 1 });
  const places = context.tensor(int64Tensor([1, 1, area, ...kernel.map(() => 1)], range(area)));
  const hit = context.emit1('Equal', [chosen, places]);
  const given = context.emit1('Where', [hit, context.reshape(dY, [n, c, 1, ...steps]), context.number(0)]);
  const flat = context.reshape(given, [n, c * area, ...steps]);
  const weight = context.tensor(float32Tensor([c * area, 1, ...kernel], oneHot(c, kernel)));
  return [slideBack(context, flat, weight, { ...window, group: c }, sizes)];
};

/** Each place of a window gets its share of the window's gradient. */
export const averagePoolGrad: Expansion = (context, node) => {
  const [dY] = node.inputs as [string];
  const window = windowOf(node);
  const { kernel, strides, dilations, pads } = window;
  const rank = kernel.length;
  const [, c, ...sizes] = intsAttribute(node, 'input_shape', []) as [number, number, ...number[]];
  const steps = context.shape(dY).slice(2);
  const withPads = intAttribute(node, 'count_include_pad', 0) === 1;
  /** Places of window `at` along an axis that count. */
  const counted = (axis: number, at: number): number => {
    const [low, high] = withPads ? [-pads[axis]!, sizes[axis]! + pads[axis + rank]!] : [0, sizes[axis]!];
    const first = at * strides[axis]! - pads[axis]!;
    return range(kernel[axis]!).filter((k) => {
      const place = first + k * dilations[axis]!;
      return place >= low && place < high;
    }).length;
  };
  const shares = positions(steps).map((at) => 1 / elementCount(at.map((step, axis) => counted(axis, step))));
  const even = shares.every((share) => share === shares[0]);
  const share = even ? context.number(shares[0]!) : context.tensor(float32Tensor([1, 1, ...steps], shares));
  const weight = context.tensor(float32Tensor([c, 1, ...kernel], new Float32Array(c * elementCount(kernel)).fill(1)));
  return [slideBack(context, context.emit1('Mul', [dY, share]), weight, { ...window, group: c }, sizes)];
};
