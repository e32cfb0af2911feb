import { describe, expect, it } from 'vitest';
import { buildTrainingStep, type TrainingStep } from '../../../main/autodiff/index.ts';
import {
  buildNetwork,
  elementCount,
  float32Tensor,
  graph,
  int64Tensor,
  model,
  node,
  value,
  type Model,
  type Node,
} from '../../../main/onnx/index.ts';
import type { State } from '../../../main/training/engine.ts';
import { lowerBlocked } from '../../../main/training/ort/blocked/lowering.ts';
import { packFilter, unpackFilter, type FilterKind } from '../../../main/training/ort/blocked/layout.ts';
import { blockSize } from '../../../main/training/ort/blocked/probe.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { portableLowering, type Lowering } from '../../../main/training/ort/lowering.ts';
import type { Tensor } from '../../../main/runtime/session.ts';

const block = await blockSize();

/** Fractional parts of multiples of the golden ratio: spread evenly, no two alike. */
const spread = (count: number, scale: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => scale * ((((i + 1) * 0.6180339887498949) % 1) - 0.5));

function batchFor(step: TrainingStep, classes: number): Record<string, Tensor> {
  return Object.fromEntries(
    step.batch.map(({ name, dims, type }) => {
      const count = dims.reduce((a, b) => a * b, 1);
      const data =
        type === 'int64'
          ? BigInt64Array.from({ length: count }, (_, i) => BigInt((i * 7) % classes))
          : spread(count, 3);
      return [name, { type: type as 'float32', dims, data }];
    }),
  );
}

async function trained(
  step: TrainingStep,
  lower: Lowering,
  steps: number,
): Promise<{ losses: number[]; state: State }> {
  await using run = await createOrtEngine({ lower }).open(step, { threads: 2 });
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) losses.push((await run.step(batchFor(step, 10))).loss);
  return { losses, state: await run.readState() };
}

const stepOf = (
  network: Model,
  shape: readonly number[],
  more: Partial<Parameters<typeof buildTrainingStep>[0]> = {},
) =>
  buildTrainingStep({
    model: network,
    inputShapes: { input: shape },
    trainable: 'all',
    losses: [{ kind: 'crossEntropy', logits: 'logits' }],
    optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 1e-4 },
    schedule: { kind: 'constant', learningRate: 1e-3 },
    batchNorm: 'train',
    ...more,
  });

/** Largest difference of two states, each entry relative to its largest number. */
function distance(a: State, b: State): number {
  let worst = 0;
  for (const [name, { data }] of a) {
    if (!(data instanceof Float32Array)) continue;
    const other = b.get(name)!.data as Float32Array;
    const scale = data.reduce((most, item) => Math.max(most, Math.abs(item)), 1e-3);
    data.forEach((item, i) => {
      const difference = Math.abs(item - other[i]!) / scale;
      worst = Number.isNaN(difference) ? Infinity : Math.max(worst, difference);
    });
  }
  return worst;
}

/** A conv net whose every layer is one case of the lowering. */
function net(layers: readonly Layer[], input: number): Model {
  const nodes: Node[] = [];
  const initializers = new Map();
  let [current, channels] = ['input', input];
  layers.forEach(({ out, kernel, stride = 1, pad = 0, dilation = 1, group = 1, pool }, i) => {
    const [w, s, b] = [`w${i}`, `s${i}`, `b${i}`];
    const dims = [out, channels / group, kernel, kernel];
    const fan = dims.slice(1).reduce((x, y) => x * y, 1);
    initializers.set(w, float32Tensor(dims, spread(out * fan, 3 / Math.sqrt(fan))));
    for (const [name, of] of [[s, 1] as const, [b, 0] as const, [`m${i}`, 0] as const, [`v${i}`, 1] as const]) {
      initializers.set(name, float32Tensor([out], new Float32Array(out).fill(of)));
    }
    const attributes = {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
      dilations: [dilation, dilation],
      group,
    };
    nodes.push(
      node('Conv', [current, w], [`c${i}`], attributes),
      node('BatchNormalization', [`c${i}`, s, b, `m${i}`, `v${i}`], [`n${i}`], { epsilon: 1e-5, momentum: 0.9 }),
      node('Relu', [`n${i}`], [`a${i}`]),
    );
    current = `a${i}`;
    channels = out;
    if (pool) {
      nodes.push(node('MaxPool', [current], [`p${i}`], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }));
      current = `p${i}`;
    }
  });
  initializers.set('fc', float32Tensor([channels, 10], spread(channels * 10, 0.3)));
  nodes.push(
    node('GlobalAveragePool', [current], ['g']),
    node('Flatten', ['g'], ['f']),
    node('MatMul', ['f', 'fc'], ['logits']),
  );
  return model(
    graph({ nodes, inputs: [value('input')], outputs: [value('logits', 'float32', [null, 10])], initializers }),
    { opset: 17 },
  );
}

