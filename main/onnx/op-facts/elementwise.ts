import { intAttribute } from '../build.ts';
import type { Dim, ElementType, Node } from '../model.ts';
import { elementTypeOf } from '../tensor.ts';
import {
  axisOf,
  broadcast,
  MAX_TRACKED_VALUES,
  shapeOf,
  typeOf,
  type OpContext,
  type OpFacts,
  type TensorInfo,
} from './facts.ts';

/** Output = shape and type of the first input. */
const sameAsFirst: OpFacts['infer'] = (context) => [{ type: typeOf(context, 0), shape: shapeOf(context, 0) }];

const SAME = [
  'Abs',
  'Acos',
  'Acosh',
  'Asin',
  'Asinh',
  'Atan',
  'Atanh',
  'Ceil',
  'Celu',
  'Clip',
  'Cos',
  'Cosh',
  'CumSum',
  'Elu',
  'Erf',
  'Exp',
  'Floor',
  'Gelu',
  'HardSigmoid',
  'HardSwish',
  'InstanceNormalization',
  'GroupNormalization',
  'LRN',
  'LeakyRelu',
  'Log',
  'LpNormalization',
  'MeanVarianceNormalization',
  'Mish',
  'Not',
  'Reciprocal',
  'Relu',
  'Round',
  'Selu',
  'Shrink',
  'Sigmoid',
  'Sign',
  'Sin',
  'Sinh',
  'Softplus',
  'Softsign',
  'Sqrt',
  'Tan',
  'Tanh',
  'ThresholdedRelu',
  'Trilu',
];

/** Arithmetic of shape computations; comparisons give 0 or 1. */
const arithmetic: Record<string, (a: number, b: number, node: Node) => number> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Min: (a, b) => Math.min(a, b),
  Max: (a, b) => Math.max(a, b),
  // The sign is the divisor's; with fmod = 1 the dividend's, as in JavaScript (Operators.md, Mod).
  Mod: (a, b, node) => (intAttribute(node, 'fmod', 0) === 1 ? a % b : ((a % b) + b) % b),
  Pow: (a, b) => a ** b,
  Equal: (a, b) => Number(a === b),
  Greater: (a, b) => Number(a > b),
  GreaterOrEqual: (a, b) => Number(a >= b),
  Less: (a, b) => Number(a < b),
  LessOrEqual: (a, b) => Number(a <= b),
  And: (a, b) => Number(a !== 0 && b !== 0),
  Or: (a, b) => Number(a !== 0 || b !== 0),
};

const isInt = (type: ElementType | null): boolean => type !== null && /^u?int/.test(type);

/** A number as its type holds it: 10 * 0.7 is 7 in float32, and a size of 7 is made of it, not of 6. */
const stored = (type: ElementType | null, exact: number): number =>
  isInt(type) ? Math.trunc(exact) : type === 'float32' ? Math.fround(exact) : exact;

function arithmeticValues(context: OpContext, type: ElementType | null): readonly Dim[] | undefined {
  const compute = arithmetic[context.node.op];
  const [a, b] = [context.inputs[0]?.values, context.inputs[1]?.values];
  if (!compute || !a || !b || context.inputs.length !== 2 || context.inputs.some((input) => !input?.shape))
    return undefined;
  if (context.inputs.some((input) => input!.shape!.length > 1)) return undefined;
  const length = Math.max(a.length, b.length);
  if ((a.length !== length && a.length !== 1) || (b.length !== length && b.length !== 1)) return undefined;
  return Array.from({ length }, (_, i) => {
    const [x, y] = [a[a.length === 1 ? 0 : i]!, b[b.length === 1 ? 0 : i]!];
    if (typeof x !== 'number' || typeof y !== 'number') return null;
    return stored(type, compute(x, y, context.node));
  });
}

const broadcasting =
  (result?: ElementType): OpFacts['infer'] =>
  (context) => {
    const type = result ?? typeOf(context, 0);
    const shape = broadcast(
      context,
      context.inputs.map((input) => input?.shape ?? null),
    );
    const values = arithmeticValues(context, type);
    return [values ? { type, shape, values } : { type, shape }];
  };

function where(context: OpContext): TensorInfo[] {
  const shape = broadcast(
    context,
    [0, 1, 2].map((index) => shapeOf(context, index)),
  );
  const type = typeOf(context, 1);
  const parts = [0, 1, 2].map((index) => context.inputs[index]?.values);
  if (!shape || shape.length > 1 || parts.some((part) => !part)) return [{ type, shape }];
  const at = (part: readonly Dim[] | undefined, i: number): Dim => part?.[part.length === 1 ? 0 : i] ?? null;
  const length = Math.max(...parts.map((part) => part!.length));
  // An open condition leaves the choice open.
  const values = Array.from({ length }, (_, i): Dim => {
    const condition = at(parts[0], i);
    return typeof condition === 'number' ? at(parts[condition !== 0 ? 1 : 2], i) : null;
  });
  return [{ type, shape, values }];
}

