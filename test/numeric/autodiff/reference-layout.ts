import { intAttribute, intsAttribute, tensorAttribute, textAttribute } from '../../../main/onnx/index.ts';
import {
  axisIn,
  broadcastDims,
  broadcastStrides,
  build,
  flatIndex,
  fromConst,
  indicesOf,
  listFrom,
  reader,
  size,
  stridesOf,
  tensor,
  type RefOp,
  type RefRows,
  type RefTensor,
} from './reference-tensor.ts';

const reshaped = (x: RefTensor, dims: readonly number[]): RefTensor => tensor(dims, x.data, x.kind);

const reshape: RefOp = ([x, shape], node) => {
  const keepZero = intAttribute(node, 'allowzero', 0) === 1;
  const dims = [...shape!.data].map((dim, axis) => (dim === 0 && !keepZero ? x!.dims[axis]! : dim));
  const open = dims.indexOf(-1);
  if (open >= 0) dims[open] = x!.data.length / -size(dims);
  return [reshaped(x!, dims)];
};

const flatten: RefOp = ([x], node) => {
  const axis = axisIn(intAttribute(node, 'axis', 1), x!.dims.length);
  return [reshaped(x!, [size(x!.dims.slice(0, axis)), size(x!.dims.slice(axis))])];
};

const squeeze: RefOp = ([x, axesInput], node) => {
  const axes = listFrom(node, 'axes', axesInput)?.map((axis) => axisIn(axis, x!.dims.length));
  return [
    reshaped(
      x!,
      x!.dims.filter((dim, axis) => (axes ? !axes.includes(axis) : dim !== 1)),
    ),
  ];
};

const unsqueeze: RefOp = ([x, axesInput], node) => {
  const stated = listFrom(node, 'axes', axesInput)!;
  const rank = x!.dims.length + stated.length;
  const axes = stated.map((axis) => axisIn(axis, rank));
  const left = [...x!.dims];
  return [
    reshaped(
      x!,
      Array.from({ length: rank }, (_, axis) => (axes.includes(axis) ? 1 : left.shift()!)),
    ),
  ];
};

const transpose: RefOp = ([x], node) => {
  const perm = intsAttribute(node, 'perm') ?? [...x!.dims.keys()].reverse();
  const strides = stridesOf(x!.dims);
  const moved = perm.map((axis) => strides[axis]!);
  return [
    build(
      perm.map((axis) => x!.dims[axis]!),
      (at) => x!.data[flatIndex(at, moved)]!,
      x!.kind,
    ),
  ];
};

const concat: RefOp = (inputs, node) => {
  const parts = inputs as readonly RefTensor[];
  const axis = axisIn(intAttribute(node, 'axis', 0), parts[0]!.dims.length);
  const total = parts.reduce((sum, part) => sum + part.dims[axis]!, 0);
  const read = parts.map(reader);
  return [
    build(
      parts[0]!.dims.with(axis, total),
      (at) => {
        let index = at[axis]!;
        let which = 0;
        while (index >= parts[which]!.dims[axis]!) index -= parts[which++]!.dims[axis]!;
        return read[which]!(at.with(axis, index));
      },
      parts[0]!.kind,
    ),
  ];
};

const split: RefOp = ([x, sizesInput], node) => {
  const axis = axisIn(intAttribute(node, 'axis', 0), x!.dims.length);
  const count = node.outputs.length;
  const whole = x!.dims[axis]!;
  const chunk = Math.ceil(whole / count);
  const sizes =
    listFrom(node, 'split', sizesInput) ?? Array.from({ length: count }, (_, i) => Math.min(chunk, whole - i * chunk));
  const read = reader(x!);
  let start = 0;
  return sizes.map((part) => {
    const from = start;
    start += part;
    return build(x!.dims.with(axis, part), (at) => read(at.with(axis, at[axis]! + from)), x!.kind);
  });
};

const slice: RefOp = ([x, startsInput, endsInput, axesInput, stepsInput], node) => {
  const starts = listFrom(node, 'starts', startsInput)!;
  const ends = listFrom(node, 'ends', endsInput)!;
  const axes = listFrom(node, 'axes', axesInput) ?? [...starts.keys()];
  const positions = x!.dims.map((dim) => [...Array(dim).keys()]);
  axes.forEach((rawAxis, i) => {
    const axis = axisIn(rawAxis, x!.dims.length);
    const dim = x!.dims[axis]!;
    const step = stepsInput?.data[i] ?? 1;
    const fromEnd = (value: number) => (value < 0 ? value + dim : value);
    const [lowest, highest] = step > 0 ? [0, dim] : [-1, dim - 1];
    const start = Math.min(highest, Math.max(step > 0 ? 0 : 0, fromEnd(starts[i]!)));
    const end = Math.min(highest, Math.max(lowest, fromEnd(ends[i]!)));
    const picked: number[] = [];
    for (let p = start; step > 0 ? p < end : p > end; p += step) picked.push(p);
    positions[axis] = picked;
  });
  const read = reader(x!);
  const dims = positions.map((list) => list.length);
  return [build(dims, (at) => read(at.map((index, axis) => positions[axis]![index]!)), x!.kind)];
};

