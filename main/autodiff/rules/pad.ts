import { float32Tensor, textAttribute } from '../../onnx/index.ts';
import type { GradientRule, RuleContext } from '../rule.ts';
import { axisIn, inputOf, multiplyAxis, numbersFrom, padZeros, reduceSum, slice } from './emit.ts';

/** Which element of an axis of `size` a position outside it shows; the modes of Pad that copy. */
const sources: Readonly<Record<string, (position: number, size: number) => number>> = {
  edge: (position, size) => Math.min(size - 1, Math.max(0, position)),
  reflect: (position, size) => {
    const period = Math.max(1, 2 * (size - 1));
    const folded = ((position % period) + period) % period;
    return folded < size ? folded : period - folded;
  },
  wrap: (position, size) => ((position % size) + size) % size,
};

/** Sizes added before and after each axis (negative: removed). */
function padsOf(context: RuleContext, rank: number): { before: number[]; after: number[] } {
  const pads = numbersFrom(context, 'pads', 1)!;
  const axes = numbersFrom(context, 'axes', 3) ?? [...Array(rank).keys()];
  const before = Array<number>(rank).fill(0);
  const after = Array<number>(rank).fill(0);
  axes.forEach((axis, i) => {
    before[axisIn(axis, rank)] = pads[i]!;
    after[axisIn(axis, rank)] = pads[i + axes.length]!;
  });
  return { before, after };
}

/** What was padded is cut off, what was cut off (negative pads) gets zeros. */
function unpad(
  context: RuleContext,
  gradient: string,
  from: readonly number[],
  before: number[],
  after: number[],
): string {
  const cut = slice(
    context,
    gradient,
    from.flatMap((dim, axis) => {
      const [start, end] = [Math.max(0, before[axis]!), dim - Math.max(0, after[axis]!)];
      return start === 0 && end === dim ? [] : [{ axis, start, end }];
    }),
  );
  return padZeros(
    context,
    cut,
    [...before, ...after].map((pad) => Math.max(0, -pad)),
  );
}

export const padRule: GradientRule = (context, [gradient]) => {
  const { inputs, outputs } = context.node;
  if (gradient === undefined) return inputs.map(() => undefined);
  const to = context.shape(inputs[0]!);
  const from = context.shape(outputs[0]!);
  const mode = textAttribute(context.node, 'mode', 'constant');
  const { before, after } = padsOf(context, to.length);
  if (mode === 'constant') {
    const wantsFill = inputOf(context, 2) !== undefined && context.wants(2);
    const back = context.wants(0) || wantsFill ? unpad(context, gradient, from, before, after) : undefined;
    const all = (name: string, shape: readonly number[]) => reduceSum(context, name, [...shape.keys()], false);
    // The fill value got everything that the data did not.
    const fill = wantsFill ? context.emit1('Sub', [all(gradient, from), all(back!, to)]) : undefined;
    return inputs.map((_, index) => (index === 0 && context.wants(0) ? back : index === 2 ? fill : undefined));
  }
  const source = sources[mode];
  if (!source) throw context.unsupported(`a gradient of the mode "${mode}"`);
  let name = gradient;
  const shape = [...from];
  to.forEach((size, axis) => {
    if (before[axis] === 0 && after[axis] === 0) return;
    const wide = shape[axis]!;
    const matrix = new Float32Array(size * wide);
    for (let position = 0; position < wide; position += 1) {
      matrix[source(position - before[axis]!, size) * wide + position] = 1;
    }
    name = multiplyAxis(context, name, shape, axis, context.tensor(float32Tensor([size, wide], matrix)), size);
    shape[axis] = size;
  });
  return inputs.map((_, index) => (index === 0 && context.wants(0) ? name : undefined));
};
