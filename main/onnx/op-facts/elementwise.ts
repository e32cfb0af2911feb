import { intAttribute } from '../build.ts';
import type { Dim, ElementType } from '../model.ts';
import { elementTypeOf } from '../tensor.ts';
import {
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
  'Ceil',
  'Celu',
  'Clip',
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
  'LogSoftmax',
  'Mish',
  'Neg',
  'Not',
  'Reciprocal',
  'Relu',
  'Round',
  'Selu',
  'Sigmoid',
  'Sign',
  'Softmax',
  'Softplus',
  'Softsign',
  'Sqrt',
  'Tanh',
];

/** Whole-number arithmetic of shape computations. */
const arithmetic: Record<string, (a: number, b: number) => number> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Min: Math.min,
  Max: Math.max,
  Pow: (a, b) => a ** b,
};

const isInt = (type: ElementType | null): boolean => type !== null && /^u?int/.test(type);

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
    const exact = compute(x, y);
    return isInt(type) ? Math.trunc(exact) : exact;
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
  ['PRelu', { infer: (context) => sameAsFirst(context), params: [1] }],
  [
    'Where',
    {
      infer: (context) => [
        {
          type: typeOf(context, 1),
          shape: broadcast(
            context,
            [0, 1, 2].map((index) => shapeOf(context, index)),
          ),
        },
      ],
    },
  ],
  ...['IsNaN', 'IsInf'].map((op): [string, OpFacts] => [
    op,
    { infer: (context) => [{ type: 'bool', shape: shapeOf(context, 0) }] },
  ]),
  ['Identity', { infer: (context) => [withValues(context, { type: typeOf(context, 0), shape: shapeOf(context, 0) })] }],
  [
    'Cast',
    {
      infer: (context) => {
        const type = elementTypeOf(intAttribute(context.node, 'to', 0));
        return [withValues(context, { type, shape: shapeOf(context, 0) }, isInt(type) ? Math.trunc : undefined)];
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
        const each: TensorInfo = { type: typeOf(context, 0), shape: channels === undefined ? null : [channels] };
        return [{ type: typeOf(context, 0), shape }, each, each, each, each];
      },
      // Scale and bias; running mean and variance are statistics, which no one counts as parameters.
      params: [1, 2],
    },
  ],
  ['LayerNormalization', { infer: sameAsFirst, params: [1, 2] }],
  ['QuantizeLinear', { infer: (context) => [{ type: typeOf(context, 2) ?? 'uint8', shape: shapeOf(context, 0) }] }],
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
