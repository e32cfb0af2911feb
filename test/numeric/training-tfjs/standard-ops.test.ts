import { describe, expect, test } from 'vitest';
import { floatAttribute } from '../../../main/onnx/index.ts';
import { liveTensors } from '../../../main/training/tfjs/run.ts';
import { tables } from '../../../main/training/tfjs/ops/index.ts';
import { bools, difference, floats, given, ints, positive, runOnOrt, runOnTfjs, type OneOp } from './run-both.ts';

type Case = Omit<OneOp, 'op'> & { types?: readonly string[]; backends?: readonly ('cpu' | 'wasm')[] };

const x4 = floats([2, 3, 5, 6]);
const unary: Case[] = [{ inputs: [x4] }, { inputs: [floats([7], 3, 4)] }];
const away: Case[] = [{ inputs: [positive([2, 3, 4, 5])] }];
const binary: Case[] = [
  { inputs: [floats([2, 3, 4, 5], 1), floats([2, 3, 4, 5], 2)] },
  { inputs: [floats([2, 3, 4, 5], 1), floats([3, 1, 1], 2)] },
  { inputs: [floats([4, 1], 1), floats([5], 2)] },
  { inputs: [floats([], 1), floats([2, 3], 2)] },
];
const ties = given([2, 3], [1, 2, 2, 3, 0, -1]);
const compare: Case[] = [{ inputs: [ties, given([3], [2, 2, -1])], types: ['bool'] }];
const logical: Case[] = [{ inputs: [bools([1, 1, 0, 0]), bools([1, 0, 1, 0])], types: ['bool'] }];
// Axes are an input from opset 18 on (ReduceSum from 13), an attribute before.
const reduce: Case[] = [
  { inputs: [x4, ints([1])], attributes: { keepdims: 0 } },
  { inputs: [x4, ints([0, 2, 3])], attributes: { keepdims: 0 } },
  { inputs: [x4, ints([-1, 1])], attributes: { keepdims: 1 } },
  { inputs: [x4] },
];
const weight = floats([4, 3, 3, 3], 5);
const image = floats([2, 4, 7, 8], 6);

