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

/**
 * dX of a max pool: the input's rows and columns are taken by residue modulo the stride; on each of these grids, for each window offset that
 * reaches it, dY counts where x equals the maximum. Of equal values each gets dY: for callers that know equal values not to matter.
 */
export function maxPoolGrad(writer: BlockedWriter, node: Node): boolean {
  const [dY, x, y] = node.inputs as [string, string, string];
  const [dX] = node.outputs as [string];
  const { kernel, strides, dilations, pads, ceil } = poolWindow(node);
  if (kernel.length !== 2 || ceil !== 0 || dilations.some((dilation) => dilation !== 1)) return false;
  if (!writer.blockable(x) || !writer.has(x, 'blocked')) return false;
  const [n, , h, w] = writer.shape(x) as Shape4;
  const [, , ho, wo] = writer.shape(y) as Shape4;
  if (h % strides[0]! !== 0 || w % strides[1]! !== 0) return false;
  const lanes = writer.lanes(x);
  const blocks = lanes / writer.block;
  const [rows, columns] = [h / strides[0]!, w / strides[1]!];
  const five = (name: string, height: number, width: number) =>
    writer.reshape(writer.blocked(name), [n, blocks, height, width, writer.block]);
  const image = five(x, h, w);
  const outputs = { largest: five(y, ho, wo), gradient: five(dY, ho, wo) };

  const moved = new Map<string, string>();
  /** The pool's output seen from the grid: pixel (q, p) is its pixel (q + down, p + right), nothing outside. */
  const shifted = (which: 'largest' | 'gradient', down: number, right: number): string => {
    const key = `${which} ${down} ${right}`;
    const known = moved.get(key);
    if (known) return known;
    const gaps = [0, 0, -down, -right, 0, 0, 0, rows - ho + down, columns - wo + right, 0];
    // Outside, a gradient of 0 counts for nothing whatever it is compared with.
    const made = gaps.every((gap) => gap === 0)
      ? outputs[which]
      : writer.emit('Pad', [outputs[which], writer.ints(gaps)]);
    moved.set(key, made);
    return made;
  };
  /** Window offsets that reach a residue, and how far the window's index lies from the grid's. */
  const reaching = (axis: 0 | 1, residue: number): number[] => {
    const found: number[] = [];
    const place = residue + pads[axis]!;
    for (let offset = place % strides[axis]!; offset < kernel[axis]!; offset += strides[axis]!) {
      found.push((place - offset) / strides[axis]!);
    }
    return found;
  };
  const parts = Array.from({ length: strides[0]! }, (_, r) =>
    Array.from({ length: strides[1]! }, (_, c) => {
      const shifts = reaching(0, r).flatMap((down) => reaching(1, c).map((right) => [down, right] as const));
      if (shifts.length === 0) return undefined;
      const inputs = [image, writer.ints([r, c]), writer.ints([h, w]), writer.ints([2, 3]), writer.ints(strides)];
      const grid = writer.emit('Slice', inputs);
      const shares = shifts.map(([down, right]) => {
        const hit = writer.emit('Equal', [grid, shifted('largest', down, right)]);
        return writer.emit('Mul', [shifted('gradient', down, right), writer.emit('Cast', [hit], { to: 1 })]);
      });
      return shares.reduce((sum, share) => writer.emit('Add', [sum, share]));
    }),
  );
  const whole = interleave(writer, parts, [n, lanes, rows, columns]);
  writer.set(dX, 'blocked', writer.reshape(whole, [n, lanes, h, w]));
  return true;
}