interface Layer {
  out: number;
  kernel: number;
  stride?: number;
  pad?: number;
  dilation?: number;
  group?: number;
  pool?: boolean;
}

/** First layer: the image; then the case; then one more, so that the case has a gradient to pass on. */
const around = (...layers: Layer[]): Layer[] => [{ out: 32, kernel: 3, pad: 1 }, ...layers, { out: 16, kernel: 1 }];

const cases: Record<string, { layers: Layer[]; shape?: number[] }> = {
  'dense 3 x 3': { layers: around({ out: 48, kernel: 3, pad: 1 }) },
  'dense without padding': { layers: around({ out: 32, kernel: 3 }) },
  'dense 5 x 5 with stride': { layers: around({ out: 32, kernel: 5, pad: 2, stride: 2 }) },
  'stride on an odd size': { layers: around({ out: 32, kernel: 3, pad: 1, stride: 2 }), shape: [4, 3, 11, 13] },
  'stride that leaves rows unread': { layers: around({ out: 32, kernel: 3, stride: 2 }), shape: [4, 3, 12, 12] },
  'stride 3': { layers: around({ out: 32, kernel: 3, stride: 3, pad: 1 }), shape: [4, 3, 12, 12] },
  dilation: { layers: around({ out: 32, kernel: 3, dilation: 2, pad: 2 }) },
  'dilation with stride': { layers: around({ out: 32, kernel: 3, dilation: 2, pad: 2, stride: 2 }) },
  'pointwise, wider': { layers: around({ out: 96, kernel: 1 }) },
  'pointwise, narrower': { layers: around({ out: 16, kernel: 1 }) },
  'pointwise with stride': { layers: around({ out: 64, kernel: 1, stride: 2 }) },
  'depth-wise': { layers: around({ out: 32, kernel: 3, pad: 1, group: 32 }) },
  'depth-wise with stride': { layers: around({ out: 32, kernel: 3, pad: 1, stride: 2, group: 32 }) },
  'depth-wise, rows unread': {
    layers: around({ out: 32, kernel: 3, stride: 2, group: 32 }),
    shape: [4, 3, 12, 12],
  },
  'channels past a block': { layers: around({ out: 24, kernel: 1 }, { out: 24, kernel: 3, pad: 1, group: 24 }) },
  'channels past a block, dense': { layers: around({ out: 20, kernel: 3, pad: 1 }, { out: 36, kernel: 3, pad: 1 }) },
  'few channels': { layers: around({ out: 8, kernel: 3, pad: 1 }, { out: 6, kernel: 1 }) },
  grouped: { layers: around({ out: 32, kernel: 3, pad: 1, group: 2 }) },
  'max pool': { layers: around({ out: 32, kernel: 3, pad: 1, pool: true }) },
  'max pool on an odd size': { layers: around({ out: 32, kernel: 3, pad: 1, pool: true }), shape: [4, 3, 9, 9] },
  'batch of 20': { layers: around({ out: 32, kernel: 3, pad: 1 }), shape: [20, 3, 8, 8] },
  'batch of 3': { layers: around({ out: 32, kernel: 3, pad: 1 }), shape: [3, 3, 8, 8] },
};