const cases: Record<string, Case[]> = {
  ...Object.fromEntries(
    [
      'Abs',
      'Ceil',
      'Cos',
      'Erf',
      'Exp',
      'Floor',
      'HardSwish',
      'Identity',
      'Neg',
      'Relu',
      'Round',
      'Sigmoid',
      'Sign',
      'Sin',
      'Softplus',
      'Tanh',
      'Dropout',
    ].map((op) => [op, unary]),
  ),
  ...Object.fromEntries(['Log', 'Reciprocal', 'Sqrt'].map((op) => [op, away])),
  ...Object.fromEntries(['Add', 'Sub', 'Mul', 'Max', 'Min', 'Sum', 'Mean'].map((op) => [op, binary])),
  ...Object.fromEntries(['Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual'].map((op) => [op, compare])),
  ...Object.fromEntries(['And', 'Or', 'Xor'].map((op) => [op, logical])),
  ...Object.fromEntries(
    [
      'ReduceMax',
      'ReduceMean',
      'ReduceMin',
      'ReduceProd',
      'ReduceL1',
      'ReduceL2',
      'ReduceSum',
      'ReduceSumSquare',
      'ReduceLogSumExp',
    ].map((op) => [op, reduce]),
  ),
  ReduceLogSum: [{ inputs: [positive([2, 3, 4]), ints([1])] }],
  Div: [{ inputs: [floats([2, 3, 4]), positive([3, 4])] }],
  Not: [{ inputs: [bools([1, 0, 1])], types: ['bool'] }],
  IsNaN: [{ inputs: [given([3], [NaN, 1, Infinity])], types: ['bool'] }],
  IsInf: [{ inputs: [given([3], [NaN, 1, Infinity])], types: ['bool'] }],
  Elu: [{ inputs: [x4], attributes: { alpha: 0.7 } }],
  Gelu: [
    { inputs: [x4], opset: 20 },
    { inputs: [x4], opset: 20, attributes: { approximate: 'tanh' } },
  ],
  HardSigmoid: [{ inputs: [floats([3, 4], 2, 4)], attributes: { alpha: floatAttribute(1 / 6), beta: 0.5 } }],
  LeakyRelu: [{ inputs: [x4], attributes: { alpha: 0.2 } }],
  Selu: unary,
  PRelu: [{ inputs: [x4, floats([3, 1, 1], 9)] }],
  Clip: [
    { inputs: [floats([3, 4], 1, 8), given([], [0]), given([], [6])] },
    { inputs: [floats([3, 4], 1, 8), null, given([], [6])] },
    { inputs: [floats([3, 4], 1, 8)] },
  ],
  Pow: [{ inputs: [positive([3, 4]), floats([4], 2, 3)] }, { inputs: [positive([3, 4]), ints([2], [])] }],
  Mod: [{ inputs: [floats([3, 4], 1, 5), given([], [1.5])], attributes: { fmod: 1 } }],
  Where: [{ inputs: [bools([1, 0, 1]), floats([2, 3], 1), floats([1], 2)] }],
  Cast: [
    { inputs: [floats([6], 1, 5)], attributes: { to: 7 }, types: ['int64'] },
    { inputs: [given([3], [0, 2, -1])], attributes: { to: 9 }, types: ['bool'] },
    { inputs: [bools([1, 0])], attributes: { to: 1 } },
  ],
  ArgMax: [{ inputs: [x4], attributes: { axis: 1 }, types: ['int64'] }],
  ArgMin: [{ inputs: [x4], attributes: { axis: -1, keepdims: 0 }, types: ['int64'] }],
  CumSum: [{ inputs: [x4, ints([2], [])], attributes: { exclusive: 1, reverse: 1 } }],
  MatMul: [
    { inputs: [floats([3, 4], 1), floats([4, 5], 2)] },
    { inputs: [floats([2, 3, 4], 1), floats([4, 5], 2)] },
    { inputs: [floats([2, 2, 3, 4], 1), floats([2, 2, 4, 5], 2)] },
    { inputs: [floats([3, 4], 1), floats([2, 4, 5], 2)] },
    { inputs: [floats([2, 1, 3, 4], 1), floats([1, 2, 4, 5], 2)] },
    { inputs: [floats([4], 1), floats([4, 5], 2)] },
    { inputs: [floats([2, 3, 4], 1), floats([4], 2)] },
  ],
  Gemm: [
    { inputs: [floats([3, 4], 1), floats([5, 4], 2), floats([5], 3)], attributes: { transB: 1, alpha: 0.5, beta: 2 } },
    { inputs: [floats([4, 3], 1), floats([4, 5], 2)], attributes: { transA: 1 } },
  ],
  Einsum: [
    { inputs: [floats([2, 3, 4], 1), floats([2, 4, 5], 2)], attributes: { equation: 'bij,bjk->bik' } },
    { inputs: [floats([3, 4], 1), floats([5, 4], 2)], attributes: { equation: 'id,jd->ij' } },
    { inputs: [floats([3, 4], 1)], attributes: { equation: 'ij->j' } },
  ],
  Reshape: [{ inputs: [x4, ints([0, -1, 6])] }],
  Flatten: [{ inputs: [x4], attributes: { axis: 2 } }, { inputs: [x4] }],
  Squeeze: [{ inputs: [floats([2, 1, 3, 1]), ints([-1])] }, { inputs: [floats([2, 1, 3, 1])] }],
  Unsqueeze: [{ inputs: [floats([2, 3]), ints([0, -1])] }],
  Transpose: [{ inputs: [x4], attributes: { perm: [2, 0, 3, 1] } }, { inputs: [x4] }],
  Slice: [
    { inputs: [x4, ints([1, -3]), ints([2 ** 40, 5]), ints([2, 3])] },
    { inputs: [x4, ints([0]), ints([5]), ints([3]), ints([2])] },
    { inputs: [x4, ints([-1]), ints([-100]), ints([2]), ints([-2])] },
    // Backwards from before the first element: that one alone.
    { inputs: [x4, ints([-10, -10]), ints([-100, -100]), ints([2, 3]), ints([-1, -2])] },
  ],
  Split: [
    { inputs: [x4, ints([2, 1])], attributes: { axis: 1 }, outputs: 2 },
    { inputs: [x4], attributes: { axis: -1, num_outputs: 3 }, outputs: 3 },
  ],
  Concat: [
    { inputs: [x4, floats([2, 2, 5, 6], 4)], attributes: { axis: 1 } },
    { inputs: [floats([2, 3]), floats([2, 1], 4)], attributes: { axis: -1 } },
  ],
  Pad: [
    { inputs: [x4, ints([0, 1, 0, 2, 0, 0, 3, 0]), given([], [0.5])] },
    { inputs: [x4, ints([0, 0, -1, 1, 0, 0, -1, 0])] },
    { inputs: [x4, ints([1, 2, 0, 1]), null, ints([2, 3])] },
    { inputs: [x4, ints([0, 0, 1, 2, 0, 0, 1, 0])], attributes: { mode: 'reflect' } },
  ],
  Expand: [{ inputs: [floats([3, 1]), ints([2, 1, 4])] }],
  Tile: [{ inputs: [floats([2, 3]), ints([2, 1])] }],
  Gather: [
    { inputs: [x4, ints([2, -1, 0], [3, 1])], attributes: { axis: 2 } },
    { inputs: [floats([3, 4]), ints([1], [])] },
  ],
  GatherElements: [{ inputs: [floats([3, 4]), ints([0, 1, -1, 2], [2, 2])], attributes: { axis: 1 } }],
  ScatterElements: [
    { inputs: [floats([3, 4]), ints([0, 1, 3, 2], [2, 2]), floats([2, 2], 7)], attributes: { axis: 1 } },
    {
      inputs: [floats([3, 4]), ints([0, 0, 2, 2], [2, 2]), floats([2, 2], 7)],
      attributes: { axis: 0, reduction: 'add' },
    },
  ],
  GatherND: [{ inputs: [floats([2, 3, 4]), ints([0, 1, 1, 2], [2, 2])] }],
  ScatterND: [
    { inputs: [floats([3, 4]), ints([2, 0], [2, 1]), floats([2, 4], 7)] },
    { inputs: [floats([3, 4]), ints([2, 2], [2, 1]), floats([2, 4], 7)], attributes: { reduction: 'add' } },
  ],
  OneHot: [
    { inputs: [ints([0, 2, 1]), ints([3], [1]), given([2], [0, 1])] },
    { inputs: [ints([0, 2, 1]), ints([3], [1]), given([2], [-1, 4])], attributes: { axis: 0 } },
  ],
  Constant: [
    { inputs: [], attributes: { value_floats: [1, 2.5] } },
    { inputs: [], attributes: { value_ints: [1, -2] }, types: ['int64'] },
  ],
  ConstantOfShape: [{ inputs: [ints([2, 3])] }],
  Shape: [{ inputs: [x4], types: ['int64'], attributes: { start: 1 } }],
  Range: [{ inputs: [given([], [1]), given([], [4]), given([], [0.5])] }],
  DepthToSpace: [
    { inputs: [floats([1, 8, 2, 3])], attributes: { blocksize: 2 } },
    { inputs: [floats([1, 8, 2, 3])], attributes: { blocksize: 2, mode: 'CRD' } },
  ],
  SpaceToDepth: [{ inputs: [floats([1, 2, 4, 6])], attributes: { blocksize: 2 } }],
  Resize: [
    {
      inputs: [x4, null, given([4], [1, 1, 2, 2])],
      attributes: { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
    },
    { inputs: [x4, null, null, ints([2, 3, 9, 4])], attributes: { mode: 'linear' } },
    {
      inputs: [x4, null, null, ints([2, 3, 9, 4])],
      attributes: { mode: 'linear', coordinate_transformation_mode: 'align_corners' },
    },
  ],
  Conv: [
    { inputs: [floats([2, 3, 7, 8]), weight, floats([4], 8)], attributes: { pads: [1, 1, 1, 1] } },
    { inputs: [floats([2, 3, 7, 8]), weight], attributes: { strides: [2, 2], pads: [0, 1, 1, 0] } },
    { inputs: [floats([2, 3, 9, 8]), weight], attributes: { dilations: [2, 1], pads: [2, 1, 2, 1] } },
    { inputs: [image, floats([6, 2, 3, 3])], attributes: { group: 2, strides: [1, 2] } },
    { inputs: [image, floats([4, 1, 3, 3])], attributes: { group: 4, strides: [2, 2], pads: [1, 1, 1, 1] } },
    {
      inputs: [image, floats([8, 1, 3, 3]), floats([8])],
      attributes: { group: 4, dilations: [2, 2], pads: [2, 2, 2, 2] },
    },
    { inputs: [image, floats([4, 1, 3, 3])], attributes: { group: 4, strides: [2, 2], auto_pad: 'SAME_UPPER' } },
    { inputs: [image, floats([5, 4, 1, 1])] },
  ],
  ConvTranspose: [
    {
      inputs: [image, floats([4, 3, 3, 3]), floats([3])],
      attributes: { strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [1, 1] },
    },
    { inputs: [image, floats([4, 2, 3, 2])], attributes: { group: 2, strides: [1, 2], dilations: [2, 1] } },
    { inputs: [image, floats([4, 1, 3, 3])], attributes: { group: 4, strides: [2, 2], pads: [1, 0, 1, 0] } },
  ],
  MaxPool: [
    { inputs: [image], attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] } },
    { inputs: [image], attributes: { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 } },
  ],
  AveragePool: [
    { inputs: [image], attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] } },
    {
      inputs: [image],
      attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], count_include_pad: 1 },
    },
    { inputs: [image], attributes: { kernel_shape: [2, 3], strides: [1, 2] } },
  ],
  GlobalAveragePool: [{ inputs: [x4] }],
  GlobalMaxPool: [{ inputs: [x4] }],
  BatchNormalization: [
    { inputs: [x4, floats([3], 2), floats([3], 3), floats([3], 4), positive([3], 5)], attributes: { epsilon: 0.01 } },
    { inputs: [floats([4, 3]), floats([3], 2), floats([3], 3), floats([3], 4), positive([3], 5)] },
  ],
  LayerNormalization: [
    { inputs: [floats([2, 3, 8]), floats([8], 2), floats([8], 3)], attributes: { axis: -1 }, outputs: 3 },
  ],
  Softmax: [{ inputs: [x4], attributes: { axis: 1 } }, { inputs: [floats([3, 5], 1, 20)] }],
  LogSoftmax: [{ inputs: [x4], attributes: { axis: 1 } }, { inputs: [floats([3, 5], 1, 20)] }],
};

describe('every row of the standard table against onnxruntime', () => {
  for (const op of tables.get('')!.keys()) {
    test(op, async () => {
      const rows = cases[op];
      expect(rows, `a case for ${op}`).toBeDefined();
      for (const [i, { types = [], ...of }] of rows!.entries()) {
        const expected = await runOnOrt({ op, ...of }, types);
        for (const backend of ['cpu', 'wasm'] as const) {
          const before = liveTensors();
          const results = await runOnTfjs({ op, ...of }, backend, types);
          expect(liveTensors(), `${op} ${i} leaves no tensor behind`).toBe(before);
          results.forEach((result, at) => {
            expect(result.dims, `${op} ${i} output ${at} on ${backend}`).toEqual([...expected[at]!.dims]);
            expect(difference(result.data, expected[at]!.data), `${op} ${i} output ${at} on ${backend}`).toBeLessThan(
              2e-6 * 5,
            );
          });
        }
      }
    });
  }
});
