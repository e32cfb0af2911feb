import * as tf from '@tensorflow/tfjs-core';
import {
  elementCount,
  float32Of,
  intAttribute,
  intsAttribute,
  numbersOf,
  sliceBounds,
  tensorAttribute,
  textAttribute,
} from '../../../onnx/index.ts';
import { dtypes } from '../tensor-value.ts';
import { aligned } from './elementwise.ts';
import type { OpContext, OpRow, OpRows } from './row.ts';

const INT32_MAX = 2 ** 31 - 1;
const whole = (values: readonly number[]): tf.Tensor =>
  tf.tensor1d(
    values.map((item) => Math.min(item, INT32_MAX)),
    'int32',
  );

function reshape(context: OpContext): tf.Tensor {
  const from = context.dims(0);
  const keepZero = intAttribute(context.node, 'allowzero', 0) === 1;
  const to = context.numbers(1).map((dim, axis) => (dim === 0 && !keepZero ? from[axis]! : dim));
  return tf.reshape(context.tensor(0), to);
}

function flatten(context: OpContext): tf.Tensor {
  const dims = context.dims(0);
  const raw = intAttribute(context.node, 'axis', 1);
  const axis = raw < 0 ? raw + dims.length : raw;
  return tf.reshape(context.tensor(0), [elementCount(dims.slice(0, axis)), elementCount(dims.slice(axis))]);
}

function squeeze(context: OpContext): tf.Tensor {
  const dims = context.dims(0);
  const axes = context.list('axes', 1)?.map((axis) => context.axis(axis, dims.length));
  return tf.reshape(
    context.tensor(0),
    dims.filter((dim, axis) => (axes ? !axes.includes(axis) : dim !== 1)),
  );
}

function unsqueeze(context: OpContext): tf.Tensor {
  const dims = [...context.dims(0)];
  const listed = context.list('axes', 1)!;
  const rank = dims.length + listed.length;
  const axes = new Set(listed.map((axis) => context.axis(axis, rank)));
  return tf.reshape(
    context.tensor(0),
    Array.from({ length: rank }, (_, axis) => (axes.has(axis) ? 1 : dims.shift()!)),
  );
}

/** Negative steps run backwards: forwards over the reversed axis. */
function slice(context: OpContext): tf.Tensor {
  const dims = context.dims(0);
  const starts = context.list('starts', 1)!;
  const ends = context.list('ends', 2)!;
  const axes = (context.list('axes', 3) ?? starts.map((_, i) => i)).map((axis) => context.axis(axis, dims.length));
  const steps = context.has(4) ? context.numbers(4) : starts.map(() => 1);
  let x = context.tensor(0);
  const begin = dims.map(() => 0);
  const size = [...dims];
  const strides = dims.map(() => 1);
  const reversed: number[] = [];
  axes.forEach((axis, i) => {
    const step = steps[i]!;
    const { start, count } = sliceBounds(dims[axis]!, starts[i]!, ends[i]!, step);
    begin[axis] = step > 0 ? start : dims[axis]! - 1 - start;
    strides[axis] = Math.abs(step);
    size[axis] = count === 0 ? 0 : (count - 1) * strides[axis] + 1;
    if (step < 0) reversed.push(axis);
  });
  if (reversed.length) x = tf.reverse(x, reversed);
  if (strides.every((stride) => stride === 1)) return tf.slice(x, begin, size);
  return tf.stridedSlice(
    x,
    begin,
    begin.map((from, axis) => from + size[axis]!),
    strides,
  );
}

function split(context: OpContext): tf.Tensor[] {
  const dims = context.dims(0);
  const axis = context.axis(intAttribute(context.node, 'axis', 0), dims.length);
  const parts = context.node.outputs.length;
  const each = Math.ceil(dims[axis]! / parts);
  const sizes =
    context.list('split', 1) ?? Array.from({ length: parts }, (_, i) => Math.min(each, dims[axis]! - i * each));
  return tf.split(context.tensor(0), sizes, axis);
}

const PLACE_LAST = [0, 3, 1, 2];

const concat: OpRow = (context) => {
  const indices = [...Array(context.count).keys()];
  const rank = context.dims(0).length;
  const axis = context.axis(intAttribute(context.node, 'axis', 0), rank);
  const { tensors, layout } = aligned(context, indices);
  return { tensor: tf.concat(tensors, layout === 'last' ? PLACE_LAST[axis]! : axis), layout };
};

