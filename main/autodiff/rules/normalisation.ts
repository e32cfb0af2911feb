import { float32Tensor, floatValue, int64Tensor, intAttribute } from '../../onnx/index.ts';
import type { GradientRule, RuleContext, RuleRows } from '../rule.ts';
import { TRAINING_DOMAIN } from '../training-facts.ts';

/** Batch statistics: Ioffe and Szegedy 2015, section 3; one node, for it is the hottest after convolutions. */
const batchNormTrain: GradientRule = (context, [dY, dMean, dInvStd]) => {
  if (dMean || dInvStd) throw context.unsupported('a gradient through its statistics');
  if (!dY) return [];
  const [x, scale] = context.node.inputs as [string, string];
  const [, mean, invStd] = context.node.outputs as [string, string, string];
  const [dX, dScale, dB] = context.emit(
    'BatchNormGrad',
    [dY, x, scale, mean, invStd],
    {},
    { domain: TRAINING_DOMAIN, outputs: 3 },
  );
  return [context.wants(0) ? dX : undefined, dScale, dB];
};

/** Per-channel vector [C] as [C, 1, …], which broadcasts against [N, C, …]. */
function column(context: RuleContext, name: string, rank: number): string {
  if (rank <= 2) return name;
  const axes = Array.from({ length: rank - 2 }, (_, i) => i + 1);
  return context.emit1('Unsqueeze', [name, context.tensor(int64Tensor([rank - 2], axes), 'axes')]);
}

/** Frozen statistics: y = (x - mean) scale / sqrt(var + epsilon) + B, an affine map per channel. */
const batchNorm: GradientRule = (context, [dY]) => {
  if (!dY) return [];
  const { node } = context;
  const [x, scale, , mean, variance] = node.inputs as [string, string, string, string, string];
  if (intAttribute(node, 'training_mode', 0) === 1)
    throw context.unsupported('training_mode; batchNorm: "train" sets it');
  if (context.wants(3) || context.wants(4)) throw context.unsupported('training its running statistics');
  const rank = context.shape(x).length;
  const epsilon = context.tensor(float32Tensor([], [floatValue(node, 'epsilon', 1e-5)]), 'epsilon');
  const needsInverse = context.wants(0) || context.wants(1);
  const std = needsInverse ? context.emit1('Sqrt', [context.emit1('Add', [variance, epsilon])]) : '';
  const dB =
    context.wants(1) || context.wants(2) ? context.emit1('BiasGrad', [dY], {}, { domain: TRAINING_DOMAIN }) : '';
  let dScale: string | undefined;
  if (context.wants(1)) {
    // sum dY (x - mean) / std = (sum dY x - mean sum dY) / std: no centred copy of x.
    const product = context.emit1('BiasGrad', [context.emit1('Mul', [dY, x])], {}, { domain: TRAINING_DOMAIN });
    dScale = context.emit1('Div', [context.emit1('Sub', [product, context.emit1('Mul', [mean, dB])]), std]);
  }
  const dX = context.wants(0)
    ? context.emit1('Mul', [dY, column(context, context.emit1('Div', [scale, std]), rank)])
    : undefined;
  return [dX, dScale, context.wants(2) ? dB : undefined];
};

/** ReduceMean with axes as this opset takes them: an input since 18. */
function mean(context: RuleContext, name: string, axes: readonly number[]): string {
  if (context.opset < 18) return context.emit1('ReduceMean', [name], { axes, keepdims: 1 });
  return context.emit1('ReduceMean', [name, context.tensor(int64Tensor([axes.length], axes), 'axes')], { keepdims: 1 });
}

const sumOver = (context: RuleContext, name: string, axes: readonly number[]): string =>
  axes.length === 0
    ? name
    : context.emit1('ReduceSum', [name, context.tensor(int64Tensor([axes.length], axes), 'axes')], { keepdims: 0 });

/** Ba, Kiros and Hinton 2016: normalised over the axes from `axis` on. */
const layerNorm: GradientRule = (context, [dY, dMean, dInvStd]) => {
  if (dMean || dInvStd) throw context.unsupported('a gradient through its statistics');
  if (!dY) return [];
  const { node } = context;
  const [x, scale, bias] = node.inputs as [string, string, string | undefined];
  const rank = context.shape(x).length;
  const axis = intAttribute(node, 'axis', -1);
  const first = axis < 0 ? axis + rank : axis;
  const inner = Array.from({ length: rank - first }, (_, i) => first + i);
  const outer = Array.from({ length: first }, (_, i) => i);
  for (const name of [scale, ...(bias ? [bias] : [])]) {
    if (context.shape(name).length !== inner.length) throw context.unsupported('a scale that is broadcast');
  }
  const epsilon = context.tensor(float32Tensor([], [floatValue(node, 'epsilon', 1e-5)]), 'epsilon');
  const dB = bias && context.wants(2) ? sumOver(context, dY, outer) : undefined;
  if (!context.wants(0) && !context.wants(1)) return [undefined, undefined, dB];
  const centred = context.emit1('Sub', [x, mean(context, x, inner)]);
  const variance = mean(context, context.emit1('Mul', [centred, centred]), inner);
  const std = context.emit1('Sqrt', [context.emit1('Add', [variance, epsilon])]);
  const normal = context.emit1('Div', [centred, std]);
  const dScale = context.wants(1) ? sumOver(context, context.emit1('Mul', [dY, normal]), outer) : undefined;
  if (!context.wants(0)) return [undefined, dScale, dB];
  const g = context.emit1('Mul', [dY, scale]);
  const along = context.emit1('Mul', [normal, mean(context, context.emit1('Mul', [g, normal]), inner)]);
  const rest = context.emit1('Sub', [context.emit1('Sub', [g, mean(context, g, inner)]), along]);
  return [context.emit1('Div', [rest, std]), dScale, dB];
};

export const normalisationRules: RuleRows = [
  ['BatchNormTrain', batchNormTrain],
  ['BatchNormalization', batchNorm],
  ['LayerNormalization', layerNorm],
];
