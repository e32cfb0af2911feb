import * as tf from '@tensorflow/tfjs-core';
import { float32Tensor, int64Tensor, scalar, type AttributeInput } from '../../../main/onnx/index.ts';
import { fed, variable as v, type GradientCase } from './gradient-case.ts';

const ints = (...values: number[]) => int64Tensor([values.length], values);
const FAR = 2 ** 62;

const slice = (
  note: string,
  x: number[],
  starts: number[],
  ends: number[],
  axes?: number[],
  steps?: number[],
  tfjs?: (x: tf.Tensor) => tf.Tensor,
): GradientCase => ({
  op: 'Slice',
  note,
  inputs: [v(x), ints(...starts), ints(...ends), ...(axes ? [ints(...axes)] : []), ...(steps ? [ints(...steps)] : [])],
  ...(tfjs ? { tfjs: ([t]: tf.Tensor[]) => tfjs(t!) } : {}),
});

const pad = (note: string, x: number[], pads: number[], more: Partial<GradientCase> = {}): GradientCase => ({
  op: 'Pad',
  note,
  inputs: [v(x), ints(...pads)],
  ...more,
});

const empty = null;
const resize = (
  note: string,
  x: number[],
  target: { scales?: number[]; sizes?: number[] },
  attributes: Record<string, AttributeInput>,
  tfjs?: (x: tf.Tensor4D) => tf.Tensor,
): GradientCase => ({
  op: 'Resize',
  note,
  inputs: [
    v(x),
    empty,
    target.scales ? float32Tensor([target.scales.length], target.scales) : empty,
    ...(target.sizes ? [ints(...target.sizes)] : []),
  ],
  attributes,
  ...(tfjs
    ? {
        tfjs: ([t]: tf.Tensor[]) => {
          const last = tf.transpose(t as tf.Tensor4D, [0, 2, 3, 1]);
          return tf.transpose(tfjs(last), [0, 3, 1, 2]);
        },
      }
    : {}),
});

/** Rows and columns by index: TensorFlow.js has no gradient of a strided slice. */
const pick = (x: tf.Tensor, rows: number[], columns: number[]): tf.Tensor =>
  tf.gather(tf.gather(x, rows, 0), columns, 1);

const image = [2, 3, 4, 6];
/** The gradients of resizing on TensorFlow.js' CPU backend are right for one image (nearest) and for square ones (linear) only. */
const one = [1, 3, 4, 6];
const square = [2, 3, 4, 4];

