/* A real, tiny backbone: two convolutions with fixed random weights, pooled at two stages. Runs in a millisecond. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { Backbone } from '../../../main/contract/domain.ts';
import { encodeModel, float32Tensor, graph, model, node, value } from '../../../main/onnx/index.ts';
import { randomOf } from './synthetic.ts';

export async function writeTinyBackbone(
  file: string,
  options: { opset?: number; id?: string; negative?: boolean } = {},
): Promise<Backbone> {
  const random = randomOf(11);
  const weights = (dims: number[], scale: number) =>
    float32Tensor(
      dims,
      Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => scale * (random() - 0.5)),
    );
  const last = options.negative ? 'LeakyRelu' : 'Relu';
  const bytes = encodeModel(
    model(
      graph({
        nodes: [
          node('Conv', ['x', 'w1'], ['c1'], { strides: [4, 4], kernel_shape: [5, 5] }),
          node('Relu', ['c1'], ['map1']),
          node('Conv', ['map1', 'w2'], ['c2'], { strides: [2, 2], kernel_shape: [3, 3] }),
          node(last, ['c2'], ['map2']),
          node('GlobalAveragePool', ['map2'], ['mean2']),
          node('Flatten', ['mean2'], ['pooled2'], { axis: 1 }),
        ],
        inputs: [value('x', 'float32', ['N', 3, 'H', 'W'])],
        outputs: [value('map1', 'float32', null), value('pooled2', 'float32', ['N', 20])],
        initializers: { w1: weights([12, 3, 5, 5], 0.6), w2: weights([20, 12, 3, 3], 0.6) },
      }),
      { opset: options.opset ?? 17 },
    ),
  );
  await writeFile(file, bytes);
  return {
    id: options.id ?? 'tiny',
    sha256: createHash('sha256').update(bytes).digest('hex'),
    file,
    inputName: 'x',
    inputSize: 32,
    dynamicSize: true,
    mean: [127.5, 127.5, 127.5],
    std: [127.5, 127.5, 127.5],
    featureOutputs: [
      { name: 'map1', channels: 12, kind: 'map' },
      { name: 'pooled2', channels: 20, kind: 'pooled' },
    ],
    features: 32,
    macs: 1,
    params: 1,
    source: 'test',
    licence: 'Apache-2.0',
  };
}
