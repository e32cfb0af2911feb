import { intAttribute, intsAttribute, type Node } from '../../../onnx/index.ts';
import { packedDims, roundUp, type FilterLayout } from './layout.ts';
import type { BlockedWriter } from './writer.ts';

/** A two-dimensional convolution's numbers; pads [top, left, bottom, right]. */
interface Window {
  kernel: readonly [number, number];
  strides: readonly [number, number];
  dilations: readonly [number, number];
  pads: readonly [number, number, number, number];
  group: number;
}

type Pair = readonly [number, number];
type Shape4 = readonly [number, number, number, number];

const windowOf = (node: Node, weights: readonly number[]): Window => ({
  kernel: [weights[2]!, weights[3]!],
  strides: intsAttribute(node, 'strides', [1, 1]) as unknown as Pair,
  dilations: intsAttribute(node, 'dilations', [1, 1]) as unknown as Pair,
  pads: intsAttribute(node, 'pads', [0, 0, 0, 0]) as unknown as Shape4,
  group: intAttribute(node, 'group', 1),
});

/** How these weights lie for the blocked kernels, or undefined: there is no kernel for them (grouped; few channels). */
export function filterLayout(weights: readonly number[], group: number, block: number): FilterLayout | undefined {
  if (weights.length !== 4) return undefined;
  const [outputs, inputs] = weights as unknown as Shape4;
  if (outputs < block || outputs % 4 !== 0) return undefined;
  if (group === 1) return { kind: inputs < block ? 'image' : 'dense', block, dims: weights };
  return group === outputs && inputs === 1 ? { kind: 'depthwise', block, dims: weights } : undefined;
}

const groups = (layout: FilterLayout): number => (layout.kind === 'depthwise' ? packedDims(layout)[0]! : 1);

export function convolve(writer: BlockedWriter, node: Node): boolean {
  const [x, w, b] = node.inputs as [string, string, string | undefined];
  const [y] = node.outputs as [string];
  const shape = writer.shape(w);
  const layout = filterLayout(shape, intAttribute(node, 'group', 1), writer.block);
  if (!layout || (layout.kind !== 'image' && !writer.blockable(x))) return false;
  const { kernel, strides, dilations, pads } = windowOf(node, shape);
  const input = layout.kind === 'image' ? writer.plain(x) : writer.blocked(x);
  const inputs = [input, writer.filter(w, layout), ...(b ? [writer.vector(b)] : [])];
  writer.set(
    y,
    'blocked',
    writer.blockedOp('Conv', inputs, { kernel_shape: kernel, strides, dilations, pads, group: groups(layout) }),
  );
  return true;
}

/** The filter for the way back: input and output channels changed over, taps in reverse; or only some of the taps. */
function turned(
  writer: BlockedWriter,
  filter: string,
  layout: FilterLayout,
  taps?: { rows: number[]; columns: number[] },
): string {
  const { block } = layout;
  const [op, ip, kh, kw] = packedDims(layout) as unknown as Shape4;
  const rows = taps?.rows ?? Array.from({ length: kh }, (_, i) => kh - 1 - i);
  const columns = taps?.columns ?? Array.from({ length: kw }, (_, i) => kw - 1 - i);
  const order = rows.flatMap((row) => columns.map((column) => row * kw + column));
  const inOrder = order.every((tap, i) => tap === i) && order.length === kh * kw;
  const area = order.length;
  const gather = (name: string, axis: number) =>
    inOrder ? name : writer.emit('Gather', [name, writer.ints(order)], { axis });
  if (layout.kind === 'depthwise') {
    const reversed = gather(writer.reshape(filter, [op / block, kh * kw, block]), 1);
    return writer.reshape(reversed, [op, 1, rows.length, columns.length]);
  }
  const [o, i] = [op / block, ip / block];
  // Two moves: whole blocks of b x b first (rows of a table: ORT gathers them on all threads), then inside each block what ORT's reordering
  // kernel does with an image of b pixels.
  const places: number[] = [];
  for (let input = 0; input < i; input++) {
    for (let output = 0; output < o; output++) {
      for (const tap of order) places.push((output * i + input) * kh * kw + tap);
    }
  }
  const table = writer.reshape(filter, [o * i * kh * kw, block * block]);
  const moved = writer.emit('Gather', [table, writer.ints(places)], { axis: 0 });
  const swapped = writer.blockedOp('ReorderInput', [writer.reshape(moved, [i * o * area, block, 1, block])]);
  return writer.reshape(swapped, [ip, op, rows.length, columns.length]);
}

