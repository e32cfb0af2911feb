import {
  buildTrainingStep,
  expandTrainingOps,
  type StepSpec,
  type TrainingStep,
} from '../../../main/autodiff/index.ts';
import { encodeModel, float32Tensor, graph, model, node, value, type Model } from '../../../main/onnx/index.ts';
import { openSession, type Session, type Tensor } from '../../../main/runtime/session.ts';

/** Deterministic numbers in [-1, 1). */
export const numbers = (length: number, seed: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => {
    const x = Math.sin((i + 1) * 12.9898 + seed * 78.233) * 43758.5453;
    return 2 * (x - Math.floor(x)) - 1;
  });

/** Conv - BatchNorm - Relu - depthwise Conv - BatchNorm - Clip - MaxPool - Conv - Relu - GlobalAveragePool - Gemm, 3 classes, 8 x 8 pixels. */
export function smallNet(): Model {
  const scaled = (dims: number[], seed: number, by: number) =>
    float32Tensor(
      dims,
      numbers(
        dims.reduce((a, b) => a * b, 1),
        seed,
      ).map((x) => x * by),
    );
  const filled = (count: number, x: number) => float32Tensor([count], new Float32Array(count).fill(x));
  const norm = (x: string, name: string, y: string) =>
    node('BatchNormalization', [x, `${name}.weight`, `${name}.bias`, `${name}.mean`, `${name}.var`], [y], {
      momentum: 0.9,
      epsilon: 1e-5,
    });
  const normed = (name: string, count: number) => ({
    [`${name}.weight`]: filled(count, 1),
    [`${name}.bias`]: filled(count, 0),
    [`${name}.mean`]: filled(count, 0),
    [`${name}.var`]: filled(count, 1),
  });
  return model(
    graph({
      nodes: [
        node('Conv', ['input', 'conv1.weight'], ['c1'], { pads: [1, 1, 1, 1] }),
        norm('c1', 'bn1', 'n1'),
        node('Relu', ['n1'], ['r1']),
        node('Conv', ['r1', 'conv2.weight'], ['c2'], { pads: [1, 1, 1, 1], group: 6, strides: [2, 2] }),
        norm('c2', 'bn2', 'n2'),
        node('Clip', ['n2', 'zero', 'six'], ['r2']),
        node('MaxPool', ['r2'], ['p'], { kernel_shape: [2, 2], strides: [2, 2] }),
        node('Conv', ['p', 'conv3.weight', 'conv3.bias'], ['c3']),
        node('Relu', ['c3'], ['r3']),
        node('GlobalAveragePool', ['r3'], ['g']),
        node('Flatten', ['g'], ['f']),
        node('Gemm', ['f', 'fc.weight', 'fc.bias'], ['logits'], { transB: 1 }),
      ],
      inputs: [value('input', 'float32', ['N', 3, 8, 8])],
      outputs: [value('logits', 'float32', ['N', 3])],
      initializers: {
        'conv1.weight': scaled([6, 3, 3, 3], 1, 0.5),
        ...normed('bn1', 6),
        'conv2.weight': scaled([6, 1, 3, 3], 2, 0.6),
        ...normed('bn2', 6),
        zero: float32Tensor([], [0]),
        six: float32Tensor([], [6]),
        'conv3.weight': scaled([8, 6, 1, 1], 3, 0.7),
        'conv3.bias': filled(8, 0.1),
        'fc.weight': scaled([3, 8], 4, 0.5),
        'fc.bias': filled(3, 0),
      },
    }),
  );
}

export const smallSpec = (more: Partial<StepSpec> = {}): StepSpec => ({
  model: smallNet(),
  inputShapes: { input: [6, 3, 8, 8] },
  trainable: 'all',
  losses: [{ kind: 'crossEntropy', logits: 'logits' }],
  optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 0 },
  schedule: { kind: 'constant', learningRate: 0.05 },
  batchNorm: 'train',
  ...more,
});

export const smallBatch = (): Record<string, Tensor> => ({
  input: { type: 'float32', dims: [6, 3, 8, 8], data: numbers(6 * 3 * 64, 9) },
  target: { type: 'int64', dims: [6], data: BigInt64Array.from([0n, 1n, 2n, 0n, 1n, 2n]) },
});

/** One weight [1, C] that is the logits itself: losses and optimisers by hand. The input is multiplied by the weight. */
export function productNet(rows: number, weights: readonly number[]): Model {
  return model(
    graph({
      nodes: [node('MatMul', ['input', 'w'], ['y'])],
      inputs: [value('input', 'float32', [rows, rows])],
      outputs: [value('y', 'float32', [rows, weights.length / rows])],
      initializers: { w: float32Tensor([rows, weights.length / rows], weights) },
    }),
  );
}

export const identityInput = (rows: number): Tensor => ({
  type: 'float32',
  dims: [rows, rows],
  data: Float32Array.from({ length: rows * rows }, (_, i) => (i % (rows + 1) === 0 ? 1 : 0)),
});

export interface OpenStep extends AsyncDisposable {
  step: TrainingStep;
  state: Record<string, Tensor>;
  /** Runs one step and keeps its state. */
  run(batch: Record<string, Tensor>): Promise<Record<string, Tensor>>;
}

/** A step in ORT after expandTrainingOps. */
export async function openStep(spec: StepSpec): Promise<OpenStep> {
  const step = buildTrainingStep(spec);
  const session: Session = await openSession(encodeModel(expandTrainingOps(step.model)), { threads: 1 });
  const opened: OpenStep = {
    step,
    state: Object.fromEntries(
      step.state.map(({ name, type, dims, initial }) => [name, { type: type as Tensor['type'], dims, data: initial }]),
    ),
    async run(batch) {
      const results = await session.run({ ...batch, ...opened.state });
      opened.state = Object.fromEntries(step.state.map(({ name, next }) => [name, results[next]!]));
      return results;
    },
    [Symbol.asyncDispose]: () => session.dispose(),
  };
  return opened;
}
