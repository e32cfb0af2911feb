import { float32Tensor, floatValue, numbersOf, textAttribute } from '../../onnx/index.ts';
import type { GradientRule, RuleContext, RuleRows } from '../rule.ts';
import { TRAINING_DOMAIN } from '../training-facts.ts';

const training = { domain: TRAINING_DOMAIN };
const LARGEST = 3.4028234663852886e38;

const number = (context: RuleContext, value: number): string => context.tensor(float32Tensor([], [value]), 'number');

/** A row for y = f(x): `slope` emits dX from dY, x and y. */
const unary =
  (dX: (context: RuleContext, dY: string, x: string, y: string) => string): GradientRule =>
  (context, [dY]) =>
    dY ? [dX(context, dY, context.node.inputs[0]!, context.node.outputs[0]!)] : [];

const mul = (context: RuleContext, a: string, b: string): string => context.emit1('Mul', [a, b]);
const where = (context: RuleContext, condition: string, a: string, b: string): string =>
  context.emit1('Where', [condition, a, b]);

/** dY where min < y < max, else 0: at a bound the slope is 0, as in PyTorch's hardtanh (relu6). */
const inside = (context: RuleContext, dY: string, y: string, min: number, max: number): string =>
  context.emit1('ClipGrad', [dY, y], { min, max }, training);

/** Bound of a Clip: attribute before opset 11, constant input since; left out: none. */
function bound(context: RuleContext, name: 'min' | 'max', index: number): number {
  const none = name === 'min' ? -LARGEST : LARGEST;
  const input = context.node.inputs[index];
  if (!input) return floatValue(context.node, name, none);
  const constant = context.constant(input);
  if (!constant || context.wants(index)) throw context.unsupported(`a ${name} that is not a constant`);
  // A file may well say Infinity.
  return Math.min(LARGEST, Math.max(-LARGEST, numbersOf(constant)[0]!));
}

const clip = unary((context, dY, _x, y) => inside(context, dY, y, bound(context, 'min', 1), bound(context, 'max', 2)));

/** y = x h(x), h = clip(x / 6 + 1/2, 0, 1): h + x / 6 between the bounds, h outside (Howard et al. 2019). */
const hardSwish = unary((context, dY, x) => {
  const h = context.emit1('HardSigmoid', [x], { alpha: 1 / 6, beta: 0.5 });
  const ramp = mul(context, inside(context, x, h, 0, 1), number(context, 1 / 6));
  return mul(context, dY, context.emit1('Add', [h, ramp]));
});

const hardSigmoid = unary((context, dY, _x, y) =>
  mul(context, inside(context, dY, y, 0, 1), number(context, floatValue(context.node, 'alpha', 0.2))),
);

/** y (1 - y) as y - y². */
const sigmoid = unary((context, dY, _x, y) => mul(context, dY, context.emit1('Sub', [y, mul(context, y, y)])));

const tanh = unary((context, dY, _x, y) =>
  mul(context, dY, context.emit1('Sub', [number(context, 1), mul(context, y, y)])),
);

/** 2 / sqrt(pi) exp(-x²) */
const erf = unary((context, dY, x) => {
  const bell = context.emit1('Exp', [context.emit1('Neg', [mul(context, x, x)])]);
  return mul(context, mul(context, dY, number(context, 2 / Math.sqrt(Math.PI))), bell);
});

/** Hendrycks and Gimpel 2016: x Phi(x), or its tanh form. */
const gelu = unary((context, dY, x) => {
  const times = (a: string, b: number) => mul(context, a, number(context, b));
  const plus = (a: string, b: string) => context.emit1('Add', [a, b]);
  const square = mul(context, x, x);
  if (textAttribute(context.node, 'approximate', 'none') === 'tanh') {
    // u = k (x + c x³); y = x (1 + tanh u) / 2; y' = (1 + t) / 2 + x (1 - t²) k (1 + 3 c x²) / 2
    const [k, c] = [Math.sqrt(2 / Math.PI), 0.044715];
    const u = mul(context, x, plus(times(square, k * c), number(context, k)));
    const t = context.emit1('Tanh', [u]);
    const half = plus(times(t, 0.5), number(context, 0.5));
    const slope = plus(times(square, 1.5 * k * c), number(context, 0.5 * k));
    const bump = context.emit1('Sub', [number(context, 1), mul(context, t, t)]);
    return mul(context, dY, plus(half, mul(context, mul(context, x, bump), slope)));
  }
  const cdf = plus(times(context.emit1('Erf', [times(x, Math.SQRT1_2)]), 0.5), number(context, 0.5));
  const density = times(context.emit1('Exp', [times(square, -0.5)]), 1 / Math.sqrt(2 * Math.PI));
  return mul(context, dY, plus(cdf, mul(context, x, density)));
});

const positive = (context: RuleContext, name: string): string => context.emit1('Greater', [name, number(context, 0)]);

const leakyRelu = unary((context, dY, x) =>
  where(context, positive(context, x), dY, mul(context, dY, number(context, floatValue(context.node, 'alpha', 0.01)))),
);

/** Below 0: y = alpha (exp(x) - 1), y' = y + alpha. */
const elu = unary((context, dY, x, y) => {
  const alpha = number(context, floatValue(context.node, 'alpha', 1));
  return where(context, positive(context, x), dY, mul(context, dY, context.emit1('Add', [y, alpha])));
});

/** gamma (x, or alpha (exp(x) - 1)): slope gamma, or y + gamma alpha. */
const selu = unary((context, dY, x, y) => {
  const alpha = floatValue(context.node, 'alpha', 1.6732632423543772);
  const gamma = floatValue(context.node, 'gamma', 1.0507009873554805);
  const below = context.emit1('Add', [y, number(context, alpha * gamma)]);
  return mul(context, dY, where(context, positive(context, x), number(context, gamma), below));
});

const softplus = unary((context, dY, x) => mul(context, dY, context.emit1('Sigmoid', [x])));

/** Inference: nothing is dropped. */
const dropout: GradientRule = (context, [dY]) => {
  const mode = context.node.inputs[2];
  const constant = mode ? context.constant(mode) : undefined;
  if (mode && !(constant && numbersOf(constant)[0] === 0)) throw context.unsupported('dropping while training');
  return dY ? [dY] : [];
};

export const activationRules: RuleRows = [
  ['Relu', unary((context, dY, _x, y) => context.emit1('ReluGrad', [dY, y], {}, training))],
  ['Clip', clip],
  ['HardSwish', hardSwish],
  ['HardSigmoid', hardSigmoid],
  ['Sigmoid', sigmoid],
  ['Tanh', tanh],
  ['Erf', erf],
  ['Gelu', gelu],
  ['LeakyRelu', leakyRelu],
  ['Elu', elu],
  ['Selu', selu],
  ['Softplus', softplus],
  ['Dropout', dropout],
];
