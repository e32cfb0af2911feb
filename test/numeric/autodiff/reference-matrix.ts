import { floatValue, intAttribute, textAttribute } from '../../../main/onnx/index.ts';
import {
  broadcastDims,
  broadcastStrides,
  build,
  flatIndex,
  indicesOf,
  stridesOf,
  tensor,
  type RefOp,
  type RefRows,
} from './reference-tensor.ts';

const matmul: RefOp = ([left, right]) => {
  const a = left!.dims.length === 1 ? tensor([1, ...left!.dims], left!.data) : left!;
  const b = right!.dims.length === 1 ? tensor([...right!.dims, 1], right!.data) : right!;
  const [m, k] = a.dims.slice(-2) as [number, number];
  const n = b.dims.at(-1)!;
  const batch = broadcastDims([a.dims.slice(0, -2), b.dims.slice(0, -2)]);
  const aBatch = broadcastStrides(a.dims.slice(0, -2), batch).map((stride) => stride * m * k);
  const bBatch = broadcastStrides(b.dims.slice(0, -2), batch).map((stride) => stride * k * n);
  const data: number[] = [];
  for (const at of indicesOf(batch)) {
    const [aAt, bAt] = [flatIndex(at, aBatch), flatIndex(at, bBatch)];
    for (let i = 0; i < m; i += 1) {
      for (let j = 0; j < n; j += 1) {
        let sum = 0;
        for (let l = 0; l < k; l += 1) sum += a.data[aAt + i * k + l]! * b.data[bAt + l * n + j]!;
        data.push(sum);
      }
    }
  }
  const dims = [...batch, ...(left!.dims.length > 1 ? [m] : []), ...(right!.dims.length > 1 ? [n] : [])];
  return [tensor(dims, data)];
};

const gemm: RefOp = ([a, b, c], node) => {
  const [transA, transB] = [intAttribute(node, 'transA', 0), intAttribute(node, 'transB', 0)];
  const [alpha, beta] = [floatValue(node, 'alpha', 1), floatValue(node, 'beta', 1)];
  const [m, k] = transA ? [a!.dims[1]!, a!.dims[0]!] : [a!.dims[0]!, a!.dims[1]!];
  const n = transB ? b!.dims[0]! : b!.dims[1]!;
  const cStrides = c && broadcastStrides(c.dims, [m, n]);
  return [
    build([m, n], ([i, j]) => {
      let sum = 0;
      for (let l = 0; l < k; l += 1) {
        sum += a!.data[transA ? l * m + i! : i! * k + l]! * b!.data[transB ? j! * k + l : l * n + j!]!;
      }
      return alpha * sum + (c ? beta * c.data[flatIndex([i!, j!], cStrides!)]! : 0);
    }),
  ];
};

/** Sums the product of all operands over every assignment of the labels. */
const einsum: RefOp = (inputs, node) => {
  const equation = textAttribute(node, 'equation', '').replaceAll(' ', '');
  const left = equation.split('->')[0]!;
  const operands = left.split(',');
  const labels = [...new Set(left.replaceAll(',', ''))];
  const result =
    equation.split('->')[1] ??
    labels
      .filter((label) => left.split(label).length === 2)
      .toSorted()
      .join('');
  const sizes = labels.map((label) => {
    const owner = operands.findIndex((operand) => operand.includes(label));
    return inputs[owner]!.dims[operands[owner]!.indexOf(label)]!;
  });
  const dims = [...result].map((label) => sizes[labels.indexOf(label)]!);
  const data = new Float64Array(dims.reduce((x, y) => x * y, 1));
  const strides = inputs.map((input) => stridesOf(input!.dims));
  const outStrides = stridesOf(dims);
  const pick = (at: readonly number[], of: string) => [...of].map((label) => at[labels.indexOf(label)]!);
  for (const at of indicesOf(sizes)) {
    const product = operands.reduce((p, of, i) => p * inputs[i]!.data[flatIndex(pick(at, of), strides[i]!)]!, 1);
    data[flatIndex(pick(at, result), outStrides)]! += product;
  }
  return [tensor(dims, data)];
};

export const matrixReference: RefRows = [
  ['MatMul', matmul],
  ['Gemm', gemm],
  ['Einsum', einsum],
];