function pad(context: OpContext): tf.Tensor {
  const dims = context.dims(0);
  const pads = context.list('pads', 1)!;
  const axes = context.has(3) ? context.numbers(3).map((axis) => context.axis(axis, dims.length)) : [...dims.keys()];
  const mode = textAttribute(context.node, 'mode', 'constant');
  const pairs = dims.map((): [number, number] => [0, 0]);
  axes.forEach((axis, i) => {
    pairs[axis] = [pads[i]!, pads[i + axes.length]!];
  });
  // Negative pads cut; what is left is padded.
  const cut = pairs.map(([before, after], axis) => ({
    from: Math.max(0, -before),
    size: dims[axis]! - Math.max(0, -before) - Math.max(0, -after),
  }));
  const kept = tf.slice(
    context.tensor(0),
    cut.map(({ from }) => from),
    cut.map(({ size }) => size),
  );
  const added = pairs.map(([before, after]): [number, number] => [Math.max(0, before), Math.max(0, after)]);
  if (mode === 'reflect') return tf.mirrorPad(kept, added, 'reflect');
  if (mode !== 'constant') throw context.unsupported(`padding of mode "${mode}"`);
  return tf.pad(kept, added, context.has(2) ? context.numbers(2)[0]! : 0);
}

/** Rows of numpy's expand: both sides may be stretched. */
function expandedShape(from: readonly number[], to: readonly number[]): number[] {
  const rank = Math.max(from.length, to.length);
  const at = (of: readonly number[], axis: number) => of[axis - (rank - of.length)] ?? 1;
  return Array.from({ length: rank }, (_, axis) => (at(to, axis) === 1 ? at(from, axis) : at(to, axis)));
}

/** The index tensor of Gather and its kin with negative indices counted from the end. */
function indicesOf(context: OpContext, index: number, size: number): tf.Tensor {
  const raw = tf.cast(context.tensor(index), 'int32');
  const from = tf.scalar(size, 'int32');
  return tf.where(tf.less(raw, tf.scalar(0, 'int32')), tf.add(raw, from), raw);
}

function gather(context: OpContext): tf.Tensor {
  const dims = context.dims(0);
  const axis = context.axis(intAttribute(context.node, 'axis', 0), dims.length);
  const shape = context.dims(1);
  const flat = tf.reshape(indicesOf(context, 1, dims[axis]!), [-1]);
  const picked = tf.gather(context.tensor(0), flat as tf.Tensor1D, axis);
  return tf.reshape(picked, [...dims.slice(0, axis), ...shape, ...dims.slice(axis + 1)]);
}

/** Positions in the flattened data that an index tensor along one axis names: [count of indices]. */
function flatPositions(context: OpContext, axis: number): tf.Tensor1D {
  const dims = context.dims(0);
  const shape = context.dims(1);
  const strides = dims.map((_, at) => elementCount(dims.slice(at + 1)));
  const inner = shape.map((_, at) => elementCount(shape.slice(at + 1)));
  const base = new Int32Array(elementCount(shape));
  for (let i = 0; i < base.length; i++) {
    let position = 0;
    for (let at = 0; at < shape.length; at++) {
      if (at !== axis) position += (Math.floor(i / inner[at]!) % shape[at]!) * strides[at]!;
    }
    base[i] = position;
  }
  const along = tf.mul(tf.reshape(indicesOf(context, 1, dims[axis]!), [-1]), tf.scalar(strides[axis]!, 'int32'));
  return tf.add(along, tf.tensor1d(base, 'int32')) as tf.Tensor1D;
}

function gatherElements(context: OpContext): tf.Tensor {
  const axis = context.axis(intAttribute(context.node, 'axis', 0), context.dims(0).length);
  const flat = tf.reshape(context.tensor(0), [-1]);
  return tf.reshape(tf.gather(flat, flatPositions(context, axis)), [...context.dims(1)]);
}

/** `updates` [n, …] written to (or added at) `positions` [n, k] of data. */
function scatter(context: OpContext, data: tf.Tensor, positions: tf.Tensor, updates: tf.Tensor): tf.Tensor {
  const how = textAttribute(context.node, 'reduction', 'none');
  const sums = tf.scatterND(positions, updates, data.shape);
  if (how === 'add') return tf.add(data, sums);
  if (how !== 'none') throw context.unsupported(`the reduction "${how}"`);
  const written = tf.scatterND(positions, tf.onesLike(updates), data.shape);
  return tf.where(tf.greater(written, tf.scalar(0, written.dtype as 'float32')), sums, data);
}

function scatterElements(context: OpContext): tf.Tensor {
  const data = context.tensor(0);
  const axis = context.axis(intAttribute(context.node, 'axis', 0), data.rank);
  const positions = tf.expandDims(flatPositions(context, axis), 1);
  const flat = scatter(context, tf.reshape(data, [-1]), positions, tf.reshape(context.tensor(2), [-1]));
  return tf.reshape(flat, data.shape);
}

function oneHot(context: OpContext): tf.Tensor {
  const depth = context.numbers(1)[0]!;
  const [off, on] = context.numbers(2) as [number, number];
  const rank = context.dims(0).length + 1;
  const axis = context.axis(intAttribute(context.node, 'axis', -1), rank);
  const hot = tf.cast(tf.oneHot(indicesOf(context, 0, depth), depth), 'float32');
  const valued = tf.add(tf.mul(hot, on - off), off);
  const typed = tf.cast(valued, context.tensor(2).dtype as 'float32');
  const order = [...Array(rank - 1).keys()];
  order.splice(axis, 0, rank - 1);
  return tf.transpose(typed, order);
}