/** Y, then mean and 1 / deviation, whose normalised axes become 1. */
function layerNorm(context: OpContext): TensorInfo[] {
  const shape = shapeOf(context, 0);
  if (!shape) return [{ type: typeOf(context, 0), shape }];
  const axis = axisOf(context, intAttribute(context.node, 'axis', -1), shape.length);
  const scale = shapeOf(context, 1);
  if (scale && scale.length > shape.length - axis) {
    throw context.fail(`a scale of rank ${scale.length} over ${shape.length - axis} axes`);
  }
  const each: TensorInfo = { type: 'float32', shape: shape.map((dim, at) => (at < axis ? dim : 1)) };
  return [{ type: typeOf(context, 0), shape }, each, each];
}

/** Softmax and its like: the axis must be one of the tensor. */
function alongAxis(context: OpContext): TensorInfo[] {
  const shape = shapeOf(context, 0);
  if (shape) axisOf(context, intAttribute(context.node, 'axis', context.opset < 13 ? 1 : -1), shape.length);
  return [{ type: typeOf(context, 0), shape }];
}

const withValues = (context: OpContext, info: TensorInfo, change?: (item: number) => number): TensorInfo => {
  const values = context.inputs[0]?.values;
  if (!values || values.length > MAX_TRACKED_VALUES) return info;
  return { ...info, values: change ? values.map((item) => (typeof item === 'number' ? change(item) : item)) : values };
};

export const elementwiseFacts: [string, OpFacts][] = [
  ...SAME.map((op): [string, OpFacts] => [op, { infer: sameAsFirst }]),
  ...['Add', 'Sub', 'Mul', 'Div'].map((op): [string, OpFacts] => [op, { infer: broadcasting(), params: [0, 1] }]),
  ...['Pow', 'Min', 'Max', 'Sum', 'Mean'].map((op): [string, OpFacts] => [op, { infer: broadcasting() }]),
  ...['And', 'Or', 'Equal', 'Greater', 'Less', 'GreaterOrEqual', 'LessOrEqual'].map((op): [string, OpFacts] => [
    op,
    { infer: broadcasting('bool') },
  ]),
  ['Mod', { infer: broadcasting() }],
  ['Xor', { infer: broadcasting('bool') }],
  ['CastLike', { infer: (context) => [{ type: typeOf(context, 1), shape: shapeOf(context, 0) }] }],
  ['PRelu', { infer: (context) => sameAsFirst(context), params: [1] }],
  ['Where', { infer: where }],
  ...['IsNaN', 'IsInf'].map((op): [string, OpFacts] => [
    op,
    { infer: (context) => [{ type: 'bool', shape: shapeOf(context, 0) }] },
  ]),
  [
    'Neg',
    {
      infer: (context) => [
        // Not -0, which no integer is.
        withValues(context, { type: typeOf(context, 0), shape: shapeOf(context, 0) }, (x) => 0 - x),
      ],
    },
  ],
  ['Identity', { infer: (context) => [withValues(context, { type: typeOf(context, 0), shape: shapeOf(context, 0) })] }],
  [
    'Cast',
    {
      infer: (context) => {
        const type = elementTypeOf(intAttribute(context.node, 'to', 0));
        return [withValues(context, { type, shape: shapeOf(context, 0) }, (item) => stored(type, item))];
      },
    },
  ],
  [
    'Dropout',
    {
      infer: (context) => {
        const shape = shapeOf(context, 0);
        return [
          { type: typeOf(context, 0), shape },
          { type: 'bool', shape },
        ];
      },
    },
  ],
  [
    'BatchNormalization',
    {
      infer: (context) => {
        const shape = shapeOf(context, 0);
        const channels = shape?.[1] ?? shapeOf(context, 1)?.[0];
        const scale = shapeOf(context, 1)?.[0];
        if (typeof channels === 'number' && typeof scale === 'number' && channels !== scale) {
          throw context.fail(`${channels} channels, but ${scale} scales`);
        }
        // With training_mode: running mean and variance; before opset 14 also the batch's own.
        const each: TensorInfo = { type: typeOf(context, 3), shape: channels === undefined ? null : [channels] };
        return [{ type: typeOf(context, 0), shape }, each, each, each, each];
      },
      // Scale and bias; running mean and variance are statistics, which no one counts as parameters.
      params: [1, 2],
    },
  ],
  ['LayerNormalization', { infer: layerNorm, params: [1, 2] }],
  ...['Hardmax', 'LogSoftmax', 'Softmax'].map((op): [string, OpFacts] => [op, { infer: alongAxis }]),
  [
    'QuantizeLinear',
    {
      infer: (context) => {
        // From opset 21 on an attribute tells the type where no zero point does; 0: neither.
        const stated = intAttribute(context.node, 'output_dtype', 0);
        const type = context.inputs[2] ? typeOf(context, 2) : stated === 0 ? 'uint8' : elementTypeOf(stated);
        return [{ type, shape: shapeOf(context, 0) }];
      },
    },
  ],
  [
    'DequantizeLinear',
    { infer: (context) => [{ type: typeOf(context, 1) ?? 'float32', shape: shapeOf(context, 0) }], params: [0] },
  ],
  [
    'DynamicQuantizeLinear',
    {
      infer: (context) => [
        { type: 'uint8', shape: shapeOf(context, 0) },
        { type: 'float32', shape: [] },
        { type: 'uint8', shape: [] },
      ],
    },
  ],
];