/** One residue of the input's rows (or columns) modulo the stride: which taps reach it, and the padding of the convolution that gives it. */
interface Phase {
  taps: number[];
  padStart: number;
  padEnd: number;
}

/** @returns undefined where a residue would need negative padding. */
function phases(size: number, out: number, kernel: number, stride: number, pad: number): Phase[] | undefined {
  if (size % stride !== 0) return undefined;
  const found: Phase[] = [];
  for (let residue = 0; residue < stride; residue++) {
    const first = (residue + pad) % stride;
    const taps: number[] = [];
    for (let tap = first; tap < kernel; tap += stride) taps.unshift(tap);
    const offset = (residue + pad - first) / stride;
    const padStart = taps.length - 1 - offset;
    const padEnd = size / stride + taps.length - 1 - padStart - out;
    if (taps.length > 0 && (padStart < 0 || padEnd < 0)) return undefined;
    found.push({ taps, padStart, padEnd });
  }
  return found;
}

/**
 * Blocked images parts[r][c], each [n, lanes, rows, columns], as one whose pixel (R y + r, C x + c) is pixel (y, x) of parts[r][c]; a part
 * left out is zero. @returns [n, lanes / b, R rows, C columns, b]
 */
export function interleave(
  writer: BlockedWriter,
  parts: readonly (readonly (string | undefined)[])[],
  [n, lanes, rows, columns]: Shape4,
): string {
  const { block } = writer;
  const blocks = lanes / block;
  const across = parts[0]!.length;
  const bands = parts.map((band) => {
    const shape = [n, blocks, rows, columns, 1, block];
    const pieces = band.map((part) => (part ? writer.reshape(part, shape) : writer.zeros(shape)));
    const row = pieces.length > 1 ? writer.emit('Concat', pieces, { axis: 4 }) : pieces[0]!;
    return writer.reshape(row, [n, blocks, rows, 1, across * columns * block]);
  });
  const whole = bands.length > 1 ? writer.emit('Concat', bands, { axis: 3 }) : bands[0]!;
  return writer.reshape(whole, [n, blocks, parts.length * rows, across * columns, block]);
}

/**
 * dX as a convolution of dY with the turned filter; with a stride, one convolution for each residue of the input's position modulo the
 * stride with the taps that reach it (no multiplication by inserted zeros), interleaved afterwards.
 */
export function inputGradient(writer: BlockedWriter, node: Node): boolean {
  const [dY, w] = node.inputs as [string, string];
  const [dX] = node.outputs as [string];
  const shape = writer.shape(w);
  const window = windowOf(node, shape);
  const layout = filterLayout(shape, window.group, writer.block);
  if (!layout || layout.kind === 'image' || !writer.blockable(dX) || !writer.blockable(dY)) return false;
  const { kernel, strides, dilations, pads } = window;
  const [n, , h, width] = writer.shape(dX) as unknown as Shape4;
  const [, , ho, wo] = writer.shape(dY) as unknown as Shape4;
  const group = groups(layout);
  if (strides[0] === 1 && strides[1] === 1) {
    const reach = [dilations[0] * (kernel[0] - 1), dilations[1] * (kernel[1] - 1)] as const;
    const back = [reach[0] - pads[0], reach[1] - pads[1], reach[0] - pads[2], reach[1] - pads[3]];
    if (back.some((pad) => pad < 0)) return false;
    const filter = turned(writer, writer.filter(w, layout), layout);
    const attributes = { kernel_shape: kernel, strides: [1, 1], dilations, pads: back, group };
    writer.set(dX, 'blocked', writer.blockedOp('Conv', [writer.blocked(dY), filter], attributes));
    return true;
  }
  if (dilations[0] !== 1 || dilations[1] !== 1) return false;
  const rows = phases(h, ho, kernel[0], strides[0], pads[0]);
  const columns = phases(width, wo, kernel[1], strides[1], pads[1]);
  if (!rows || !columns) return false;
  const filter = writer.filter(w, layout);
  const parts = rows.map((row) =>
    columns.map((column) => {
      if (row.taps.length === 0 || column.taps.length === 0) return undefined;
      const taps = { rows: row.taps, columns: column.taps };
      return writer.blockedOp('Conv', [writer.blocked(dY), turned(writer, filter, layout, taps)], {
        kernel_shape: [row.taps.length, column.taps.length],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [row.padStart, column.padStart, row.padEnd, column.padEnd],
        group,
      });
    }),
  );
  const grid: Shape4 = [n, writer.lanes(dX), h / strides[0], width / strides[1]];
  writer.set(dX, 'blocked', writer.reshape(interleave(writer, parts, grid), [n, writer.lanes(dX), h, width]));
  return true;
}