function constant(context: OpContext): tf.Tensor {
  const tensor = tensorAttribute(context.node, 'value');
  const found = [...context.node.attributes.values()][0];
  if (tensor) {
    const dtype = dtypes[tensor.type];
    if (!dtype) throw context.unsupported(`a constant of type ${tensor.type}`);
    return tf.tensor(dtype === 'float32' ? float32Of(tensor) : clamped(numbersOf(tensor)), [...tensor.dims], dtype);
  }
  if (found?.kind === 'float') return tf.scalar(found.value);
  if (found?.kind === 'floats') return tf.tensor1d([...found.value]);
  if (found?.kind === 'int') return tf.scalar(Number(found.value), 'int32');
  if (found?.kind === 'ints') return whole(found.value.map(Number));
  throw context.unsupported('a constant that is no tensor of numbers');
}

const clamped = (values: readonly number[]): number[] =>
  values.map((item) => Math.max(-INT32_MAX - 1, Math.min(INT32_MAX, item)));

function constantOfShape(context: OpContext): tf.Tensor {
  const value = tensorAttribute(context.node, 'value');
  const dtype = value ? dtypes[value.type] : 'float32';
  if (!dtype) throw context.unsupported(`a constant of type ${value?.type}`);
  return tf.fill(context.numbers(0), value ? numbersOf(value)[0]! : 0, dtype);
}

function shape(context: OpContext): tf.Tensor {
  const dims = context.dims(0);
  const bound = (name: string, fallback: number) => {
    const at = intAttribute(context.node, name, fallback);
    return Math.min(dims.length, Math.max(0, at < 0 ? at + dims.length : at));
  };
  return whole(dims.slice(bound('start', 0), bound('end', dims.length)));
}

function range(context: OpContext): tf.Tensor {
  const [start, limit, delta] = [0, 1, 2].map((index) => context.numbers(index)[0]!) as [number, number, number];
  return tf.range(start, limit, delta, context.tensor(0).dtype as 'float32');
}

/** [N, C, H, W] with channels moved into blocks of space, or back (modes DCR and CRD of ONNX). */
function depthToSpace(context: OpContext): tf.Tensor {
  const b = intAttribute(context.node, 'blocksize', 1);
  const [n, c, h, w] = context.dims(0) as [number, number, number, number];
  const d = c / (b * b);
  const blockFirst = textAttribute(context.node, 'mode', 'DCR') === 'DCR';
  const parts = tf.reshape(context.tensor(0), blockFirst ? [n, b, b, d, h, w] : [n, d, b, b, h, w]);
  const moved = tf.transpose(parts, blockFirst ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3]);
  return tf.reshape(moved, [n, d, h * b, w * b]);
}

function spaceToDepth(context: OpContext): tf.Tensor {
  const b = intAttribute(context.node, 'blocksize', 1);
  const [n, c, h, w] = context.dims(0) as [number, number, number, number];
  const parts = tf.reshape(context.tensor(0), [n, c, h / b, b, w / b, b]);
  return tf.reshape(tf.transpose(parts, [0, 3, 5, 1, 2, 4]), [n, c * b * b, h / b, w / b]);
}

export const layoutRows: OpRows = [
  ['Reshape', reshape],
  ['Flatten', flatten],
  ['Squeeze', squeeze],
  ['Unsqueeze', unsqueeze],
  [
    'Transpose',
    (context) => {
      const order = intsAttribute(context.node, 'perm') ?? [...context.dims(0).keys()].reverse();
      return tf.transpose(context.tensor(0), order);
    },
  ],
  ['Slice', slice],
  ['Split', split],
  ['Concat', concat],
  ['Pad', pad],
  ['Expand', (context) => tf.broadcastTo(context.tensor(0), expandedShape(context.dims(0), context.numbers(1)))],
  ['Tile', (context) => tf.tile(context.tensor(0), context.numbers(1))],
  ['Gather', gather],
  ['GatherElements', gatherElements],
  ['ScatterElements', scatterElements],
  [
    'GatherND',
    (context) => {
      if (intAttribute(context.node, 'batch_dims', 0) !== 0) throw context.unsupported('batch_dims');
      return tf.gatherND(context.tensor(0), context.tensor(1));
    },
  ],
  ['ScatterND', (context) => scatter(context, context.tensor(0), context.tensor(1), context.tensor(2))],
  ['OneHot', oneHot],
  ['Constant', constant],
  ['ConstantOfShape', constantOfShape],
  ['Shape', shape],
  ['Range', range],
  ['DepthToSpace', depthToSpace],
  ['SpaceToDepth', spaceToDepth],
];
