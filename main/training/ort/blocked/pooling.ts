import { elementTypes, intAttribute, intsAttribute, type Node } from '../../../onnx/index.ts';
import { interleave } from './convolution.ts';
import type { BlockedWriter } from './writer.ts';

type Shape4 = readonly [number, number, number, number];
type Size = readonly [number, number];

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
 * reaches it, dY counts where x equals the maximum. Equal values share dY: a flat background gives whole windows of them.
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
  const largest = five(y, ho, wo);

  const moved = new Map<string, string>();
  /** Seen from elsewhere: pixel (q, p) of the result is pixel (q + down, p + right), zero outside. */
  const shifted = (of: string, [from, to]: readonly [Size, Size], down: number, right: number): string => {
    const key = `${of} ${down} ${right}`;
    const known = moved.get(key);
    if (known) return known;
    const gaps = [0, 0, -down, -right, 0, 0, 0, to[0] - from[0] + down, to[1] - from[1] + right, 0];
    const made = gaps.every((gap) => gap === 0) ? of : writer.emit('Pad', [of, writer.ints(gaps)]);
    moved.set(key, made);
    return made;
  };
  const [output, grid]: [Size, Size] = [
    [ho, wo],
    [rows, columns],
  ];
  const number = (mask: string) => writer.emit('Cast', [mask], { to: elementTypes.float32.code });
  /** Window offsets that reach a residue, and how far the window's index lies from the grid's. */
  const reaching = (axis: 0 | 1, residue: number): number[] => {
    const found: number[] = [];
    const place = residue + pads[axis]!;
    for (let offset = place % strides[axis]!; offset < kernel[axis]!; offset += strides[axis]!) {
      found.push((place - offset) / strides[axis]!);
    }
    return found;
  };
  const hits = Array.from({ length: strides[0]! }, (_, r) =>
    Array.from({ length: strides[1]! }, (_, c) => {
      const shifts = reaching(0, r).flatMap((down) => reaching(1, c).map((right) => [down, right] as const));
      if (shifts.length === 0) return [];
      const inputs = [image, writer.ints([r, c]), writer.ints([h, w]), writer.ints([2, 3]), writer.ints(strides)];
      const pixels = writer.emit('Slice', inputs);
      return shifts.map(([down, right]) => ({
        down,
        right,
        // Beyond the output there is 0, which a pixel may equal: a gradient of 0 counts for nothing there.
        mask: writer.emit('Equal', [pixels, shifted(largest, [output, grid], down, right)]),
      }));
    }),
  );
  const add = (a: string, b: string) => writer.emit('Add', [a, b]);
  const counts = hits
    .flat(2)
    .map(({ mask, down, right }) => number(shifted(mask, [grid, output], -down, -right)))
    .reduce(add);
  const share = writer.emit('Div', [five(dY, ho, wo), counts]);
  const parts = hits.map((band) =>
    band.map((own) =>
      own
        .map(({ mask, down, right }) => writer.emit('Mul', [shifted(share, [output, grid], down, right), number(mask)]))
        .reduce<string | undefined>((sum, part) => (sum === undefined ? part : add(sum, part)), undefined),
    ),
  );
  const whole = interleave(writer, parts, [n, lanes, rows, columns]);
  writer.set(dX, 'blocked', writer.reshape(whole, [n, lanes, h, w]));
  return true;
}