describe.skipIf(block === null)('blocked lowering', () => {
  const blocked: Lowering = (step) => lowerBlocked(step, block!);

  describe.each(Object.entries(cases))('%s', (_name, { layers, shape = [8, 3, 12, 12] }) => {
    it('trains as the standard form does', async () => {
      const step = stepOf(net(layers, shape[1]!), shape);
      const [ours, standard] = [await trained(step, blocked, 3), await trained(step, portableLowering, 3)];
      ours.losses.forEach((loss, i) => expect(loss).toBeCloseTo(standard.losses[i]!, 4));
      expect(distance(standard.state, ours.state)).toBeLessThan(2e-3);
    });
  });

  /** A mask is made where the forward part stands, and read where the gradient does: not always in one layout. */
  it.each(['LeakyRelu', 'Elu'])('%s behind a joined map, before a convolution', async (op) => {
    const random = (dims: number[]) => float32Tensor(dims, spread(elementCount(dims), 0.5));
    const joined = model(
      graph({
        nodes: [
          node('Conv', ['input', 'w1'], ['a'], { pads: [1, 1, 1, 1] }),
          node('Conv', ['a', 'w2'], ['b']),
          node('Concat', ['a', 'b'], ['ab'], { axis: 1 }),
          node(op, ['ab'], ['c']),
          node('Conv', ['c', 'w3'], ['d']),
          node('GlobalAveragePool', ['d'], ['g']),
          node('Flatten', ['g'], ['logits']),
        ],
        inputs: [value('input')],
        outputs: [value('logits', 'float32', [null, 32])],
        initializers: new Map([
          ['w1', random([32, 3, 3, 3])],
          ['w2', random([32, 32, 1, 1])],
          ['w3', random([32, 64, 1, 1])],
        ]),
      }),
      { opset: 17 },
    );
    const step = stepOf(joined, [8, 3, 12, 12]);
    const [ours, standard] = [await trained(step, blocked, 3), await trained(step, portableLowering, 3)];
    expect(distance(standard.state, ours.state)).toBeLessThan(2e-3);
  });

  it.each(['Identity', 'Reshape'])('does not write over a weight that is still read through %s', async (op) => {
    const random = (dims: number[]) => float32Tensor(dims, spread(elementCount(dims), 0.5));
    const through = model(
      graph({
        nodes: [
          node(op, op === 'Reshape' ? ['w2', 'dims'] : ['w2'], ['seen']),
          node('Conv', ['input', 'w1'], ['a'], { pads: [1, 1, 1, 1] }),
          node('Relu', ['a'], ['b']),
          node('Conv', ['b', 'seen'], ['c'], { pads: [1, 1, 1, 1] }),
          node('GlobalAveragePool', ['c'], ['g']),
          node('Flatten', ['g'], ['logits']),
        ],
        inputs: [value('input')],
        outputs: [value('logits', 'float32', [null, 32])],
        initializers: new Map([
          ['w1', random([4, 3, 3, 3])],
          ['w2', random([32, 4, 3, 3])],
          ['dims', int64Tensor([4], [32, 4, 3, 3])],
        ]),
      }),
      { opset: 17 },
    );
    const step = stepOf(through, [8, 3, 12, 12], { schedule: { kind: 'constant', learningRate: 1 } });
    const [ours, standard] = [await trained(step, blocked, 1), await trained(step, portableLowering, 1)];
    expect(distance(standard.state, ours.state)).toBeLessThan(2e-3);
  });

  it('gives a window of equal values its gradient once: a background of one colour', async () => {
    const shape = [8, 3, 16, 16];
    const step = stepOf(
      net(
        [
          { out: 32, kernel: 3, pad: 1, pool: true },
          { out: 16, kernel: 1 },
        ],
        3,
      ),
      shape,
    );
    const plane = shape[2]! * shape[3]!;
    const colours = Float32Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(Math.floor(i / plane)));
    const batch = { ...batchFor(step, 10), input: { type: 'float32' as const, dims: shape, data: colours } };
    const after = async (lower: Lowering) => {
      await using run = await createOrtEngine({ lower }).open(step, { threads: 1 });
      await run.step(batch);
      return run.readState();
    };
    expect(distance(await after(portableLowering), await after(blocked))).toBeLessThan(2e-3);
  });

  it('holds AdamW, clipping and frozen statistics', async () => {
    const step = stepOf(net(around({ out: 24, kernel: 3, pad: 1 }), 3), [8, 3, 12, 12], {
      optimizer: { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-4, weightDecay: 0.01 },
      clipNorm: 0.5,
      batchNorm: 'frozen',
    });
    const [ours, standard] = [await trained(step, blocked, 5), await trained(step, portableLowering, 5)];
    expect(distance(standard.state, ours.state)).toBeLessThan(2e-3);
  });

  it('leaves no training op, and no convolution of a usual network, in the standard form', () => {
    const network = buildNetwork('mobilenet_v2', { classes: 10, size: 64, batch: 8, seed: 1 });
    const { nodes } = lowerBlocked(stepOf(network, [8, 3, 64, 64]), block!).model.graph;
    expect(nodes.filter((each) => each.domain === 'ai.mekiki.training')).toEqual([]);
    expect(nodes.filter((each) => each.op.startsWith('Conv') && each.domain === '')).toEqual([]);
  });
});

describe('filter layout', () => {
  const kinds: readonly [FilterKind, number[]][] = [
    ['dense', [20, 24, 3, 2]],
    ['image', [20, 3, 2, 2]],
    ['depthwise', [20, 1, 3, 3]],
  ];
  it.each(kinds)('%s: packed and unpacked is the same', (kind, dims) => {
    const data = spread(
      dims.reduce((a, b) => a * b, 1),
      1,
    );
    const layout = { kind, block: 16, dims };
    const packed = packFilter(layout, { type: 'float32', dims, data });
    expect(unpackFilter(layout, packed).data).toEqual(data);
    expect(packed.data.length).toBe(packed.dims.reduce((a, b) => a * b, 1));
  });
});
