import { describe, expect, it } from 'vitest';
import {
  encodeModel,
  float32Tensor,
  graph,
  inferShapes,
  int64Tensor,
  int8Tensor,
  uint8Tensor,
  model,
  node,
  scalar,
  value,
  type AttributeInput,
  type ConstTensor,
  type Dim,
} from '../../../main/onnx/index.ts';
import { opFacts } from '../../../main/onnx/op-facts/table.ts';
import { openSession, type Tensor } from '../../../main/runtime/session.ts';
import { noise } from '../../unit/onnx/example-models.ts';

/** One operator on x [..shape], with constants; `symbolic` states x's first size as "N". */
interface Case {
  op: string;
  /** Empty: the operator reads constants only. */
  x: number[];
  type?: 'uint8' | 'bool';
  constants?: ConstTensor[];
  attributes?: Record<string, AttributeInput>;
  outputs?: number;
  opset?: number;
  note?: string;
}

const ints = (...values: number[]) => int64Tensor([values.length], values);
const ones = (...dims: number[]) => float32Tensor(dims, new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(0.5));
const image = [2, 4, 9, 11];

const cases: Case[] = [
  ...[
    'Abs',
    'Ceil',
    'Elu',
    'Erf',
    'Exp',
    'Floor',
    'HardSigmoid',
    'HardSwish',
    'LeakyRelu',
    'LogSoftmax',
    'Neg',
    'Reciprocal',
  ].map((op) => ({ op, x: image })),
  ...['Relu', 'Round', 'Selu', 'Sigmoid', 'Sign', 'Softmax', 'Softplus', 'Softsign', 'Sqrt', 'Tanh', 'Identity'].map(
    (op) => ({ op, x: image }),
  ),
  { op: 'Clip', x: image, constants: [scalar(0), scalar(6)] },
  { op: 'PRelu', x: image, constants: [ones(4, 1, 1)] },
  ...['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Min', 'Max'].map((op) => ({
    op,
    x: image,
    constants: [ones(3, 1, 4, 1, 1)],
    note: 'ranks differ',
  })),
  { op: 'Greater', x: image, constants: [ones(1)] },
  { op: 'BatchNormalization', x: image, constants: [ones(4), ones(4), ones(4), ones(4)] },
  { op: 'InstanceNormalization', x: image, constants: [ones(4), ones(4)] },
  { op: 'LayerNormalization', x: image, constants: [ones(11)] },
  { op: 'Cast', x: image, attributes: { to: 7 } },
  { op: 'Conv', x: image, constants: [ones(6, 4, 3, 3)], attributes: { kernel_shape: [3, 3] }, note: 'valid' },
  {
    op: 'Conv',
    x: image,
    constants: [ones(6, 4, 3, 3), ones(6)],
    attributes: { pads: [1, 0, 2, 1], strides: [2, 3] },
    note: 'padded, strided',
  },
  {
    op: 'Conv',
    x: image,
    constants: [ones(8, 1, 3, 2)],
    attributes: { group: 4, auto_pad: 'SAME_UPPER', strides: [2, 2] },
    note: 'same upper, groups',
  },
  {
    op: 'Conv',
    x: image,
    constants: [ones(4, 4, 3, 3)],
    attributes: { auto_pad: 'VALID', dilations: [2, 3] },
    note: 'dilated',
  },
  { op: 'Conv', x: [2, 4, 9], constants: [ones(6, 4, 3)], note: 'one dimension' },
  {
    op: 'ConvTranspose',
    x: image,
    constants: [ones(4, 3, 3, 3)],
    attributes: { strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [1, 1] },
  },
  {
    op: 'ConvTranspose',
    x: image,
    constants: [ones(4, 3, 2, 2)],
    attributes: { strides: [2, 2], group: 2 },
    note: 'groups',
  },
  { op: 'MaxPool', x: image, attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] } },
  { op: 'MaxPool', x: image, attributes: { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }, note: 'ceil' },
  {
    op: 'MaxPool',
    x: [1, 1, 6, 6],
    attributes: { kernel_shape: [1, 1], strides: [4, 4], ceil_mode: 1 },
    note: 'ceil, last window outside',
  },
  { op: 'AveragePool', x: image, attributes: { kernel_shape: [3, 2], auto_pad: 'SAME_UPPER', strides: [2, 2] } },
  { op: 'GlobalAveragePool', x: image },
  { op: 'GlobalMaxPool', x: image },
  { op: 'Gemm', x: [3, 5], constants: [ones(7, 5), ones(7)], attributes: { transB: 1 } },
  { op: 'Gemm', x: [5, 3], constants: [ones(5, 7)], attributes: { transA: 1 }, note: 'first transposed' },
  { op: 'MatMul', x: [2, 1, 3, 5], constants: [ones(4, 5, 7)], note: 'batches' },
  { op: 'MatMul', x: [2, 3, 5], constants: [ones(5)], note: 'vector' },
  { op: 'Reshape', x: image, constants: [ints(0, -1)] },
  { op: 'Reshape', x: image, constants: [ints(2, 2, 2, 99)], note: 'whole' },
  { op: 'Flatten', x: image, attributes: { axis: 2 } },
  { op: 'Flatten', x: image, attributes: { axis: -1 }, note: 'from the end' },
  { op: 'Squeeze', x: [2, 1, 4, 1], constants: [ints(1, -1)] },
  { op: 'Squeeze', x: [2, 1, 4, 1], note: 'all' },
  { op: 'Squeeze', x: [2, 1, 4], attributes: { axes: [1] }, opset: 11, note: 'opset 11' },
  { op: 'Unsqueeze', x: [2, 4], constants: [ints(0, -1)] },
  { op: 'Transpose', x: image, attributes: { perm: [0, 2, 3, 1] } },
  { op: 'Transpose', x: image, note: 'default' },
  { op: 'Concat', x: image, constants: [ones(2, 3, 9, 11)], attributes: { axis: 1 } },
  { op: 'Split', x: image, attributes: { axis: 1 }, outputs: 2 },
  { op: 'Split', x: image, constants: [ints(2, 3, 6)], attributes: { axis: -1 }, outputs: 3, note: 'stated' },
  { op: 'Slice', x: image, constants: [ints(1, -1), ints(2 ** 40, -20), ints(2, 3), ints(2, -3)], note: 'backwards' },
  { op: 'Slice', x: image, constants: [ints(-3), ints(-1), ints(1)] },
  { op: 'Gather', x: image, constants: [int64Tensor([2, 2], [0, 1, 2, 3])], attributes: { axis: 1 } },
  { op: 'Gather', x: image, constants: [int64Tensor([], [1])], attributes: { axis: 2 }, note: 'scalar index' },
  { op: 'Expand', x: [2, 1, 3], constants: [ints(4, 1, 5, 1)] },
  { op: 'Tile', x: [2, 3], constants: [ints(2, 3)] },
  { op: 'Pad', x: image, constants: [ints(0, 0, 1, 2, 0, 0, 3, 4)] },
  { op: 'Pad', x: image, attributes: { pads: [0, 0, 1, 2, 0, 0, 3, -4] }, opset: 10, note: 'opset 10, negative' },
  {
    op: 'Resize',
    x: image,
    constants: [float32Tensor([0], []), float32Tensor([4], [1, 1, 2, 1.5])],
    attributes: { mode: 'linear' },
  },
  {
    op: 'Resize',
    x: image,
    constants: [float32Tensor([0], []), float32Tensor([0], []), ints(2, 4, 5, 7)],
    note: 'sizes',
  },
  { op: 'Upsample', x: image, constants: [float32Tensor([4], [1, 1, 2, 3])], opset: 9 },
  ...['ReduceMean', 'ReduceMax', 'ReduceL2'].map((op) => ({
    op,
    x: image,
    attributes: { axes: [2, -1], keepdims: 0 },
  })),
  { op: 'ReduceSum', x: image, constants: [ints(1)] },
  { op: 'ReduceSum', x: image, constants: [ints()], attributes: { noop_with_empty_axes: 1 }, note: 'no axes' },
  { op: 'ArgMax', x: image, attributes: { axis: 1, keepdims: 0 } },
  { op: 'TopK', x: image, constants: [ints(3)], attributes: { axis: 2 }, outputs: 2 },
  { op: 'DepthToSpace', x: image, attributes: { blocksize: 2 } },
  { op: 'SpaceToDepth', x: [1, 3, 4, 6], attributes: { blocksize: 2 } },
  { op: 'Shape', x: image },
  { op: 'Size', x: image },
  { op: 'Dropout', x: image, outputs: 2 },
  { op: 'DynamicQuantizeLinear', x: image, outputs: 3 },
  ...['Log', 'IsNaN', 'IsInf', 'Celu'].map((op) => ({ op, x: image })),
  ...['Gelu', 'Mish'].map((op) => ({ op, x: image, opset: 20 })),
  { op: 'LRN', x: image, attributes: { size: 3 } },
  { op: 'GroupNormalization', x: image, constants: [ones(4), ones(4)], attributes: { num_groups: 2 }, opset: 21 },
  { op: 'CumSum', x: image, constants: [scalar(2, 'int64')] },
  ...['Equal', 'Less', 'LessOrEqual', 'GreaterOrEqual'].map((op) => ({ op, x: image, constants: [ones(4, 1, 1)] })),
  ...['Sum', 'Mean'].map((op) => ({ op, x: image, constants: [ones(4, 1, 1), ones(7, 1, 1, 1, 1)] })),
  ...['And', 'Or'].map((op) => ({
    op,
    x: [3, 1],
    type: 'bool' as const,
    constants: [{ type: 'bool' as const, dims: [2], bytes: new Uint8Array(2) }],
  })),
  { op: 'Not', x: [3, 2], type: 'bool' },
  { op: 'Where', x: [3, 1], type: 'bool', constants: [ones(2), ones(1)] },
  { op: 'QuantizeLinear', x: image, constants: [scalar(0.1), int8Tensor([], [3])] },
  { op: 'DequantizeLinear', x: image, type: 'uint8', constants: [scalar(0.1), uint8Tensor([], [3])] },
  { op: 'ConvInteger', x: image, type: 'uint8', constants: [uint8Tensor([2, 4, 3, 3], new Uint8Array(72))] },
  {
    op: 'QLinearConv',
    x: image,
    type: 'uint8',
    constants: [
      scalar(0.1),
      uint8Tensor([], [3]),
      int8Tensor([2, 4, 3, 3], new Int8Array(72)),
      scalar(0.1),
      int8Tensor([], [0]),
      scalar(0.1),
      uint8Tensor([], [3]),
    ],
    attributes: { strides: [2, 2] },
  },
  { op: 'MatMulInteger', x: [3, 5], type: 'uint8', constants: [uint8Tensor([5, 7], new Uint8Array(35))] },
  {
    op: 'QLinearMatMul',
    x: [3, 5],
    type: 'uint8',
    constants: [
      scalar(0.1),
      uint8Tensor([], [3]),
      uint8Tensor([5, 7], new Uint8Array(35)),
      scalar(0.1),
      uint8Tensor([], [3]),
      scalar(0.1),
      uint8Tensor([], [3]),
    ],
  },
  ...['ReduceL1', 'ReduceMin', 'ReduceSumSquare', 'ReduceProd'].map((op) => ({
    op,
    x: image,
    attributes: { axes: [1] },
  })),
  { op: 'ArgMin', x: image, attributes: { axis: -1 } },
  { op: 'Constant', x: [], attributes: { value: ones(2, 3) } },
  { op: 'ConstantOfShape', x: [], constants: [ints(2, 3)], attributes: { value: int64Tensor([1], [7]) } },
  { op: 'Range', x: [], constants: [scalar(2, 'int64'), scalar(12, 'int64'), scalar(3, 'int64')] },
];

