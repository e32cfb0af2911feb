import { describe, expect, it } from 'vitest';
import { float32Tensor } from '../../../main/onnx/index.ts';
import { isAppError } from '../../../main/contract/errors.ts';
import { prepare, variable as v, type GradientCase } from './gradient-case.ts';

const twice = float32Tensor([4], [1, 1, 2, 2]);

const refused: readonly (readonly [string, GradientCase, RegExp])[] = [
  ['cubic', { op: 'Resize', inputs: [v([1, 1, 4, 4]), null, twice], attributes: { mode: 'cubic' } }, /cubic/],
  [
    'coordinates of an old opset',
    {
      op: 'Resize',
      inputs: [v([1, 1, 4, 4]), null, twice],
      attributes: { coordinate_transformation_mode: 'tf_half_pixel_for_nn' },
    },
    /tf_half_pixel_for_nn/,
  ],
  [
    'antialias',
    { op: 'Resize', inputs: [v([1, 1, 4, 4]), null, twice], attributes: { mode: 'linear', antialias: 1 }, opset: 18 },
    /antialias/,
  ],
  ['ellipsis', { op: 'Einsum', inputs: [v([2, 3])], attributes: { equation: '...i->i...' } }, /ellipsis/],
  ['repeated label', { op: 'Einsum', inputs: [v([3, 3])], attributes: { equation: 'ii->i' } }, /repeated/],
  ['no row in the table', { op: 'ReduceProd', inputs: [v([3, 3])] }, /no gradient rule/],
];

describe('what has no gradient is named', () => {
  it.each(refused)('%s', (_name, entry, words) => {
    let thrown: unknown;
    try {
      prepare(entry);
    } catch (error) {
      thrown = error;
    }
    expect(isAppError(thrown, 'UNSUPPORTED_OP')).toBe(true);
    if (!isAppError(thrown)) return;
    expect(thrown.details).toMatchObject({ op: entry.op, opset: entry.opset ?? 17, node: 'tried' });
    expect(thrown.message).toMatch(words);
  });
});
