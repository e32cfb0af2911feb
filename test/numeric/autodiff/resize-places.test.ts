import { describe, expect, it } from 'vitest';
import { float32Tensor, int64Tensor, type ConstTensor } from '../../../main/onnx/index.ts';
import { prepare, variable, type GradientCase } from './gradient-case.ts';
import { runInOrt } from './ort.ts';

/** Positions that in exact arithmetic lie on the border between two pixels, or on a pixel. */
const borders: readonly (readonly [string, number, number, string, ConstTensor])[] = [
  ['half_pixel', 4, 2, 'floor', float32Tensor([3], [1, 1, 0.6])],
  ['half_pixel', 14, 17, 'round_prefer_floor', int64Tensor([3], [1, 1, 17])],
  ['half_pixel', 18, 21, 'round_prefer_ceil', int64Tensor([3], [1, 1, 21])],
  ['asymmetric', 14, 4, 'floor', int64Tensor([3], [1, 1, 4])],
  ['asymmetric', 7, 34, 'round_prefer_floor', int64Tensor([3], [1, 1, 34])],
  ['asymmetric', 14, 34, 'ceil', int64Tensor([3], [1, 1, 34])],
  ['asymmetric', 7, 4, 'round_prefer_ceil', int64Tensor([3], [1, 1, 4])],
  ['half_pixel', 4, 4, 'floor', float32Tensor([3], [1, 1, 1.2])],
  ['align_corners', 7, 5, 'round_prefer_floor', int64Tensor([3], [1, 1, 5])],
];

describe('nearest takes its gradient to the pixel that the runtime showed', () => {
  it.each(borders)('%s, %i to %i, %s', async (mode, from, to, nearest, size) => {
    const scaled = size.type === 'float32';
    const entry: GradientCase = {
      op: 'Resize',
      inputs: [variable([1, 1, from]), null, ...(scaled ? [size] : [null, size])],
      attributes: { mode: 'nearest', coordinate_transformation_mode: mode, nearest_mode: nearest },
    };
    const prepared = prepare(entry);
    const seed = prepared.seeds.get('y0')!;
    const found = await runInOrt(prepared.backward, { ...prepared.feeds, [seed.name]: seed.tensor });
    const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, item, i) => sum + item * b[i]!, 0);
    expect(found.get('y0')!.dims).toEqual([1, 1, to]);
    // Y = R X and dX = R^T dY, so dY Y = dX X.
    const gradient = found.get(prepared.gradients.get('x0')!) ?? seed.tensor;
    const backward = dot(gradient.data, prepared.feeds['x0']!.data);
    expect(backward).toBeCloseTo(dot(seed.tensor.data, found.get('y0')!.data), 4);
  });
});
