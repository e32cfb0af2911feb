import { intAttribute, intsAttribute } from '../../onnx/index.ts';
import type { GradientRule, RuleContext, RuleRows } from '../rule.ts';
import { TRAINING_DOMAIN } from '../training-facts.ts';

const training = { domain: TRAINING_DOMAIN };

/** All attributes of a (prepared: explicit pads) convolution. */
const windowOf = ({ node }: RuleContext, kernel: readonly number[]) => ({
  kernel_shape: kernel,
  strides: intsAttribute(
    node,
    'strides',
    kernel.map(() => 1),
  ),
  dilations: intsAttribute(
    node,
    'dilations',
    kernel.map(() => 1),
  ),
  pads: intsAttribute(
    node,
    'pads',
    kernel.flatMap(() => [0, 0]),
  ),
  group: intAttribute(node, 'group', 1),
});

const biasGradient = (context: RuleContext, dY: string): string | undefined =>
  context.node.inputs[2] && context.wants(2) ? context.emit1('BiasGrad', [dY], {}, training) : undefined;

/** Y = X * W + B (cross-correlation). */
const conv: GradientRule = (context, [dY]) => {
  if (!dY) return [];
  const [x, w] = context.node.inputs as [string, string];
  const window = windowOf(context, context.shape(w).slice(2));
  const dW = context.wants(1)
    ? context.emit1('ConvWeightGrad', [x, dY], { ...window, weight_shape: context.shape(w) }, training)
    : undefined;
  const dB = biasGradient(context, dY);
  const dX = context.wants(0)
    ? context.emit1('ConvInputGrad', [dY, w], { ...window, input_shape: context.shape(x) }, training)
    : undefined;
  return [dX, dW, dB];
};

/** The transposed convolution is the input gradient of a convolution with the same weight: its own input gradient is that convolution. */
const convTranspose: GradientRule = (context, [dY]) => {
  if (!dY) return [];
  const [x, w] = context.node.inputs as [string, string];
  const window = windowOf(context, context.shape(w).slice(2));
  const extra = intsAttribute(context.node, 'output_padding', []);
  if (extra.some((padding, axis) => padding >= window.strides[axis]!)) {
    throw context.unsupported('an output_padding that is not below the stride');
  }
  const dW = context.wants(1)
    ? context.emit1('ConvWeightGrad', [dY, x], { ...window, weight_shape: context.shape(w) }, training)
    : undefined;
  const dB = biasGradient(context, dY);
  return [context.wants(0) ? context.emit1('Conv', [dY, w], window) : undefined, dW, dB];
};

export const convolutionRules: RuleRows = [
  ['Conv', conv],
  ['ConvTranspose', convTranspose],
];
