import {
  float32Tensor,
  graph,
  int64Tensor,
  model,
  node,
  value,
  type ConstTensor,
  type Model,
  type Node,
} from '../../../main/onnx/index.ts';
import { buildTrainingStep, type StepSpec, type TrainingStep } from '../../../main/autodiff/index.ts';
import type { Tensor } from '../../../main/runtime/session.ts';
import { numbers } from './run-both.ts';

export const BATCH = 4;
export const CLASSES = 3;

class Builder {
  readonly nodes: Node[] = [];
  readonly weights: Record<string, ConstTensor> = {};
  #seed = 1;

  weight(name: string, dims: readonly number[], scale: number, offset = 0): string {
    const count = dims.reduce((a, b) => a * b, 1);
    this.weights[name] = float32Tensor(
      dims,
      numbers(count, this.#seed++, scale).map((x) => x + offset),
    );
    return name;
  }

  add(op: string, inputs: string[], out: string, attributes: Parameters<typeof node>[3] = {}): string {
    this.nodes.push(node(op, inputs, [out], attributes));
    return out;
  }

  conv(
    x: string,
    name: string,
    [out, each, k]: readonly [number, number, number],
    attributes: { group?: number; strides?: number[] },
  ): string {
    const w = this.weight(`${name}.weight`, [out, each, k, k], 1.7 / Math.sqrt(each * k * k));
    const pad = (k - 1) / 2;
    return this.add('Conv', [x, w], name, {
      kernel_shape: [k, k],
      pads: [pad, pad, pad, pad],
      strides: [1, 1],
      dilations: [1, 1],
      group: 1,
      ...attributes,
    });
  }

  norm(x: string, name: string, channels: number): string {
    const vectors = [
      this.weight(`${name}.weight`, [channels], 0.3, 1),
      this.weight(`${name}.bias`, [channels], 0.2),
      this.weight(`${name}.running_mean`, [channels], 0.1),
      this.weight(`${name}.running_var`, [channels], 0.2, 1),
    ];
    return this.add('BatchNormalization', [x, ...vectors], name, { epsilon: 1e-5, momentum: 0.9 });
  }

  head(x: string, channels: number): string {
    const w = this.weight('head.weight', [CLASSES, channels], 0.6);
    return this.add('Gemm', [x, w, this.weight('head.bias', [CLASSES], 0.1)], 'logits', { transB: 1 });
  }

  build(size: number): Model {
    return model(
      graph({
        nodes: this.nodes,
        inputs: [value('input', 'float32', [BATCH, 3, size, size])],
        outputs: [value('logits', 'float32', [BATCH, CLASSES])],
        initializers: this.weights,
      }),
    );
  }
}

/** Convolutions, batch norm, ReLU, both pools, a residual addition, a linear head. */
export function plainNet(size = 8): Model {
  const b = new Builder();
  let x = b.add('Relu', [b.norm(b.conv('input', 'conv1', [6, 3, 3], { strides: [2, 2] }), 'bn1', 6)], 'relu1');
  x = b.add('MaxPool', [x], 'pool1', { kernel_shape: [3, 3], strides: [1, 1], pads: [1, 1, 1, 1] });
  const y = b.add('Relu', [b.norm(b.conv(x, 'conv2', [6, 6, 3], {}), 'bn2', 6)], 'relu2');
  x = b.add('Add', [x, y], 'sum');
  x = b.add('AveragePool', [x], 'pool2', { kernel_shape: [2, 2], strides: [2, 2] });
  x = b.add('Flatten', [b.add('GlobalAveragePool', [x], 'gap')], 'flat');
  b.head(x, 6);
  return b.build(size);
}

/** An inverted residual (expand, depthwise, project) as MobileNetV2 has it, with stride 2 and then with the addition. */
function invertedResidualNet(size = 8): Model {
  const b = new Builder();
  b.weights.zero = float32Tensor([], [0]);
  b.weights.six = float32Tensor([], [6]);
  const relu6 = (x: string, name: string) => b.add('Clip', [x, 'zero', 'six'], name);
  const block = (input: string, name: string, from: number, to: number, stride: number) => {
    const wide = from * 3;
    let x = relu6(b.norm(b.conv(input, `${name}.expand`, [wide, from, 1], {}), `${name}.bn1`, wide), `${name}.r1`);
    x = b.conv(x, `${name}.depthwise`, [wide, 1, 3], { group: wide, strides: [stride, stride] });
    x = relu6(b.norm(x, `${name}.bn2`, wide), `${name}.r2`);
    x = b.norm(b.conv(x, `${name}.project`, [to, wide, 1], {}), `${name}.bn3`, to);
    return stride === 1 && from === to ? b.add('Add', [input, x], `${name}.out`) : x;
  };
  let x = relu6(b.norm(b.conv('input', 'stem', [4, 3, 3], {}), 'stem.bn', 4), 'stem.r');
  x = block(block(x, 'block1', 4, 4, 2), 'block2', 4, 4, 1);
  b.head(b.add('Flatten', [b.add('GlobalAveragePool', [x], 'gap')], 'flat'), 4);
  return b.build(size);
}

/** Patches, one pre-norm transformer block (attention with two heads, GELU by Erf), mean of the tokens. */
function transformerNet(size = 8): Model {
  const b = new Builder();
  const [dim, tokens, heads] = [8, 4, 2];
  const shape = (name: string, dims: number[]) => {
    b.weights[name] = int64Tensor([dims.length], dims);
    return name;
  };
  const constant = (name: string, x: number) => {
    b.weights[name] = float32Tensor([], [x]);
    return name;
  };
  const linear = (x: string, name: string, from: number, to: number) =>
    b.add(
      'Add',
      [
        b.add('MatMul', [x, b.weight(`${name}.weight`, [from, to], 0.5)], `${name}.product`),
        b.weight(`${name}.bias`, [to], 0.1),
      ],
      name,
    );
  const norm = (x: string, name: string) =>
    b.add(
      'LayerNormalization',
      [x, b.weight(`${name}.weight`, [dim], 0.2, 1), b.weight(`${name}.bias`, [dim], 0.1)],
      name,
      { axis: -1, epsilon: 1e-5 },
    );
  let x = b.add(
    'Conv',
    ['input', b.weight('patch.weight', [dim, 3, 4, 4], 0.25), b.weight('patch.bias', [dim], 0.1)],
    'patch',
    {
      kernel_shape: [4, 4],
      strides: [4, 4],
      pads: [0, 0, 0, 0],
      dilations: [1, 1],
      group: 1,
    },
  );
  x = b.add('Transpose', [b.add('Reshape', [x, shape('s.tokens', [BATCH, dim, tokens])], 'rows')], 'tokens', {
    perm: [0, 2, 1],
  });
  x = b.add('Add', [x, b.weight('position', [1, tokens, dim], 0.2)], 'embedded');
  const qkv = linear(norm(x, 'norm1'), 'qkv', dim, 3 * dim);
  const ordered = b.add(
    'Transpose',
    [b.add('Reshape', [qkv, shape('s.qkv', [BATCH, tokens, 3, heads, dim / heads])], 'parted')],
    'ordered',
    { perm: [2, 0, 3, 1, 4] },
  );
  const [q, k, v] = [0, 1, 2].map((i) => {
    b.weights[`i${i}`] = int64Tensor([], [i]);
    return b.add('Gather', [ordered, `i${i}`], `qkv${i}`, { axis: 0 });
  }) as [string, string, string];
  const scores = b.add(
    'MatMul',
    [b.add('Mul', [q, constant('factor', 0.5)], 'scaled'), b.add('Transpose', [k], 'keys', { perm: [0, 1, 3, 2] })],
    'scores',
  );
  const mixed = b.add('MatMul', [b.add('Softmax', [scores], 'attention', { axis: -1 }), v], 'mixed');
  const merged = b.add(
    'Reshape',
    [b.add('Transpose', [mixed], 'back', { perm: [0, 2, 1, 3] }), shape('s.merged', [BATCH, tokens, dim])],
    'merged',
  );
  x = b.add('Add', [x, linear(merged, 'proj', dim, dim)], 'attended');
  const inner = linear(norm(x, 'norm2'), 'fc1', dim, 2 * dim);
  const erf = b.add('Erf', [b.add('Div', [inner, constant('root2', Math.SQRT2)], 'by')], 'erf');
  const gate = b.add('Mul', [inner, b.add('Add', [erf, constant('one', 1)], 'plus')], 'gate');
  x = b.add('Add', [x, linear(b.add('Mul', [gate, constant('half', 0.5)], 'gelu'), 'fc2', 2 * dim, dim)], 'out');
  x = b.add('ReduceMean', [x], 'mean', { axes: [1], keepdims: 0 });
  b.head(x, dim);
  return b.build(size);
}

export const nets = { plain: plainNet, 'inverted residual': invertedResidualNet, transformer: transformerNet };

export const stepOf = (net: Model, over: Partial<StepSpec> = {}): TrainingStep =>
  buildTrainingStep({
    model: net,
    inputShapes: { input: net.graph.inputs[0]!.shape as number[] },
    trainable: 'all',
    losses: [{ kind: 'crossEntropy', logits: 'logits', labelSmoothing: 0.1 }],
    optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 1e-3 },
    schedule: { kind: 'cosine', learningRate: 0.05, warmupSteps: 3, totalSteps: 20 },
    batchNorm: 'train',
    clipNorm: 5,
    ...over,
  });

/** Images and targets of step `at`; the same three pictures with noise, so that there is something to learn. */
export function batchOf(step: TrainingStep, at: number): Record<string, Tensor> {
  const batch: Record<string, Tensor> = {};
  for (const { name, dims, type } of step.batch) {
    const count = dims.reduce((a, b) => a * b, 1);
    if (type === 'int64') {
      batch[name] = { type, dims, data: BigInt64Array.from({ length: count }, (_, i) => BigInt((i + at) % CLASSES)) };
      continue;
    }
    const each = count / BATCH;
    const noise = numbers(count, 1000 + at, 0.5);
    const data = noise.map((x, i) => x + Math.sin((i % each) * (1 + ((Math.floor(i / each) + at) % CLASSES))));
    batch[name] = { type: 'float32', dims, data };
  }
  return batch;
}
