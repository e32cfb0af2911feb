import { describe, expect, it } from 'vitest';
import { graph, int64Tensor, mapBehindPooling, model, node, value, type Node } from '../../../main/onnx/index.ts';

const behind = (pool: Node, shape: number[]) =>
  mapBehindPooling(
    model(
      graph({
        inputs: [value('map', 'float32', shape)],
        outputs: [value('features', 'float32', null)],
        nodes: [pool, node('Flatten', ['pooled'], ['features'])],
        initializers: {
          axes: int64Tensor([2], [-1, 2]),
          tokens: int64Tensor([1], [1]),
          last: int64Tensor([2], [1, 2]),
        },
      }),
      { opset: 18 },
    ),
    'features',
  );

describe('the map behind a pool', () => {
  it('is found where the mean is over the positions of a map whose channels come first', () => {
    const map = { map: 'map', factor: null };
    expect(behind(node('GlobalAveragePool', ['map'], ['pooled']), [1, 8, 4, 4])).toEqual(map);
    expect(behind(node('ReduceMean', ['map', 'axes'], ['pooled']), [1, 8, 4, 4])).toEqual(map);
    expect(behind(node('ReduceMean', ['map'], ['pooled'], { axes: [3, 2] }), [1, 8, 4, 4])).toEqual(map);
  });

  it('is none for a mean over tokens, over a map whose channels come last, or over everything', () => {
    expect(behind(node('ReduceMean', ['map', 'tokens'], ['pooled']), [1, 16, 8])).toBeNull();
    expect(behind(node('ReduceMean', ['map', 'last'], ['pooled']), [1, 4, 4, 8])).toBeNull();
    expect(behind(node('ReduceMean', ['map'], ['pooled'], { axes: [1] }), [1, 16, 8])).toBeNull();
    expect(behind(node('ReduceMean', ['map'], ['pooled']), [1, 8, 4, 4])).toBeNull();
  });
});
