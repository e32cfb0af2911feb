import { elementCount, float32Tensor, int64Tensor, intsAttribute } from '../../onnx/index.ts';
import type { Attributes, GradientRule, RuleContext, RuleRows } from '../rule.ts';
import { TRAINING_DOMAIN } from '../training-facts.ts';

const training = { domain: TRAINING_DOMAIN };

/** Attributes of a (prepared: explicit pads) pool, all present. */
function windowOf({ node }: RuleContext): Attributes {
  const kernel = intsAttribute(node, 'kernel_shape', []);
  const ones = kernel.map(() => 1);
  return {
    ...Object.fromEntries([...node.attributes].filter(([name]) => ['ceil_mode', 'count_include_pad'].includes(name))),
    kernel_shape: kernel,
    strides: intsAttribute(node, 'strides', ones),
    dilations: intsAttribute(node, 'dilations', ones),
    pads: intsAttribute(
      node,
      'pads',
      kernel.flatMap(() => [0, 0]),
    ),
  };
}

const maxPool: GradientRule = (context, [dY]) =>
  dY
    ? [
        context.emit1(
          'MaxPoolGrad',
          [dY, context.node.inputs[0]!, context.node.outputs[0]!],
          windowOf(context),
          training,
        ),
      ]
    : [];

const averagePool: GradientRule = (context, [dY]) => {
  if (!dY) return [];
  const attributes = { ...windowOf(context), input_shape: context.shape(context.node.inputs[0]!) };
  return [context.emit1('AveragePoolGrad', [dY], attributes, training)];
};

const globalAveragePool: GradientRule = (context, [dY]) => {
  if (!dY) return [];
  const shape = context.shape(context.node.inputs[0]!);
  const area = elementCount(shape.slice(2));
  const share = context.emit1('Mul', [dY, context.tensor(float32Tensor([], [1 / area]), 'share')]);
  return [context.emit1('Expand', [share, context.tensor(int64Tensor([shape.length], shape), 'shape')])];
};

/** All to the first of the largest, as PyTorch's adaptive_max_pool does. */
const globalMaxPool: GradientRule = (context, [dY]) => {
  if (!dY) return [];
  const shape = context.shape(context.node.inputs[0]!);
  const area = elementCount(shape.slice(2));
  const reshape = (name: string, dims: readonly number[]) =>
    context.emit1('Reshape', [name, context.tensor(int64Tensor([dims.length], dims), 'shape')]);
  const [n, c] = shape as [number, number];
  const flat = reshape(context.node.inputs[0]!, [n, c, area]);
  const place = context.emit1('ArgMax', [flat], { axis: 2, keepdims: 1 });
  const places = context.tensor(
    int64Tensor(
      [1, 1, area],
      Array.from({ length: area }, (_, i) => i),
    ),
    'places',
  );
  const zero = context.tensor(float32Tensor([], [0]), 'zero');
  const spread = context.emit1('Where', [context.emit1('Equal', [place, places]), reshape(dY, [n, c, 1]), zero]);
  return [reshape(spread, shape)];
};

export const poolingRules: RuleRows = [
  ['MaxPool', maxPool],
  ['AveragePool', averagePool],
  ['GlobalAveragePool', globalAveragePool],
  ['GlobalMaxPool', globalMaxPool],
];
