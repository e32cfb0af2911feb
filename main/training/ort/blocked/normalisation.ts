import { floatValue, type Node } from '../../../onnx/index.ts';
import type { BlockedWriter } from './writer.ts';

type Shape4 = readonly [number, number, number, number];

/** What a blocked per-channel affine map still lacks before it is written: something to add, an activation. */
export interface Affine {
  input: string;
  scale: string;
  bias: string;
  lanes: number;
  /** Computed a second time, for the backward part. */
  again?: boolean;
}

export interface Activation {
  name: string;
  params?: readonly number[];
}

/** y = act(scale x + bias + sum): one pass over memory, as a depth-wise 1 x 1 convolution. */
export function affine(
  writer: BlockedWriter,
  { input, scale, bias, lanes, again }: Affine,
  options: { sum?: string; activation?: Activation } = {},
): string {
  const weights = writer.reshape(scale, [lanes, 1, 1, 1]);
  const inputs = [input, weights, bias, ...(options.sum ? [options.sum] : [])];
  const activation = options.activation;
  return writer.blockedOp('Conv', inputs, {
    kernel_shape: [1, 1],
    strides: [1, 1],
    // ORT merges equal nodes: what is computed again to save memory must not look like the first time.
    ...(again ? {} : { dilations: [1, 1] }),
    pads: [0, 0, 0, 0],
    group: lanes,
    ...(activation ? { activation: activation.name } : {}),
    ...(activation?.params
      ? { activation_params: { kind: 'floats' as const, value: activation.params.map(Math.fround) } }
      : {}),
  });
}

/** Sum over batch and image of a blocked tensor [N, C, H, W] -> [C]. */
function channelSum(writer: BlockedWriter, blocked: string, n: number, lanes: number, area: number): string {
  const means = writer.reshape(writer.blockedOp('GlobalAveragePool', [blocked]), [n, lanes]);
  const sums = writer.emit('ReduceSum', [means, writer.ints([0])], { keepdims: 0 });
  return writer.emit('Mul', [sums, writer.number(area)]);
}

/** Sum over batch and image of the product of two blocked tensors -> [C]: each channel of each picture convolved with its counterpart. */
function channelDot(writer: BlockedWriter, a: string, b: string, [n, lanes, h, w]: Shape4): string {
  const image = writer.reshape(a, [1, n * lanes, h, w]);
  const filter = writer.reshape(b, [n * lanes, 1, h, w]);
  const products = writer.blockedOp('Conv', [image, filter], {
    kernel_shape: [h, w],
    strides: [1, 1],
    dilations: [1, 1],
    pads: [0, 0, 0, 0],
    group: n * lanes,
  });
  return writer.emit('ReduceSum', [writer.reshape(products, [n, lanes]), writer.ints([0])], { keepdims: 0 });
}

const whole = (writer: BlockedWriter, name: string): Shape4 => {
  const [n, , h, w] = writer.shape(name) as Shape4;
  return [n, writer.lanes(name), h, w];
};

export function batchNormTrain(writer: BlockedWriter, node: Node, defer: (y: string, map: Affine) => void): boolean {
  const [x, scale, b, runningMean, runningVar] = node.inputs as [string, string, string, string, string];
  const [y, mean, invStd, newMean, newVar] = node.outputs as [string, string, string, string, string];
  if (!writer.blockable(x)) return false;
  const [n, lanes, h, w] = whole(writer, x);
  const count = n * h * w;
  const op = (name: string, ...inputs: string[]) => writer.emit(name, inputs);
  const number = (value: number) => writer.number(value);
  const input = writer.blocked(x);
  const momentum = floatValue(node, 'momentum', 0.9);

  const average = op('Mul', channelSum(writer, input, n, lanes, h * w), number(1 / count));
  const squares = op('Mul', channelDot(writer, input, input, [n, lanes, h, w]), number(1 / count));
  const variance = op('Relu', op('Sub', squares, op('Mul', average, average)));
  const inverse = op('Reciprocal', op('Sqrt', op('Add', variance, number(floatValue(node, 'epsilon', 1e-5)))));
  const factor = op('Mul', writer.vector(scale), inverse);
  const offset = op('Sub', writer.vector(b), op('Mul', average, factor));
  writer.setVector(mean, average);
  writer.setVector(invStd, inverse);
  const running = (old: string, now: string, correction: number) =>
    op('Add', op('Mul', writer.vector(old), number(momentum)), op('Mul', now, number((1 - momentum) * correction)));
  if (newMean) writer.setVector(newMean, running(runningMean, average, 1));
  if (newVar) writer.setVector(newVar, running(runningVar, variance, count / Math.max(1, count - 1)));
  defer(y, { input, scale: factor, bias: offset, lanes });
  return true;
}

