import {
  elementTypeOf,
  elementTypes,
  floatValue,
  intAttribute,
  textAttribute,
  type Node,
} from '../../../main/onnx/index.ts';
import {
  broadcastDims,
  broadcastStrides,
  build,
  flatIndex,
  kindOf,
  tensor,
  type RefOp,
  type RefRows,
  type RefTensor,
} from './reference-tensor.ts';

/** Sum of positive terms: erf x = 2/sqrt(pi) e^(-x²) sum 2^n x^(2n+1) / (2n+1)!! (DLMF 7.6.2). */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n += 1) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** Round half to even. */
const round = (x: number): number => {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
};

const softplus = (x: number) => Math.log1p(Math.exp(-Math.abs(x))) + Math.max(x, 0);
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const clamp01 = (x: number) => Math.max(0, Math.min(1, x));
const normalCdf = (x: number) => 0.5 * (1 + erf(x / Math.SQRT2));

/** Attribute as written in the file (float32), or the default of the specification. */
type Unary = (x: number, node: Node) => number;
const at = (node: Node, name: string, fallback: number) => floatValue(node, name, fallback);

const unary: Record<string, Unary> = {
  Abs: Math.abs,
  Ceil: Math.ceil,
  Cos: Math.cos,
  Erf: erf,
  Exp: Math.exp,
  Floor: Math.floor,
  Identity: (x) => x,
  Log: Math.log,
  Neg: (x) => -x,
  Not: (x) => (x === 0 ? 1 : 0),
  Reciprocal: (x) => 1 / x,
  Relu: (x) => Math.max(0, x),
  Round: round,
  Sigmoid: sigmoid,
  Sign: Math.sign,
  Sin: Math.sin,
  Softplus: softplus,
  Softsign: (x) => x / (1 + Math.abs(x)),
  Sqrt: Math.sqrt,
  Tanh: Math.tanh,
  Mish: (x) => x * Math.tanh(softplus(x)),
  HardSwish: (x) => x * clamp01(x / 6 + 0.5),
  HardSigmoid: (x, node) => clamp01(at(node, 'alpha', 0.2) * x + at(node, 'beta', 0.5)),
  LeakyRelu: (x, node) => (x < 0 ? at(node, 'alpha', 0.01) * x : x),
  Elu: (x, node) => (x < 0 ? at(node, 'alpha', 1) * Math.expm1(x) : x),
  Celu: (x, node) => Math.max(0, x) + Math.min(0, at(node, 'alpha', 1) * Math.expm1(x / at(node, 'alpha', 1))),
  Selu: (x, node) =>
    at(node, 'gamma', 1.0507009873554805) * (x > 0 ? x : at(node, 'alpha', 1.6732632423543772) * Math.expm1(x)),
  ThresholdedRelu: (x, node) => (x > at(node, 'alpha', 1) ? x : 0),
  Swish: (x, node) => x * sigmoid(at(node, 'alpha', 1) * x),
  Gelu: (x, node) =>
    textAttribute(node, 'approximate', 'none') === 'tanh'
      ? 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
      : x * normalCdf(x),
};

/** Applies a function of one number per operand, with numpy broadcasting. */
function broadcastMap(
  operands: readonly RefTensor[],
  of: (...values: number[]) => number,
  kind: RefTensor['kind'] = operands[0]!.kind,
): RefTensor {
  const dims = broadcastDims(operands.map((operand) => operand.dims));
  const strides = operands.map((operand) => broadcastStrides(operand.dims, dims));
  return build(
    dims,
    (index) => of(...operands.map((operand, i) => operand.data[flatIndex(index, strides[i]!)]!)),
    kind,
  );
}

const binary =
  (of: (a: number, b: number) => number, kind?: RefTensor['kind']): RefOp =>
  ([a, b]) => [broadcastMap([a!, b!], of, kind ?? a!.kind)];

/** Folds any number of operands. */
const variadic =
  (of: (values: number[]) => number): RefOp =>
  (inputs) => [broadcastMap(inputs as RefTensor[], (...values) => of(values))];

const cast: RefOp = ([x], node) => {
  const type = elementTypeOf(intAttribute(node, 'to', elementTypes.float32.code));
  const kind = kindOf(type);
  const convert = kind === 'bool' ? (v: number) => (v === 0 ? 0 : 1) : kind === 'int' ? Math.trunc : (v: number) => v;
  return [tensor(x!.dims, x!.data.map(convert), kind)];
};

const clip: RefOp = ([x, low, high], node) => {
  const min = low?.data[0] ?? floatValue(node, 'min', -Infinity);
  const max = high?.data[0] ?? floatValue(node, 'max', Infinity);
  return [
    tensor(
      x!.dims,
      x!.data.map((value) => Math.min(max, Math.max(min, value))),
      x!.kind,
    ),
  ];
};

export const elementwiseReference: RefRows = [
  ...Object.entries(unary).map(([op, of]): [string, RefOp] => [
    op,
    ([x], node) => [
      tensor(
        x!.dims,
        x!.data.map((value) => of(value, node)),
        x!.kind,
      ),
    ],
  ]),
  ['Add', binary((a, b) => a + b)],
  ['Sub', binary((a, b) => a - b)],
  ['Mul', binary((a, b) => a * b)],
  ['Div', ([a, b]) => [broadcastMap([a!, b!], (x, y) => (a!.kind === 'int' ? Math.trunc(x / y) : x / y))]],
  ['Pow', binary((a, b) => a ** b)],
  ['Equal', binary((a, b) => (a === b ? 1 : 0), 'bool')],
  ['Greater', binary((a, b) => (a > b ? 1 : 0), 'bool')],
  ['GreaterOrEqual', binary((a, b) => (a >= b ? 1 : 0), 'bool')],
  ['Less', binary((a, b) => (a < b ? 1 : 0), 'bool')],
  ['LessOrEqual', binary((a, b) => (a <= b ? 1 : 0), 'bool')],
  ['And', binary((a, b) => (a && b ? 1 : 0), 'bool')],
  ['Or', binary((a, b) => (a || b ? 1 : 0), 'bool')],
  ['PRelu', binary((x, slope) => (x < 0 ? slope * x : x))],
  ['Min', variadic((values) => Math.min(...values))],
  ['Max', variadic((values) => Math.max(...values))],
  ['Sum', variadic((values) => values.reduce((a, b) => a + b, 0))],
  ['Mean', variadic((values) => values.reduce((a, b) => a + b, 0) / values.length)],
  ['Where', ([condition, a, b]) => [broadcastMap([condition!, a!, b!], (c, x, y) => (c ? x : y), a!.kind)]],
  ['Cast', cast],
  ['Clip', clip],
  ['Dropout', ([x]) => [x!]],
];
