import { float32Tensor, graph, int64Tensor, model, node, scalar, value, type Model } from '../../../main/onnx/index.ts';

/** Deterministic numbers in -1..1. */
export const noise = (length: number, seed = 1): Float32Array => {
  let state = seed >>> 0 || 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
};

/** A convolution with BatchNorm and clip, a depth-wise one, a residual, pooling and a classifier: [N, 3, H, W] -> logits [N, 5]. */
export function smallNet(): Model {
  const positive = (length: number, seed: number) => noise(length, seed).map((x) => Math.abs(x) + 0.5);
  return model(
    graph({
      name: 'small',
      inputs: [value('image', 'float32', ['N', 3, 'H', 'W'])],
      outputs: [value('logits', 'float32', ['N', 5])],
      nodes: [
        node('Conv', ['image', 'w1'], ['c1'], { strides: [2, 2], auto_pad: 'SAME_UPPER', kernel_shape: [3, 3] }),
        node('BatchNormalization', ['c1', 'scale', 'shift', 'mean', 'variance'], ['n1'], { epsilon: 1e-3 }),
        node('Clip', ['n1', 'zero', 'six'], ['a1']),
        node('Conv', ['a1', 'w2', 'b2'], ['c2'], { pads: [1, 1, 1, 1], group: 8, kernel_shape: [3, 3] }),
        node('Relu', ['c2'], ['a2']),
        node('Add', ['a1', 'a2'], ['sum']),
        node('GlobalAveragePool', ['sum'], ['pool']),
        node('Reshape', ['pool', 'flat'], ['vector']),
        node('Gemm', ['vector', 'w3', 'b3'], ['logits'], { transB: 1, alpha: 1 }),
      ],
      initializers: {
        w1: float32Tensor([8, 3, 3, 3], noise(216)),
        scale: float32Tensor([8], positive(8, 2)),
        shift: float32Tensor([8], noise(8, 3)),
        mean: float32Tensor([8], noise(8, 4)),
        variance: float32Tensor([8], positive(8, 5)),
        zero: scalar(0),
        six: scalar(6),
        w2: float32Tensor([8, 1, 3, 3], noise(72, 6)),
        b2: float32Tensor([8], noise(8, 7)),
        flat: int64Tensor([2], [0, -1]),
        w3: float32Tensor([5, 8], noise(40, 8)),
        b3: float32Tensor([5], noise(5, 9)),
      },
    }),
  );
}