const pad: RefOp = ([x, padsInput, fill, axesInput], node) => {
  const rank = x!.dims.length;
  const pads = listFrom(node, 'pads', padsInput)!;
  const axes = (axesInput ? [...axesInput.data] : [...x!.dims.keys()]).map((axis) => axisIn(axis, rank));
  const before = x!.dims.map((_, axis) => pads[axes.indexOf(axis)] ?? 0);
  const after = x!.dims.map((_, axis) => (axes.includes(axis) ? pads[axes.indexOf(axis) + axes.length]! : 0));
  const mode = textAttribute(node, 'mode', 'constant');
  const read = reader(x!);
  const dims = x!.dims.map((dim, axis) => dim + before[axis]! + after[axis]!);
  const inside = (position: number, dim: number): number => {
    if (position >= 0 && position < dim) return position;
    if (mode === 'edge') return position < 0 ? 0 : dim - 1;
    if (mode === 'wrap') return inside(position < 0 ? position + dim : position - dim, dim);
    return inside(position < 0 ? -position : 2 * (dim - 1) - position, dim);
  };
  return [
    build(
      dims,
      (at) => {
        const from = at.map((index, axis) => index - before[axis]!);
        const outside = from.some((index, axis) => index < 0 || index >= x!.dims[axis]!);
        if (outside && mode === 'constant') return fill?.data[0] ?? 0;
        return read(from.map((index, axis) => inside(index, x!.dims[axis]!)));
      },
      x!.kind,
    ),
  ];
};

const expandTo = (x: RefTensor, target: readonly number[]): RefTensor => {
  const dims = broadcastDims([x.dims, target]);
  const strides = broadcastStrides(x.dims, dims);
  return build(dims, (at) => x.data[flatIndex(at, strides)]!, x.kind);
};

const tile: RefOp = ([x, repeats]) => {
  const read = reader(x!);
  const dims = x!.dims.map((dim, axis) => dim * repeats!.data[axis]!);
  return [build(dims, (at) => read(at.map((index, axis) => index % x!.dims[axis]!)), x!.kind)];
};

const gather: RefOp = ([x, indices], node) => {
  const axis = axisIn(intAttribute(node, 'axis', 0), x!.dims.length);
  const read = reader(x!);
  const pick = reader(indices!);
  const rank = indices!.dims.length;
  const dims = [...x!.dims.slice(0, axis), ...indices!.dims, ...x!.dims.slice(axis + 1)];
  return [
    build(
      dims,
      (at) => {
        const index = axisIn(pick(at.slice(axis, axis + rank)), x!.dims[axis]!);
        return read([...at.slice(0, axis), index, ...at.slice(axis + rank)]);
      },
      x!.kind,
    ),
  ];
};

const gatherElements: RefOp = ([x, indices], node) => {
  const axis = axisIn(intAttribute(node, 'axis', 0), x!.dims.length);
  const [read, pick] = [reader(x!), reader(indices!)];
  return [build(indices!.dims, (at) => read(at.with(axis, axisIn(pick(at), x!.dims[axis]!))), x!.kind)];
};

const scatterElements: RefOp = ([x, indices, updates], node) => {
  const axis = axisIn(intAttribute(node, 'axis', 0), x!.dims.length);
  const add = textAttribute(node, 'reduction', 'none') === 'add';
  const data = x!.data.slice();
  const strides = stridesOf(x!.dims);
  let k = 0;
  for (const at of indicesOf(indices!.dims)) {
    const to = flatIndex(at.with(axis, axisIn(indices!.data[k]!, x!.dims[axis]!)), strides);
    data[to] = updates!.data[k]! + (add ? data[to]! : 0);
    k += 1;
  }
  return [tensor(x!.dims, data, x!.kind)];
};

const blocks = (x: RefTensor, steps: { apart: number[]; perm: number[]; to: number[] }): RefTensor => {
  const strides = stridesOf(steps.apart);
  const moved = steps.perm.map((axis) => strides[axis]!);
  const dims = steps.perm.map((axis) => steps.apart[axis]!);
  return reshaped(
    build(dims, (at) => x.data[flatIndex(at, moved)]!),
    steps.to,
  );
};

/** As the specification writes them: reshape, transpose, reshape. */
const depthToSpace: RefOp = ([x], node) => {
  const b = intAttribute(node, 'blocksize', 1);
  const [n, c, h, w] = x!.dims as [number, number, number, number];
  const to = [n, c / (b * b), h * b, w * b];
  return textAttribute(node, 'mode', 'DCR') === 'DCR'
    ? [blocks(x!, { apart: [n, b, b, c / (b * b), h, w], perm: [0, 3, 4, 1, 5, 2], to })]
    : [blocks(x!, { apart: [n, c / (b * b), b, b, h, w], perm: [0, 1, 4, 2, 5, 3], to })];
};