/** Zeros around (or, negative, rows and columns cut off) the image axes of a plain [N, C, H, W]. */
function fit(writer: BlockedWriter, name: string, pads: readonly number[]): string {
  if (pads.every((pad) => pad === 0)) return name;
  const [top, left, bottom, right] = pads as unknown as Shape4;
  return writer.emit('Pad', [name, writer.ints([0, 0, top, left, 0, 0, bottom, right])]);
}

/** A blocked [N, C, H, W] as the filter [C, N, H, W] of a convolution whose input channels are the pictures of the batch. */
function asFilter(writer: BlockedWriter, name: string, kernel: Pair): string {
  const [n, , h, w] = writer.shape(name) as unknown as Shape4;
  const { block } = writer;
  const lanes = writer.lanes(name);
  const pictures = roundUp(n, block);
  const whole = writer.padEnd(
    writer.reshape(writer.blocked(name), [n, lanes / block, h * w, block]),
    4,
    0,
    pictures - n,
  );
  const split = writer.reshape(whole, [pictures / block, block, lanes / block, h * w, block]);
  return writer.reshape(writer.transpose(split, [2, 0, 3, 1, 4]), [lanes, pictures, kernel[0], kernel[1]]);
}

/**
 * dW as a convolution with changed roles (LEARNING section 3): the batch becomes the input channels, dY the filter, stride and dilation
 * change over; padding is written out beforehand, for the kernels are several times faster without it.
 */
function denseWeightGradient(
  writer: BlockedWriter,
  x: string,
  dY: string,
  layout: FilterLayout,
  window: Window,
): string {
  const { block } = writer;
  const [, c, h, width] = writer.shape(x) as unknown as Shape4;
  const [, , ho, wo] = writer.shape(dY) as unknown as Shape4;
  const { kernel, strides, dilations, pads } = window;
  const area = kernel[0] * kernel[1];
  const [op, ip] = packedDims(layout) as unknown as Shape4;
  const reach = (axis: 0 | 1) => strides[axis] * ([ho, wo][axis]! - 1) + dilations[axis] * (kernel[axis] - 1) + 1;
  const ends = [reach(0) - h - pads[0], reach(1) - width - pads[1]] as const;
  const padded = fit(writer, writer.plain(x), [pads[0], pads[1], ends[0], ends[1]]);
  const image = writer.blockedOp('ReorderInput', [writer.transpose(padded, [1, 0, 2, 3])]);
  const out = writer.blockedOp('Conv', [image, asFilter(writer, dY, [ho, wo])], {
    kernel_shape: [ho, wo],
    strides: dilations,
    dilations: strides,
    pads: [0, 0, 0, 0],
    group: 1,
  });
  // [C, O/b, taps, b] to the filter's order.
  if (layout.kind === 'image') {
    return writer.reshape(
      writer.transpose(writer.reshape(out, [c, op / block, area * block]), [1, 0, 2]),
      packedDims(layout),
    );
  }
  const rows = writer.padEnd(writer.reshape(out, [c, op / block, area, block]), 4, 0, ip - c);
  const moved = writer.transpose(writer.reshape(rows, [ip / block, block, op / block, area, block]), [2, 0, 3, 1, 4]);
  return writer.reshape(moved, packedDims(layout));
}