/** Frozen statistics; also what recomputation emits. */
export function batchNormFrozen(writer: BlockedWriter, node: Node, defer: (y: string, map: Affine) => void): boolean {
  const [x, scale, b, mean, variance] = node.inputs as [string, string, string, string, string];
  const [y] = node.outputs as [string];
  if (node.outputs.length !== 1 || !writer.blockable(x) || !writer.has(x, 'blocked')) return false;
  const op = (name: string, ...inputs: string[]) => writer.emit(name, inputs);
  const epsilon = writer.number(floatValue(node, 'epsilon', 1e-5));
  const channels = writer.shape(scale)[0]!;
  const lanes = writer.lanes(x);
  const whole = (name: string) => writer.padEnd(name, 1, 0, lanes - channels);
  // Padded last: 0 / sqrt(0 + 0) in the lanes past the last channel would not be a number.
  const factor = op('Div', writer.plain(scale), op('Sqrt', op('Add', writer.plain(variance), epsilon)));
  const offset = op('Sub', writer.plain(b), op('Mul', writer.plain(mean), factor));
  defer(y, { input: writer.blocked(x), scale: whole(factor), bias: whole(offset), lanes, again: true });
  return true;
}

/**
 * dX = s (dY - mean(dY) - x̂ mean(dY x̂)), s = scale / std (Ioffe and Szegedy 2015, section 3), written as an affine map of dY and x per
 * channel: two passes.
 */
export function batchNormGrad(writer: BlockedWriter, node: Node): boolean {
  const [dY, x, scale, mean, invStd] = node.inputs as [string, string, string, string, string];
  const [dX, dScale, dB] = node.outputs as [string, string, string];
  if (!writer.blockable(x)) return false;
  const [n, lanes, h, w] = whole(writer, x);
  const count = n * h * w;
  const op = (name: string, ...inputs: string[]) => writer.emit(name, inputs);
  const [gradient, input] = [writer.blocked(dY), writer.blocked(x)];
  const [average, inverse] = [writer.vector(mean), writer.vector(invStd)];

  const sum = channelSum(writer, gradient, n, lanes, h * w);
  const dot = channelDot(writer, input, gradient, [n, lanes, h, w]);
  const slope = op('Mul', inverse, op('Sub', dot, op('Mul', average, sum)));
  if (dScale) writer.setVector(dScale, slope);
  if (dB) writer.setVector(dB, sum);
  if (!dX) return true;
  const factor = op('Mul', writer.vector(scale), inverse);
  const share = op('Mul', factor, writer.number(-1 / count));
  const alongInput = op('Mul', op('Mul', share, inverse), slope);
  const offset = op('Sub', op('Mul', share, sum), op('Mul', alongInput, average));
  const part = affine(writer, { input, scale: alongInput, bias: offset, lanes });
  const zero = writer.zeros([lanes]);
  writer.set(dX, 'blocked', affine(writer, { input: gradient, scale: factor, bias: zero, lanes }, { sum: part }));
  return true;
}
