import { intAttribute, intsAttribute, type Node } from '../../../onnx/index.ts';
import { interleave } from './convolution.ts';
import type { BlockedWriter } from './writer.ts';

type Shape4 = readonly [number, number, number, number];

export function globalAveragePool(writer: BlockedWriter, node: Node): boolean {
  const [x] = node.inputs as [string];
  if (!writer.blockable(x) || !writer.has(x, 'blocked')) return false;
  writer.set(node.outputs[0]!, 'blocked', writer.blockedOp('GlobalAveragePool', [writer.blocked(x)]));
  return true;
}

const poolWindow = (node: Node) => {
  const kernel = intsAttribute(node, 'kernel_shape', []);
  return {
    kernel,
    strides: intsAttribute(node, 'strides', [1, 1]),
    dilations: intsAttribute(node, 'dilations', [1, 1]),
    pads: intsAttribute(node, 'pads', [0, 0, 0, 0]),
    ceil: intAttribute(node, 'ceil_mode', 0),
  };
};

export function maxPool(writer: BlockedWriter, node: Node): boolean {
  const [x] = node.inputs as [string];
  const window = poolWindow(node);
  if (node.outputs.length !== 1 || window.ceil !== 0 || window.kernel.length !== 2) return false;
  if (!writer.blockable(x) || !writer.has(x, 'blocked')) return false;
  const { kernel, strides, dilations, pads } = window;
  const attributes = { kernel_shape: kernel, strides, dilations, pads, ceil_mode: 0 };
  writer.set(node.outputs[0]!, 'blocked', writer.blockedOp('MaxPool', [writer.blocked(x)], attributes));
  return true;
}

/** Below every float32 that a network makes. */
const LOWEST = -3.4028234663852886e38;

/**
 * dX of a max pool, window offset by window offset: where x at that offset equals the maximum, dY goes there. Offsets of one residue modulo
 * the stride meet on one grid, which are interleaved at the end.
 * @param ties 'first': of equal values the first takes all; 'any': each does, right where equal values are known not to matter.
 */
export function maxPoolGrad(writer: BlockedWriter, node: Node, ties: 'first' | 'any'): boolean {
  const [dY, x, y] = node.inputs as [string, string, string];
  const [dX] = node.outputs as [string];
  const { kernel, strides, dilations, pads, ceil } = poolWindow(node);
  if (kernel.length !== 2 || ceil !== 0 || dilations.some((dilation) => dilation !== 1)) return false;
  if (!writer.blockable(x) || !writer.has(x, 'blocked')) return false;
  const [n, , h, w] = writer.shape(x) as Shape4;
  const [, , ho, wo] = writer.shape(y) as Shape4;
  const { block } = writer;
  const lanes = writer.lanes(x);
  const blocks = lanes / block;
  const [kh, kw] = kernel as [number, number];
  const [sh, sw] = strides as [number, number];
  const [top, left] = pads as [number, number];
  // Grid cells per residue: the windows' reach in units of the stride.
  const [rows, columns] = [ho + Math.ceil(kh / sh) - 1, wo + Math.ceil(kw / sw) - 1];
  const frame = [rows * sh - h - top, columns * sw - w - left] as const;
  const five = (name: string, height: number, width: number) => writer.reshape(writer.blocked(name), [n, blocks, height, width, block]);
  const padded = writer.emit('Pad', [
    five(x, h, w),
    writer.ints([0, 0, top, left, 0, 0, 0, frame[0], frame[1], 0]),
    writer.number(LOWEST),
  ]);
  const [largest, gradient] = [five(y, ho, wo), five(dY, ho, wo)];
  const sums: (string | undefined)[][] = Array.from({ length: sh }, () => Array.from({ length: sw }, () => undefined));
  let free: string | undefined;
  for (let i = 0; i < kh; i++) {
    for (let j = 0; j < kw; j++) {
      const ends = [i + (ho - 1) * sh + 1, j + (wo - 1) * sw + 1];
      const window = writer.emit('Slice', [padded, writer.ints([i, j]), writer.ints(ends), writer.ints([2, 3]), writer.ints([sh, sw])]);
      let hit = writer.emit('Equal', [window, largest]);
      if (ties === 'first') {
        const other = writer.emit('Not', [hit]);
        if (free) hit = writer.emit('And', [hit, free]);
        free = free ? writer.emit('And', [free, other]) : other;
      }
      const share = writer.emit('Mul', [gradient, writer.emit('Cast', [hit], { to: 1 })]);
      const [down, right] = [Math.floor(i / sh), Math.floor(j / sw)];
      const gaps = [0, 0, down, right, 0, 0, 0, rows - ho - down, columns - wo - right, 0];
      const placed = gaps.some((gap) => gap !== 0) ? writer.emit('Pad', [share, writer.ints(gaps)]) : share;
      const line = sums[i % sh]!;
      const before = line[j % sw];
      line[j % sw] = before ? writer.emit('Add', [before, placed]) : placed;
    }
  }
  const grid = interleave(writer, sums, [n, lanes, rows, columns]);
  const tall = writer.slice(grid, 2, top, top + h);
  writer.set(dX, 'blocked', writer.reshape(writer.slice(tall, 3, left, left + w), [n, lanes, h, w]));
  return true;
}