const build = (entry: Case, shape: readonly Dim[]) => {
  const { op, x, type = 'float32', constants = [], attributes = {}, outputs = 1, opset = 17 } = entry;
  // An empty constant stands for an optional input left out (Resize).
  const names = constants.map((tensor, i) => (tensor.dims[0] === 0 && op === 'Resize' ? '' : `k${i}`));
  const results = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const made = graph({
    nodes: [node(op, x.length > 0 ? ['x', ...names] : names, results, attributes)],
    inputs: x.length > 0 ? [value('x', type, shape)] : [],
    outputs: results.map((name) => value(name, 'float32')),
    initializers: Object.fromEntries(constants.flatMap((tensor, i) => (names[i] ? [[names[i], tensor]] : []))),
  });
  const bare = model(made, { opset });
  // The type of an output must be stated; it follows from inference.
  const infos = inferShapes(bare);
  const typed = results.map((name) => value(name, infos.get(name)!.type ?? 'float32'));
  return { infos, results, bytes: encodeModel({ ...bare, graph: { ...made, outputs: typed } }), x };
};

describe('inferred shapes and types are those that ONNX Runtime gives', () => {
  it.each(cases.map((entry): [string, Case] => [`${entry.op}${entry.note ? `: ${entry.note}` : ''}`, entry]))(
    '%s',
    async (_name, entry) => {
      const { infos, results, bytes, x } = build(entry, entry.x);
      await using session = await openSession(bytes, { threads: 1 });
      const count = x.reduce((a, b) => a * b, 1);
      const data = entry.type ? new Uint8Array(count) : noise(count);
      const feeds: Record<string, Tensor> = x.length > 0 ? { x: { type: entry.type ?? 'float32', dims: x, data } } : {};
      const found = await session.run(feeds);
      for (const name of results) {
        expect(infos.get(name)!.shape, name).toEqual([...found[name]!.dims]);
        expect(infos.get(name)!.type, name).toBe(found[name]!.type);
        const { values } = infos.get(name)!;
        if (values) expect(values).toEqual([...found[name]!.data].map(Number));
      }
      if (x.length === 0) return;
      // With an open first size nothing that is told may be wrong.
      const open = build(entry, ['N', ...entry.x.slice(1)]).infos;
      for (const name of results) {
        open.get(name)!.shape?.forEach((dim, axis) => {
          if (typeof dim === 'number') expect(dim).toBe(found[name]!.dims[axis]);
          if (dim === 'N') expect(found[name]!.dims[axis]).toBe(x[0]);
        });
      }
    },
  );

  it('every row of the table is tried', () => {
    const tried = new Set(cases.map((entry) => entry.op));
    expect([...opFacts.keys()].filter((op) => !tried.has(op))).toEqual([]);
  });
});
