import { elementCount, float32Tensor, floatValue } from '../../onnx/index.ts';
import { range, type ExpandContext, type Expansion } from './context.ts';

/** Axes but the channels', and the number of values per channel. */
function channelAxes(shape: readonly number[]): { axes: number[]; count: number } {
  return { axes: range(shape.length).filter((axis) => axis !== 1), count: elementCount(shape) / shape[1]! };
}

/** [C] as [C, 1, …], which broadcasts against [N, C, …]. */
const column = (context: ExpandContext, name: string, rank: number): string =>
  context.reshape(name, [...context.shape(name), ...range(rank - 2).map(() => 1)]);

/** y = (x - mean) scale / sqrt(var + epsilon) + B with the batch's biased variance; the running one gets the unbiased, as in PyTorch. */
export const batchNormTrain: Expansion = (context, node) => {
  const [x, scale, bias, runningMean, runningVar] = node.inputs as [string, string, string, string, string];
  const shape = context.shape(x);
  const { axes, count } = channelAxes(shape);
  const op = (name: string, ...inputs: string[]) => context.emit1(name, inputs);
  const mean = context.mean(x, axes);
  const centred = op('Sub', x, column(context, mean, shape.length));
  const variance = context.mean(op('Mul', centred, centred), axes);
  const epsilon = context.number(floatValue(node, 'epsilon', 1e-5));
  const invStd = op('Div', context.number(1), op('Sqrt', op('Add', variance, epsilon)));
  const scaled = op('Mul', centred, column(context, op('Mul', scale, invStd), shape.length));
  const y = op('Add', scaled, column(context, bias, shape.length));
  const momentum = floatValue(node, 'momentum', 0.9);
  const mixed = (running: string, batch: string, by: number) =>
    op('Add', op('Mul', running, context.number(momentum)), op('Mul', batch, context.number(by)));
  const fresh = 1 - momentum;
  return [y, mean, invStd, mixed(runningMean, mean, fresh), mixed(runningVar, variance, (fresh * count) / (count - 1))];
};

/** With n = (x - mean) invStd: dB = sum dY; dScale = sum dY n; dX = scale invStd (dY - dB / m - n dScale / m). */
export const batchNormGrad: Expansion = (context, node) => {
  const [dY, x, scale, mean, invStd] = node.inputs as [string, string, string, string, string];
  const shape = context.shape(x);
  const { axes, count } = channelAxes(shape);
  const op = (name: string, ...inputs: string[]) => context.emit1(name, inputs);
  const wide = (name: string) => column(context, name, shape.length);
  const normal = op('Mul', op('Sub', x, wide(mean)), wide(invStd));
  const dB = context.sum(dY, axes);
  const dScale = context.sum(op('Mul', dY, normal), axes);
  const share = context.number(1 / count);
  const around = op('Sub', dY, wide(op('Mul', dB, share)));
  const along = op('Mul', normal, wide(op('Mul', dScale, share)));
  const dX = op('Mul', op('Sub', around, along), wide(op('Mul', scale, invStd)));
  return [dX, dScale, dB];
};

export const biasGrad: Expansion = (context, node) => {
  const [dY] = node.inputs as [string];
  return [context.sum(dY, channelAxes(context.shape(dY)).axes)];
};

/** dY where the activation was on. */
const masked = (context: ExpandContext, condition: string, dY: string): string =>
  context.emit1('Where', [condition, dY, context.tensor(float32Tensor([], [0]))]);

export const reluGrad: Expansion = (context, node) => {
  const [dY, y] = node.inputs as [string, string];
  return [masked(context, context.emit1('Greater', [y, context.number(0)]), dY)];
};

export const clipGrad: Expansion = (context, node) => {
  const [dY, y] = node.inputs as [string, string];
  const above = context.emit1('Greater', [y, context.number(floatValue(node, 'min', -Infinity))]);
  const below = context.emit1('Less', [y, context.number(floatValue(node, 'max', Infinity))]);
  return [masked(context, context.emit1('And', [above, below]), dY)];
};
