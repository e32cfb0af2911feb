import { floatValue, intsAttribute } from '../../../main/onnx/index.ts';
import { size, tensor, zeros, type RefOp, type RefRows, type RefTensor } from './reference-tensor.ts';
import { convolutionOf, divisors, eachPlane, eachProduct, poolWindows } from './reference-windows.ts';

/* The operators of the domain ai.mekiki.training, each written from its definition. */

const convInputGrad: RefOp = ([dY, w], node) => {
  const dX = zeros(intsAttribute(node, 'input_shape', []));
  const { windows, sizes } = convolutionOf(node, dX.dims, w!.dims);
  eachProduct(sizes, windows, (i, j, k) => (dX.data[i]! += dY!.data[k]! * w!.data[j]!));
  return [dX];
};

const convWeightGrad: RefOp = ([x, dY], node) => {
  const dW = zeros(intsAttribute(node, 'weight_shape', []));
  const { windows, sizes } = convolutionOf(node, x!.dims, dW.dims);
  eachProduct(sizes, windows, (i, j, k) => (dW.data[j]! += x!.data[i]! * dY!.data[k]!));
  return [dW];
};

/** The numbers of each channel (axis 1) in turn. */
function channels(x: RefTensor): { count: number; of: (i: number) => number; inChannel: number } {
  const inner = size(x.dims.slice(2));
  const count = x.dims[1]!;
  return { count, of: (i) => Math.floor(i / inner) % count, inChannel: x.data.length / count };
}

const perChannelSum = (x: RefTensor, value: (i: number) => number): Float64Array => {
  const { count, of } = channels(x);
  const sums = new Float64Array(count);
  for (let i = 0; i < x.data.length; i += 1) sums[of(i)]! += value(i);
  return sums;
};

const batchNormTrain: RefOp = ([x, scale, bias, runningMean, runningVar], node) => {
  const epsilon = floatValue(node, 'epsilon', 1e-5);
  const momentum = floatValue(node, 'momentum', 0.9);
  const { count, of, inChannel: m } = channels(x!);
  const mean = perChannelSum(x!, (i) => x!.data[i]!).map((sum) => sum / m);
  const variance = perChannelSum(x!, (i) => (x!.data[i]! - mean[of(i)]!) ** 2).map((sum) => sum / m);
  const invStd = variance.map((value) => 1 / Math.sqrt(value + epsilon));
  const y = x!.data.map(
    (value, i) => (value - mean[of(i)]!) * invStd[of(i)]! * scale!.data[of(i)]! + bias!.data[of(i)]!,
  );
  const unbiased = variance.map((value) => (value * m) / (m - 1));
  const moved = (running: RefTensor, batch: Float64Array) =>
    tensor(
      [count],
      running.data.map((value, c) => value * momentum + batch[c]! * (1 - momentum)),
    );
  return [
    tensor(x!.dims, y),
    tensor([count], mean),
    tensor([count], invStd),
    moved(runningMean!, mean),
    moved(runningVar!, unbiased),
  ];
};

const batchNormGrad: RefOp = ([dY, x, scale, mean, invStd]) => {
  const { count, of, inChannel: m } = channels(x!);
  const normal = (i: number) => (x!.data[i]! - mean!.data[of(i)]!) * invStd!.data[of(i)]!;
  const dBias = perChannelSum(x!, (i) => dY!.data[i]!);
  const dScale = perChannelSum(x!, (i) => dY!.data[i]! * normal(i));
  const dX = dY!.data.map((value, i) => {
    const c = of(i);
    return scale!.data[c]! * invStd!.data[c]! * (value - dBias[c]! / m - (normal(i) * dScale[c]!) / m);
  });
  return [tensor(x!.dims, dX), tensor([count], dScale), tensor([count], dBias)];
};

const maxPoolGrad: RefOp = ([dY, x], node) => {
  const windows = poolWindows(node, x!.dims.slice(2));
  const dX = zeros(x!.dims);
  eachPlane(x!, windows, (xAt, yAt) =>
    windows.pairs.forEach((pairs, p) => {
      // The first of the largest, in row-major order of the window.
      let best = pairs[0]!.input;
      for (const { input } of pairs) if (x!.data[xAt + input]! > x!.data[xAt + best]!) best = input;
      dX.data[xAt + best]! += dY!.data[yAt + p]!;
    }),
  );
  return [dX];
};

const averagePoolGrad: RefOp = ([dY], node) => {
  const dX = zeros(intsAttribute(node, 'input_shape', []));
  const windows = poolWindows(node, dX.dims.slice(2));
  const over = divisors(node, windows);
  eachPlane(dX, windows, (xAt, yAt) =>
    windows.pairs.forEach((pairs, p) => {
      for (const { input } of pairs) dX.data[xAt + input]! += dY!.data[yAt + p]! / over[p]!;
    }),
  );
  return [dX];
};

const masked =
  (open: (y: number, low: number, high: number) => boolean): RefOp =>
  ([dY, y], node) => {
    const [low, high] = [floatValue(node, 'min', -Infinity), floatValue(node, 'max', Infinity)];
    return [
      tensor(
        dY!.dims,
        dY!.data.map((value, i) => (open(y!.data[i]!, low, high) ? value : 0)),
      ),
    ];
  };

export const trainingReference: RefRows = [
  ['ConvInputGrad', convInputGrad],
  ['ConvWeightGrad', convWeightGrad],
  ['BatchNormTrain', batchNormTrain],
  ['BatchNormGrad', batchNormGrad],
  ['ReluGrad', masked((y) => y > 0)],
  ['ClipGrad', masked((y, low, high) => y > low && y < high)],
  ['MaxPoolGrad', maxPoolGrad],
  ['AveragePoolGrad', averagePoolGrad],
  [
    'BiasGrad',
    ([dY]) => [
      tensor(
        [dY!.dims[1]!],
        perChannelSum(dY!, (i) => dY!.data[i]!),
      ),
    ],
  ],
];
