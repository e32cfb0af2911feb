import { buildTrainingStep, type TrainingStep } from '../../../main/autodiff/index.ts';
import { float32Tensor, graph, model, node, value, type Model } from '../../../main/onnx/index.ts';
import type { BatchSource } from '../../../main/training/train.ts';
import { randomOf } from '../../../main/vision/augment/index.ts';

const CLASSES = 3;
const SIDE = 8;

/** Conv, BatchNorm, Relu, pooled, Gemm. */
export function smallNetwork(): Model {
  const random = randomOf(11);
  const normal = (dims: number[], scale: number) =>
    float32Tensor(
      dims,
      Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.normal() * scale),
    );
  const even = (x: number) => float32Tensor([6], new Float32Array(6).fill(x));
  return model(
    graph({
      inputs: [value('input', 'float32', ['N', 3, SIDE, SIDE])],
      outputs: [value('logits', 'float32', ['N', CLASSES])],
      nodes: [
        node('Conv', ['input', 'conv.weight'], ['c'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
        node('BatchNormalization', ['c', 'bn.weight', 'bn.bias', 'bn.mean', 'bn.var'], ['b'], { momentum: 0.9 }),
        node('Relu', ['b'], ['r']),
        node('GlobalAveragePool', ['r'], ['p']),
        node('Flatten', ['p'], ['f'], { axis: 1 }),
        node('Gemm', ['f', 'fc.weight', 'fc.bias'], ['logits'], { transB: 1 }),
      ],
      initializers: {
        'conv.weight': normal([6, 3, 3, 3], 0.3),
        'bn.weight': even(1),
        'bn.bias': even(0),
        'bn.mean': even(0),
        'bn.var': even(1),
        'fc.weight': normal([CLASSES, 6], 0.3),
        'fc.bias': float32Tensor([CLASSES], new Float32Array(CLASSES)),
      },
    }),
  );
}

export const BATCH = 8;
export const PER_EPOCH = 6;

export const smallStep = (learningRate = 0.05): TrainingStep =>
  buildTrainingStep({
    model: smallNetwork(),
    inputShapes: { input: [BATCH, 3, SIDE, SIDE] },
    trainable: 'all',
    losses: [{ kind: 'crossEntropy', logits: 'logits' }],
    optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 1e-4 },
    schedule: { kind: 'cosine', learningRate, totalSteps: 1000 },
    batchNorm: 'train',
  });

/** Noise, brighter in one channel per class: a pure function of the position. */
export const smallSource = (
  before?: (epoch: number, batch: number, input: Float32Array) => Promise<void> | void,
): BatchSource => ({
  batch: BATCH,
  batchesPerEpoch: PER_EPOCH,
  async *batches(epoch, from, epochs) {
    for (let e = epoch, first = from; e < epochs; e += 1, first = 0) {
      for (let b = first; b < PER_EPOCH; b += 1) {
        const random = randomOf(e, b);
        const labels = Array.from({ length: BATCH }, () => random.below(CLASSES));
        const plane = SIDE * SIDE;
        const data = Float32Array.from({ length: BATCH * 3 * plane }, (_, i) => {
          const [row, channel] = [Math.floor(i / (3 * plane)), Math.floor(i / plane) % 3];
          return random.normal() + (labels[row] === channel ? 0.7 : 0);
        });
        await before?.(e, b, data);
        yield {
          input: { type: 'float32', dims: [BATCH, 3, SIDE, SIDE], data },
          target: { type: 'int64', dims: [BATCH], data: BigInt64Array.from(labels, BigInt) },
        };
      }
    }
  },
});