const spaceToDepth: RefOp = ([x], node) => {
  const b = intAttribute(node, 'blocksize', 1);
  const [n, c, h, w] = x!.dims as [number, number, number, number];
  const to = [n, c * b * b, h / b, w / b];
  return [blocks(x!, { apart: [n, c, h / b, b, w / b, b], perm: [0, 3, 5, 1, 2, 4], to })];
};

/** Where output position i of an axis lies in the input. */
function sourceOf(mode: string, i: number, from: number, to: number, scale: number): number {
  switch (mode) {
    case 'asymmetric':
      return i / scale;
    case 'align_corners':
      return to === 1 ? 0 : (i * (from - 1)) / (to - 1);
    case 'pytorch_half_pixel':
      return to === 1 ? 0 : (i + 0.5) / scale - 0.5;
    case 'half_pixel_symmetric':
      return (from / 2) * (1 - to / (from * scale)) + (i + 0.5) / scale - 0.5;
    default:
      return (i + 0.5) / scale - 0.5;
  }
}

/** Multilinear or nearest, position by position. */
const resize: RefOp = ([x, , scales, sizes], node) => {
  const given = scales && scales.data.length > 0 ? [...scales.data] : undefined;
  const dims = sizes ? [...sizes.data] : x!.dims.map((dim, axis) => Math.floor(dim * given![axis]!));
  const mode = textAttribute(node, 'coordinate_transformation_mode', 'half_pixel');
  const linear = textAttribute(node, 'mode', 'nearest') === 'linear';
  const rounding = textAttribute(node, 'nearest_mode', 'round_prefer_floor');
  const round = (p: number): number =>
    rounding === 'floor'
      ? Math.floor(p)
      : rounding === 'ceil'
        ? Math.ceil(p)
        : p - Math.floor(p) === 0.5
          ? Math.floor(p) + (rounding === 'round_prefer_ceil' ? 1 : 0)
          : Math.round(p);
  const read = reader(x!);
  /** Recursion over the axes: the value at output position `at`, with the first axes already chosen. */
  const value = (at: readonly number[], chosen: number[]): number => {
    const axis = chosen.length;
    if (axis === x!.dims.length) return read(chosen);
    const from = x!.dims[axis]!;
    const p = sourceOf(mode, at[axis]!, from, dims[axis]!, given?.[axis] ?? dims[axis]! / from);
    const inside = (index: number) => Math.min(from - 1, Math.max(0, index));
    if (!linear) return value(at, [...chosen, inside(round(p))]);
    const share = p - Math.floor(p);
    const low = share === 1 ? 0 : (1 - share) * value(at, [...chosen, inside(Math.floor(p))]);
    return share === 0 ? low : low + share * value(at, [...chosen, inside(Math.floor(p) + 1)]);
  };
  return [build(dims, (at) => value(at, []))];
};

const oneHot: RefOp = ([indices, depth, values], node) => {
  const count = depth!.data[0]!;
  const axis = axisIn(intAttribute(node, 'axis', -1), indices!.dims.length + 1);
  const pick = reader(indices!);
  const dims = indices!.dims.toSpliced(axis, 0, count);
  const on = (at: readonly number[]) => axisIn(pick(at.toSpliced(axis, 1)), count) === at[axis];
  return [build(dims, (at) => values!.data[on(at) ? 1 : 0]!, values!.kind)];
};

const constantOfShape: RefOp = ([shape], node) => {
  const of = tensorAttribute(node, 'value');
  const fill = of ? fromConst(of) : tensor([1], [0]);
  return [build([...shape!.data], () => fill.data[0]!, fill.kind)];
};

export const layoutReference: RefRows = [
  ['Reshape', reshape],
  ['Flatten', flatten],
  ['Squeeze', squeeze],
  ['Unsqueeze', unsqueeze],
  ['Transpose', transpose],
  ['Concat', concat],
  ['Split', split],
  ['Slice', slice],
  ['Pad', pad],
  ['Expand', ([x, shape]) => [expandTo(x!, [...shape!.data])]],
  ['Tile', tile],
  ['Gather', gather],
  ['GatherElements', gatherElements],
  ['ScatterElements', scatterElements],
  ['DepthToSpace', depthToSpace],
  ['SpaceToDepth', spaceToDepth],
  ['Resize', resize],
  ['OneHot', oneHot],
  ['ConstantOfShape', constantOfShape],
  ['Constant', (_, node) => [fromConst(tensorAttribute(node, 'value')!)]],
  ['Shape', ([x]) => [tensor([x!.dims.length], [...x!.dims], 'int')]],
  ['Size', ([x]) => [tensor([], [x!.data.length], 'int')]],
];
