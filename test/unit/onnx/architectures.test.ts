import { describe, expect, it } from 'vitest';
import {
  architectures,
  buildNetwork,
  float32Of,
  inferShapes,
  modelCost,
  requireSupportedOps,
} from '../../../main/onnx/index.ts';

const standard = { classes: 1000, size: 224, seed: 1 };

describe('networks built here', () => {
  // Parameter counts as torchvision and timm state them for 1000 classes.
  it.each([
    ['mobilenet_v2', 3_504_872],
    ['mobilenet_v3_small', 2_542_856],
    ['efficientnet_lite0', 4_652_008],
    ['resnet18', 11_689_512],
    ['deit_tiny', 5_717_416],
  ] as const)('%s has %i parameters', (architecture, params) => {
    expect(modelCost(buildNetwork(architecture, standard), [1, 3, 224, 224]).params).toBe(params);
  });

  it.each(architectures)('%s: shapes follow, also with a fixed batch, and operators are supported', (architecture) => {
    const options = { classes: 7, size: 64, seed: 3, width: 0.5, transformer: { depth: 2 } };
    const net = buildNetwork(architecture, options);
    expect(inferShapes(net).get('logits')!.shape).toEqual(['N', 7]);
    expect(inferShapes(buildNetwork(architecture, { ...options, batch: 4 })).get('logits')!.shape).toEqual([4, 7]);
    expect(() => requireSupportedOps(net)).not.toThrow();
  });

  it('are the same for the same seed, others for another', () => {
    const weight = (seed: number) =>
      float32Of(
        buildNetwork('resnet18', { classes: 3, size: 64, seed, width: 0.25 }).graph.initializers.get(
          'layer1.0.conv1.weight',
        )!,
      );
    expect(weight(5)).toEqual(weight(5));
    expect(weight(5)).not.toEqual(weight(6));
  });

  it('start as torch does: convolutions by fan-out, the classifier by fan-in', () => {
    const { initializers } = buildNetwork('resnet18', { classes: 100, size: 64, seed: 2 }).graph;
    const conv = float32Of(initializers.get('layer3.0.conv2.weight')!);
    const deviation = Math.sqrt(conv.reduce((sum, x) => sum + x * x, 0) / conv.length);
    expect(deviation / Math.sqrt(2 / (256 * 9))).toBeCloseTo(1, 2);
    const fc = float32Of(initializers.get('fc.weight')!);
    expect(Math.max(...fc.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(512));
    expect(Math.max(...fc.map(Math.abs))).toBeGreaterThan(0.99 / Math.sqrt(512));
    expect(float32Of(initializers.get('layer3.0.bn2.running_var')!).every((x) => x === 1)).toBe(true);
  });

  it('name parameters as their state dictionaries do', () => {
    const keys = [...buildNetwork('mobilenet_v2', { ...standard, size: 32 }).graph.initializers.keys()];
    for (const key of [
      'features.0.0.weight',
      'features.1.conv.0.0.weight',
      'features.1.conv.1.weight',
      'features.2.conv.3.running_mean',
      'features.18.1.bias',
      'classifier.1.weight',
    ]) {
      expect(keys).toContain(key);
    }
  });
});
