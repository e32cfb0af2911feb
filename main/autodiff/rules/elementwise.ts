import { elementCount, elementTypes, numbersOf, type ElementType } from '../../onnx/index.ts';
import type { GradientRule, RuleContext, RuleRows } from '../rule.ts';
import { constant, reduceTo, sameShape } from './emit.ts';

/* Element-wise operators with numpy broadcasting: a gradient is computed at the output's shape and summed back. */

const FLOATING: ReadonlySet<ElementType | null> = new Set(['float16', 'bfloat16', 'float32', 'float64']);

const outputOf = (context: RuleContext): string => context.node.outputs[0]!;

/** Sums a gradient at the output's shape back to the shape of an input. */
const backTo = (context: RuleContext, gradient: string, index: number): string =>
  reduceTo(context, gradient, context.shape(outputOf(context)), context.shape(context.node.inputs[index]!));

const isBroadcast = (context: RuleContext, index: number): boolean =>
  !sameShape(context.shape(outputOf(context)), context.shape(context.node.inputs[index]!));

type Emit = (context: RuleContext, gradient: string, x: string, y: string) => string;

/** One input, one output. */
const unary =
  (emit: Emit): GradientRule =>
  (context, [gradient]) =>
    gradient === undefined || !context.wants(0)
      ? [undefined]
      : [emit(context, gradient, context.node.inputs[0]!, outputOf(context))];

/** One function per input; each is asked only for inputs that want a gradient. */
const perInput =
  (emit: (context: RuleContext, gradient: string, index: number) => string | undefined): GradientRule =>
  (context, [gradient]) =>
    context.node.inputs.map((_, index) =>
      gradient === undefined || !context.wants(index) ? undefined : emit(context, gradient, index),
    );

const mul: GradientRule = perInput((context, gradient, index) =>
  backTo(context, context.emit1('Mul', [gradient, context.node.inputs[1 - index]!]), index),
);

const div: GradientRule = (context, [gradient]) => {
  if (gradient === undefined) return [undefined, undefined];
  const divisor = context.node.inputs[1]!;
  const y = outputOf(context);
  // dY / b, which both gradients need where b has the full shape.
  let quotient: string | undefined;
  const share = () => (quotient ??= context.emit1('Div', [gradient, divisor]));
  const first = context.wants(0) ? backTo(context, share(), 0) : undefined;
  if (!context.wants(1)) return [first, undefined];
  if (!isBroadcast(context, 1)) return [first, context.emit1('Neg', [context.emit1('Mul', [share(), y])])];
  // Divides after the sum, where it is small.
  const sum = backTo(context, context.emit1('Mul', [gradient, y]), 1);
  return [first, context.emit1('Neg', [context.emit1('Div', [sum, divisor])])];
};

/** The one number a constant exponent repeats, if it does. */
function uniformExponent(context: RuleContext): number | undefined {
  const tensor = context.constant(context.node.inputs[1]!);
  if (!tensor || elementCount(tensor.dims) === 0) return undefined;
  const values = numbersOf(tensor);
  return values.every((item) => item === values[0]) ? values[0] : undefined;
}

/** d(x^p)/dx at the output's shape. */
function powerSlope(context: RuleContext, gradient: string, exponentName: () => string): string | undefined {
  const x = context.node.inputs[0]!;
  const exponent = uniformExponent(context);
  if (exponent === 0) return undefined;
  if (exponent === 1) return gradient;
  if (exponent === 2) return context.emit1('Mul', [gradient, context.emit1('Add', [x, x])]);
  const one = constant(context, 1);
  if (exponent !== undefined) {
    const power = context.emit1('Pow', [x, constant(context, exponent - 1)]);
    return context.emit1('Mul', [gradient, context.emit1('Mul', [power, constant(context, exponent)])]);
  }
  const p = exponentName();
  const power = context.emit1('Pow', [x, context.emit1('Sub', [p, one])]);
  const slope = context.emit1('Mul', [p, power]);
  // 0 * 0^-1 would be NaN; x^0 does not depend on x.
  const flat = context.emit1('Equal', [p, constant(context, 0)]);
  return context.emit1('Mul', [gradient, context.emit1('Where', [flat, constant(context, 0), slope])]);
}

