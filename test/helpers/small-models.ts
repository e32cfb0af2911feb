import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { modelCardSchema, type ModelCard } from '../../main/contract/domain.ts';
import {
  decodeModel,
  encodeModel,
  float32Tensor,
  graph,
  model,
  node,
  selectOutputs,
  value,
  withGraph,
  addNodes,
  setOutputs,
  setInitializers,
  renameValue,
  int64Tensor,
} from '../../main/onnx/index.ts';

export interface SmallModel {
  bytes: Uint8Array;
  card: ModelCard;
}

const cardOf = (bytes: Uint8Array, over: Partial<ModelCard> & Pick<ModelCard, 'inputSize' | 'classes'>): ModelCard =>
  modelCardSchema.parse({
    format: 1,
    id: 'm-test',
    createdAt: '2026-01-02T03:04:05.000Z',
    demo: false,
    stationId: null,
    backboneId: 'test',
    backboneSha256: 'a'.repeat(64),
    knowledgeId: null,
    modelSha256: createHash('sha256').update(bytes).digest('hex'),
    mean: [127.5, 127.5, 127.5],
    std: [127.5, 127.5, 127.5],
    temperature: 1,
    thresholds: { ok: 0.8, ng: 0.6, novelty: 0.9 },
    strategy: 'none',
    precision: 'fp32',
    recipe: null,
    ...over,
  });

/**
 * Judges by brightness: a mean grey around 128 is ok, brighter 'bright', darker 'dark'; nearly black or white is novel (mean of
 * |x| above 0.9), and between ok and ng it is unsure. Small enough to be built on the spot.
 */
export function brightnessModel(over: Partial<ModelCard> = {}): SmallModel {
  const built = model(
    graph({
      inputs: [value('image', 'float32', ['N', 3, 32, 32])],
      outputs: [value('logits', 'float32', ['N', 3]), value('novelty', 'float32', ['N'])],
      nodes: [
        node('GlobalAveragePool', ['image'], ['pooled']),
        node('Flatten', ['pooled'], ['flat'], { axis: 1 }),
        node('Gemm', ['flat', 'w', 'b'], ['logits'], { transB: 1 }),
        node('Abs', ['image'], ['size']),
        node('ReduceMean', ['size'], ['novelty'], { axes: [1, 2, 3], keepdims: 0 }),
      ],
      initializers: {
        w: float32Tensor([3, 3], [0, 0, 0, 8, 8, 8, -8, -8, -8]),
        b: float32Tensor([3], [3, -3, -3]),
      },
    }),
  );
  const bytes = encodeModel(built);
  return {
    bytes,
    card: cardOf(bytes, {
      inputSize: 32,
      classes: [
        { id: 'ok', names: { en: 'OK', ja: '良品' }, isOk: true },
        { id: 'bright', names: { en: 'Bright', ja: '明るい' }, isOk: false },
        { id: 'dark', names: { en: 'Dark', ja: '暗い' }, isOk: false },
      ],
      ...over,
    }),
  };
}

/** MobileNetV2 0.35 at 224 px (58 MMACs) under a head of made-up weights: the size of a real compressed model, for timing. */
export function mobilenetModel(modelsDir: string, over: Partial<ModelCard> = {}): SmallModel {
  const base = selectOutputs(decodeModel(new Uint8Array(readFileSync(join(modelsDir, 'mobilenet_v2_0.35_224.onnx')))), [
    'features',
  ]);
  const classes = 8;
  const weights = Float32Array.from({ length: classes * 1280 }, (_, i) => Math.sin(i * 12.9898) * 0.05);
  let g = base.graph;
  g = setInitializers(g, { head_w: float32Tensor([classes, 1280], weights), head_shape: int64Tensor([2], [-1, 1280]) });
  g = addNodes(g, [
    node('Reshape', ['features', 'head_shape'], ['head_flat']),
    node('Gemm', ['head_flat', 'head_w'], ['logits'], { transB: 1 }),
    node('ReduceMean', ['head_flat'], ['novelty'], { axes: [1], keepdims: 0 }),
  ]);
  g = setOutputs(g, [value('logits', 'float32', ['N', classes]), value('novelty', 'float32', ['N'])]);
  const input = g.inputs[0]!.name;
  if (input !== 'image') g = renameValue(g, input, 'image');
  const bytes = encodeModel(withGraph(base, g));
  return {
    bytes,
    card: cardOf(bytes, {
      inputSize: 224,
      thresholds: { ok: 0, ng: 0, novelty: 1e9 },
      classes: Array.from({ length: classes }, (_, i) => ({
        id: `c${i}`,
        names: { en: `c${i}`, ja: `c${i}` },
        isOk: i === 0,
      })),
      ...over,
    }),
  };
}