/** 1 x 1: one row of channels instead of an image, so that the kernels find a wide output. The larger of X and dY is the filter. */
function pointwiseWeightGradient(
  writer: BlockedWriter,
  x: string,
  dY: string,
  layout: FilterLayout,
  strides: Pair,
): string {
  const { block } = writer;
  const [n, c] = writer.shape(x) as unknown as Shape4;
  const [, o, h, w] = writer.shape(dY) as unknown as Shape4;
  const area = h * w;
  const strided = strides.some((stride) => stride !== 1);
  /** Plain, only the pixels that the convolution reads. */
  const pixels = (name: string): string => {
    if (name !== x || !strided) return writer.plain(name);
    const ends = [(h - 1) * strides[0] + 1, (w - 1) * strides[1] + 1];
    return writer.emit('Slice', [
      writer.plain(x),
      writer.ints([0, 0]),
      writer.ints(ends),
      writer.ints([2, 3]),
      writer.ints(strides),
    ]);
  };
  const row = (name: string, channels: number): string => {
    const flat = writer.transpose(writer.reshape(pixels(name), [n, channels, area]), [0, 2, 1]);
    return writer.blockedOp('ReorderInput', [writer.reshape(flat, [1, n, area, channels])]);
  };
  const convolveRow = (image: string, filter: string): string =>
    writer.blockedOp('Conv', [image, filter], {
      kernel_shape: [area, 1],
      strides: [1, 1],
      dilations: [1, 1],
      pads: [0, 0, 0, 0],
      group: 1,
    });
  const [op, ip] = packedDims(layout) as unknown as Shape4;
  if (o >= c || strided) {
    // [O/b, C, b]
    const out = writer.reshape(convolveRow(row(x, c), asFilter(writer, dY, [area, 1])), [op / block, c, block]);
    return writer.reshape(writer.padEnd(out, 3, 1, ip - c), packedDims(layout));
  }
  // [C/b, O, b]
  const out = writer.reshape(convolveRow(row(dY, o), asFilter(writer, x, [area, 1])), [ip / block, o, block]);
  const split = writer.reshape(writer.padEnd(out, 3, 1, op - o), [ip / block, op / block, block, block]);
  return writer.reshape(writer.transpose(split, [1, 0, 3, 2]), packedDims(layout));
}

/** Every channel of every picture is a group of its own, with dY as its filter; the batch is summed afterwards. */
function depthwiseWeightGradient(
  writer: BlockedWriter,
  x: string,
  dY: string,
  layout: FilterLayout,
  window: Window,
): string | undefined {
  const { block } = writer;
  const [n, , h, width] = writer.shape(x) as unknown as Shape4;
  const [, , ho, wo] = writer.shape(dY) as unknown as Shape4;
  const { kernel, strides, dilations, pads } = window;
  const lanes = writer.lanes(x);
  const reach = (axis: 0 | 1) => strides[axis] * ([ho, wo][axis]! - 1) + dilations[axis] * (kernel[axis] - 1) + 1;
  const ends = [reach(0) - h - pads[0], reach(1) - width - pads[1]] as const;
  let image = writer.blocked(x);
  let [rows, columns] = [h, width];
  if (ends[0] < 0 || ends[1] < 0) {
    rows = h + Math.min(0, ends[0]);
    columns = width + Math.min(0, ends[1]);
    const whole = writer.reshape(image, [n, lanes / block, h, width, block]);
    const short = rows < h ? writer.slice(whole, 2, 0, rows) : whole;
    image = columns < width ? writer.slice(short, 3, 0, columns) : short;
  }
  const out = writer.blockedOp(
    'Conv',
    [writer.reshape(image, [1, n * lanes, rows, columns]), writer.reshape(writer.blocked(dY), [n * lanes, 1, ho, wo])],
    {
      kernel_shape: [ho, wo],
      strides: dilations,
      dilations: strides,
      pads: [pads[0], pads[1], Math.max(0, ends[0]), Math.max(0, ends[1])],
      group: n * lanes,
    },
  );
  const flat = writer.reshape(out, [n, lanes * kernel[0] * kernel[1]]);
  const summed = writer.emit('ReduceSum', [flat, writer.ints([0])], { keepdims: 0 });
  return writer.reshape(summed, packedDims(layout));
}

export function weightGradient(writer: BlockedWriter, node: Node): boolean {
  const [x, dY] = node.inputs as [string, string];
  const [dW] = node.outputs as [string];
  const shape = writer.shape(dW);
  const window = windowOf(node, shape);
  const layout = filterLayout(shape, window.group, writer.block);
  // The batch takes the place of the channels: in fours for the reordering kernels.
  if (!layout || !writer.blockable(dY) || writer.shape(x)[0]! % 4 !== 0) return false;
  if (layout.kind !== 'image' && !writer.blockable(x)) return false;
  const { kernel, strides, pads } = window;
  const pointwise = kernel.every((size) => size === 1) && pads.every((pad) => pad === 0);
  let gradient: string | undefined;
  if (layout.kind === 'depthwise') gradient = depthwiseWeightGradient(writer, x, dY, layout, window);
  else if (pointwise && layout.kind === 'dense') gradient = pointwiseWeightGradient(writer, x, dY, layout, strides);
  else gradient = denseWeightGradient(writer, x, dY, layout, window);
  if (!gradient) return false;
  writer.setFilter(dW, gradient, layout);
  return true;
}