export const layoutCases: readonly GradientCase[] = [
  { op: 'Concat', inputs: [v([2, 3]), v([2, 2]), v([2, 1])], attributes: { axis: 1 }, tfjs: (x) => tf.concat(x, 1) },
  {
    op: 'Concat',
    note: 'from the end',
    inputs: [v([2, 3, 2]), v([1, 3, 2])],
    attributes: { axis: -3 },
    tfjs: (x) => tf.concat(x, 0),
  },
  {
    op: 'Concat',
    note: 'with a constant',
    inputs: [float32Tensor([2, 1], [3, 4]), v([2, 3])],
    attributes: { axis: 1 },
  },
  { op: 'Concat', note: 'single', inputs: [v([2, 3])], attributes: { axis: 1 } },
  {
    op: 'Split',
    note: 'even',
    inputs: [v([2, 6])],
    attributes: { axis: 1 },
    outputs: 3,
    tfjs: ([x]) => tf.split(x!, 3, 1),
  },
  {
    op: 'Split',
    note: 'stated',
    inputs: [v([2, 6, 2]), ints(1, 3, 2)],
    attributes: { axis: -2 },
    outputs: 3,
    tfjs: ([x]) => tf.split(x!, [1, 3, 2], 1),
  },
  {
    op: 'Split',
    note: 'uneven, opset 18',
    inputs: [v([5, 2])],
    attributes: { axis: 0, num_outputs: 2 },
    outputs: 2,
    opset: 18,
  },
  { op: 'Split', note: 'one reached', inputs: [v([2, 6])], attributes: { axis: 1 }, outputs: 3, reached: [1] },
  { op: 'Split', note: 'two reached', inputs: [v([2, 6])], attributes: { axis: 1 }, outputs: 3, reached: [0, 2] },
  slice('inner', [4, 5], [1, 2], [3, 5], undefined, undefined, (x) => tf.slice(x, [1, 2], [2, 3])),
  slice('one axis', [2, 4, 3], [1], [FAR], [1], undefined, (x) => tf.slice(x, [0, 1, 0], [2, 3, 3])),
  slice('negative bounds', [4, 5], [-3], [-1], [-1], undefined, (x) => tf.slice(x, [0, 2], [4, 2])),
  slice('every second', [5, 6], [0, 1], [FAR, FAR], [0, 1], [2, 2], (x) => pick(x, [0, 2, 4], [1, 3, 5])),
  slice('every third, cut short', [2, 8], [1], [7], [1], [3], (x) => pick(x, [0, 1], [1, 4])),
  slice('backwards', [4, 3], [-1], [-FAR], [0], [-1], (x) => tf.reverse(x, 0)),
  slice('backwards by two', [3, 7], [5], [0], [1], [-2]),
  slice('backwards and forwards', [6, 7], [4, 0], [-FAR, 6], [0, 1], [-3, 2]),
  slice('everything', [2, 3], [0], [FAR], [1], [1]),
  slice('nothing', [2, 3], [2], [1], [1], [1]),
  pad('zeros', [2, 3], [1, 0, 2, 1], {
    tfjs: ([x]) =>
      tf.pad(x!, [
        [1, 2],
        [0, 1],
      ]),
  }),
  pad('with a value', [2, 3], [0, 1, 0, 1], {
    inputs: [v([2, 3]), ints(0, 1, 0, 1), scalar(3)],
    tfjs: ([x]) =>
      tf.pad(
        x!,
        [
          [0, 0],
          [1, 1],
        ],
        3,
      ),
  }),
  pad('with a trained value', [2, 3], [], { inputs: [v([2, 3]), ints(0, 1, 2, 1), v([])] }),
  pad('cut', [4, 5], [-1, 2, 0, -1]),
  pad('along chosen axes', [2, 3, 4], [], { inputs: [v([2, 3, 4]), ints(1, 2), null, ints(-1)], opset: 18 }),
  pad('reflect', [3, 4], [1, 2, 2, 3], {
    attributes: { mode: 'reflect' },
    // mirrorPad's gradient in TensorFlow.js drops what was mirrored.
    tfjs: ([x]) => pick(x!, [1, 0, 1, 2, 1, 0], [2, 1, 0, 1, 2, 3, 2, 1, 0]),
  }),
  pad('edge', [1, 2, 3, 2], [0, 0, 1, 2, 0, 0, 2, 1], { attributes: { mode: 'edge' } }),
  pad('wrap', [3, 4], [1, 2, 2, 3], { attributes: { mode: 'wrap' }, opset: 19 }),
  {
    op: 'Transpose',
    inputs: [v([2, 3, 4])],
    attributes: { perm: [2, 0, 1] },
    tfjs: ([x]) => tf.transpose(x!, [2, 0, 1]),
  },
  { op: 'Transpose', note: 'reversed', inputs: [v([2, 3, 4])], tfjs: ([x]) => tf.transpose(x!) },
  { op: 'Reshape', inputs: [v([2, 3, 4]), ints(0, -1)], tfjs: ([x]) => tf.reshape(x!, [2, 12]) },
  { op: 'Reshape', note: 'same', inputs: [v([2, 3]), ints(2, 3)], tfjs: ([x]) => tf.clone(x!) },
  { op: 'Flatten', inputs: [v([2, 3, 4])], tfjs: ([x]) => tf.reshape(x!, [2, 12]) },
  { op: 'Flatten', note: 'from the end', inputs: [v([2, 3, 4])], attributes: { axis: -1 } },
  { op: 'Squeeze', inputs: [v([2, 1, 3, 1]), ints(1, -1)], tfjs: ([x]) => tf.squeeze(x!, [1, 3]) },
  { op: 'Squeeze', note: 'all', inputs: [v([1, 2, 1])] },
  { op: 'Unsqueeze', inputs: [v([2, 3]), ints(0, -1)], tfjs: ([x]) => tf.reshape(x!, [1, 2, 3, 1]) },
  { op: 'Expand', inputs: [v([2, 1, 3]), ints(4, 1, 5, 1)], tfjs: ([x]) => tf.broadcastTo(x!, [4, 2, 5, 3]) },
  { op: 'Expand', note: 'a scalar', inputs: [v([]), ints(2, 3)] },
  { op: 'Tile', inputs: [v([2, 3]), ints(2, 3)], tfjs: ([x]) => tf.tile(x!, [2, 3]) },
  { op: 'Tile', note: 'one axis', inputs: [v([2, 1, 3]), ints(1, 4, 1)], tfjs: ([x]) => tf.tile(x!, [1, 4, 1]) },
  { op: 'Tile', note: 'once', inputs: [v([2, 3]), ints(1, 1)] },
  {
    op: 'Gather',
    note: 'one',
    inputs: [v([3, 4, 2]), scalar(1, 'int64')],
    attributes: { axis: 1 },
    tfjs: ([x]) => tf.gather(x!, tf.scalar(1, 'int32'), 1),
  },
  { op: 'Gather', note: 'last', inputs: [v([3, 4]), scalar(-1, 'int64')], attributes: { axis: -1 } },
  { op: 'Gather', note: 'a run', inputs: [v([5, 2]), ints(1, 2, 3)], tfjs: ([x]) => tf.gather(x!, [1, 2, 3]) },
  {
    op: 'Gather',
    note: 'repeats',
    inputs: [v([5, 2]), int64Tensor([2, 3], [4, 0, 4, -1, 2, 0])],
    tfjs: ([x]) => tf.gather(x!, tf.tensor2d([4, 0, 4, 4, 2, 0], [2, 3], 'int32')),
  },
  {
    op: 'Gather',
    note: 'repeats, middle axis',
    inputs: [v([2, 4, 3]), ints(3, 0, 3)],
    attributes: { axis: 1 },
    tfjs: ([x]) => tf.gather(x!, [3, 0, 3], 1),
  },
  {
    op: 'Gather',
    note: 'repeats, last axis',
    inputs: [v([2, 4]), ints(3, 0, 3, 1, 1)],
    attributes: { axis: 1 },
    tfjs: ([x]) => tf.gather(x!, [3, 0, 3, 1, 1], 1),
  },
  { op: 'Gather', note: 'indices fed', inputs: [v([5, 2, 2]), fed(int64Tensor([2, 2], [4, 0, -5, 4]))] },
  {
    op: 'Gather',
    note: 'int32 indices fed, last axis',
    inputs: [v([2, 4]), fed({ type: 'int32', dims: [3], bytes: new Uint8Array(Int32Array.of(3, 0, 3).buffer) })],
    attributes: { axis: -1 },
  },
  { op: 'GatherElements', inputs: [v([3, 4]), fed(int64Tensor([3, 1], [2, 0, -1]))], attributes: { axis: 1 } },
  {
    op: 'GatherElements',
    note: 'repeats',
    inputs: [v([3, 2, 2]), int64Tensor([4, 2, 2], [0, 1, 2, 0, 1, 1, 2, 0, 0, 0, 0, 0, 2, 2, 1, 1])],
  },
  {
    op: 'GatherElements',
    note: 'a part',
    inputs: [v([3, 4]), fed(int64Tensor([2, 3], [2, 0, 1, 1, 1, 2]))],
    attributes: { axis: 0 },
  },
  { op: 'DepthToSpace', inputs: [v([1, 8, 2, 3])], attributes: { blocksize: 2 } },
  { op: 'DepthToSpace', note: 'CRD', inputs: [v([2, 8, 2, 3])], attributes: { blocksize: 2, mode: 'CRD' } },
  { op: 'SpaceToDepth', inputs: [v([2, 3, 4, 6])], attributes: { blocksize: 2 } },
  resize(
    'nearest, twice',
    one,
    { scales: [1, 1, 2, 2] },
    { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
    (x) => tf.image.resizeNearestNeighbor(x, [8, 12]),
  ),
  resize('nearest, default', image, { scales: [1, 1, 2, 3] }, {}),
  resize('nearest, uneven', image, { sizes: [2, 3, 7, 9] }, { mode: 'nearest' }),
  resize(
    'nearest, down',
    one,
    { scales: [1, 1, 0.5, 0.5] },
    { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
    (x) => tf.image.resizeNearestNeighbor(x, [2, 3]),
  ),
  resize(
    'nearest, prefer ceil',
    image,
    { sizes: [2, 3, 6, 5] },
    { mode: 'nearest', nearest_mode: 'round_prefer_ceil' },
  ),
  resize(
    'nearest, ceil, corners',
    image,
    { sizes: [2, 3, 7, 5] },
    { mode: 'nearest', nearest_mode: 'ceil', coordinate_transformation_mode: 'align_corners' },
  ),
  resize('linear, twice', image, { scales: [1, 1, 2, 2] }, { mode: 'linear' }),
  resize(
    'linear, corners',
    square,
    { sizes: [2, 3, 7, 11] },
    { mode: 'linear', coordinate_transformation_mode: 'align_corners' },
    (x) => tf.image.resizeBilinear(x, [7, 11], true),
  ),
  resize(
    'linear, asymmetric',
    square,
    { sizes: [2, 3, 8, 12] },
    { mode: 'linear', coordinate_transformation_mode: 'asymmetric' },
    (x) => tf.image.resizeBilinear(x, [8, 12]),
  ),
  resize(
    'linear, down, pytorch',
    image,
    { sizes: [2, 3, 3, 1] },
    { mode: 'linear', coordinate_transformation_mode: 'pytorch_half_pixel' },
  ),
  resize('linear, fraction', image, { scales: [1, 1, 1.5, 0.7] }, { mode: 'linear' }),
  resize('same size', image, { sizes: image }, { mode: 'linear' }),
];
