import { elementCount, intAttribute } from '../../onnx/index.ts';
import type { GradientRule, RuleContext, RuleRows } from '../rule.ts';
import { axisIn, constant, expandTo, numbersFrom, reduceSum, reshape } from './emit.ts';

/** A reduction in its place. `dY` and `y` have the input's rank, with size 1 along the reduced axes. */
interface Reduction {
  readonly context: RuleContext;
  readonly x: string;
  readonly shape: readonly number[];
  readonly axes: readonly number[];
  readonly kept: readonly number[];
  readonly dY: string;
  y(): string;
  /** Elements that each output was made from. */
  readonly count: number;
}

/** Axes as attribute (before opset 18, ReduceSum before 13) or input; none: all, or nothing with noop_with_empty_axes. */
function axesOf(context: RuleContext, rank: number): number[] {
  const stated = numbersFrom(context, 'axes', 1) ?? [];
  if (stated.length > 0) return stated.map((axis) => axisIn(axis, rank)).toSorted((a, b) => a - b);
  return intAttribute(context.node, 'noop_with_empty_axes', 0) === 1 ? [] : [...Array(rank).keys()];
}

const reduction =
  (emit: (of: Reduction) => string): GradientRule =>
  (context, [gradient]) => {
    const others = context.node.inputs.slice(1).map(() => undefined);
    if (gradient === undefined || !context.wants(0)) return [undefined, ...others];
    const x = context.node.inputs[0]!;
    const shape = context.shape(x);
    const axes = axesOf(context, shape.length);
    const output = context.node.outputs[0]!;
    const kept = shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
    const dY = reshape(context, gradient, context.shape(output), kept);
    const y = () => reshape(context, output, context.shape(output), kept);
    const count = elementCount(shape) / elementCount(kept);
    return [emit({ context, x, shape, axes, kept, dY, y, count }), ...others];
  };

/** All elements that equal the extremum share its gradient evenly (torch.amax). */
const extremum = reduction(({ context, x, axes, dY, y }) => {
  const equal = context.emit1('Equal', [x, y()]);
  const mask = context.emit1('Cast', [equal], { to: 1 });
  const share = axes.length === 0 ? dY : context.emit1('Div', [dY, reduceSum(context, mask, axes, true)]);
  return context.emit1('Mul', [mask, share]);
});

/** Norms below this count as this: the slope at 0, which has none, becomes 0 instead of NaN. */
const SMALLEST_NORM = 1e-20;

export const reductionRules: RuleRows = [
  ['ReduceSum', reduction(({ context, shape, kept, dY }) => expandTo(context, dY, kept, shape))],
  [
    'ReduceMean',
    reduction(({ context, shape, kept, dY, count }) =>
      expandTo(context, count === 1 ? dY : context.emit1('Div', [dY, constant(context, count)]), kept, shape),
    ),
  ],
  ['ReduceMax', extremum],
  ['ReduceMin', extremum],
  ['ReduceL1', reduction(({ context, x, dY }) => context.emit1('Mul', [context.emit1('Sign', [x]), dY]))],
  [
    'ReduceL2',
    reduction(({ context, x, dY, y }) => {
      const norm = context.emit1('Max', [y(), constant(context, SMALLEST_NORM)]);
      return context.emit1('Mul', [x, context.emit1('Div', [dY, norm])]);
    }),
  ],
  ['ReduceSumSquare', reduction(({ context, x, dY }) => context.emit1('Mul', [x, context.emit1('Add', [dY, dY])]))],
  [
    'ReduceLogSum',
    // sum = e^y
    reduction(({ context, shape, kept, dY, y }) =>
      expandTo(context, context.emit1('Div', [dY, context.emit1('Exp', [y()])]), kept, shape),
    ),
  ],
  [
    'ReduceLogSumExp',
    reduction(({ context, x, dY, y }) => {
      const softmax = context.emit1('Exp', [context.emit1('Sub', [x, y()])]);
      return context.emit1('Mul', [softmax, dY]);
    }),
  ],
];