const pow: GradientRule = (context, [gradient]) => {
  if (gradient === undefined) return [undefined, undefined];
  const [x, rawExponent] = context.node.inputs as [string, string];
  let cast: string | undefined;
  const exponentName = () =>
    FLOATING.has(context.type(rawExponent))
      ? rawExponent
      : (cast ??= context.emit1('Cast', [rawExponent], { to: elementTypes[context.type(x)].code }));
  const slope = context.wants(0) ? powerSlope(context, gradient, exponentName) : undefined;
  const base = slope === undefined ? undefined : backTo(context, slope, 0);
  if (!context.wants(1) || !FLOATING.has(context.type(rawExponent))) return [base, undefined];
  // d(x^p)/dp = y ln x, taken as 0 where x <= 0 (as PyTorch does at 0).
  const positive = context.emit1('Greater', [x, constant(context, 0)]);
  const log = context.emit1('Where', [positive, context.emit1('Log', [x]), constant(context, 0)]);
  const change = context.emit1('Mul', [context.emit1('Mul', [gradient, outputOf(context)]), log]);
  return [base, backTo(context, change, 1)];
};

/** Min and Max of any number of operands: the first that equals the output takes the gradient. */
const extremum: GradientRule = (context, [gradient]) => {
  const { inputs } = context.node;
  if (gradient === undefined) return inputs.map(() => undefined);
  const y = outputOf(context);
  const zero = constant(context, 0);
  const lastWanted = inputs.findLastIndex((_, index) => context.wants(index));
  let taken: string | undefined;
  return inputs.map((name, index) => {
    if (index > lastWanted) return undefined;
    const last = index === inputs.length - 1;
    let share: string;
    if (last && taken !== undefined) {
      // Whatever no earlier operand took.
      share = context.emit1('Where', [taken, zero, gradient]);
    } else {
      const equal = context.emit1('Equal', [name, y]);
      const mine = taken === undefined ? equal : context.emit1('And', [equal, context.emit1('Not', [taken])]);
      taken = taken === undefined ? equal : context.emit1('Or', [taken, equal]);
      if (!context.wants(index)) return undefined;
      share = context.emit1('Where', [mine, gradient, zero]);
    }
    return backTo(context, share, index);
  });
};

const where: GradientRule = perInput((context, gradient, index) => {
  if (index === 0) return undefined;
  const condition = context.node.inputs[0]!;
  const zero = constant(context, 0);
  const inputs = index === 1 ? [condition, gradient, zero] : [condition, zero, gradient];
  return backTo(context, context.emit1('Where', inputs), index);
});

const cast: GradientRule = (context, [gradient]) => {
  const from = context.type(context.node.inputs[0]!);
  if (gradient === undefined || !context.wants(0) || !FLOATING.has(from)) return [undefined];
  if (from === context.type(outputOf(context))) return [gradient];
  return [context.emit1('Cast', [gradient], { to: elementTypes[from].code })];
};

/** Steps: their slope is 0 wherever they have one. */
const flat: GradientRule = (context) => context.node.inputs.map(() => undefined);

export const elementwiseRules: RuleRows = [
  ['Identity', unary((_, gradient) => gradient)],
  ['Add', perInput((context, gradient, index) => backTo(context, gradient, index))],
  ['Sum', perInput((context, gradient, index) => backTo(context, gradient, index))],
  [
    'Sub',
    perInput((context, gradient, index) => {
      const back = backTo(context, gradient, index);
      return index === 0 ? back : context.emit1('Neg', [back]);
    }),
  ],
  [
    'Mean',
    perInput((context, gradient, index) =>
      context.emit1('Div', [backTo(context, gradient, index), constant(context, context.node.inputs.length)]),
    ),
  ],
  ['Mul', mul],
  ['Div', div],
  ['Pow', pow],
  ['Min', extremum],
  ['Max', extremum],
  ['Where', where],
  ['Cast', cast],
  ['Neg', unary((context, gradient) => context.emit1('Neg', [gradient]))],
  ['Exp', unary((context, gradient, _, y) => context.emit1('Mul', [gradient, y]))],
  ['Log', unary((context, gradient, x) => context.emit1('Div', [gradient, x]))],
  ['Abs', unary((context, gradient, x) => context.emit1('Mul', [gradient, context.emit1('Sign', [x])]))],
  ['Sqrt', unary((context, gradient, _, y) => context.emit1('Div', [gradient, context.emit1('Add', [y, y])]))],
  [
    'Reciprocal',
    unary((context, gradient, _, y) =>
      context.emit1('Neg', [context.emit1('Mul', [gradient, context.emit1('Mul', [y, y])])]),
    ),
  ],
  ...['Sign', 'Floor', 'Ceil', 'Round'].map((op) => [op, flat] as const),
];
