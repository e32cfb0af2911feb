import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { integerWeightBits } from '../../../main/compression/environment.ts';
import { quantizeWeights } from '../../../main/compression/quantize/qdq.ts';
import { float32Tensor } from '../../../main/onnx/index.ts';

/*
 * x86 without VNNI multiplies u8 by s8 with VPMADDUBSW: products of neighbours are added in 16 bits with saturation before anything goes to
 * 32 bits (Intel SDM vol. 2B). The reference below does just that; the exact sum is what VNNI gives.
 */

const clampTo16 = (x: number): number => Math.max(-32768, Math.min(32767, x));

const pairwise = (activations: ArrayLike<number>, weights: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < weights.length; i += 2) {
    sum += clampTo16(activations[i]! * weights[i]! + (activations[i + 1] ?? 0) * (weights[i + 1] ?? 0));
  }
  return sum;
};

const exact = (activations: ArrayLike<number>, weights: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += activations[i]! * weights[i]!;
  return sum;
};

const quantized = (weights: readonly number[], bits: 7 | 8): Int8Array =>
  quantizeWeights(float32Tensor([1, weights.length, 1, 1], weights), bits).values;

describe('x86 without VNNI', () => {
  it('saturates on bright activations and equal neighbours with 8-bit weights, not with 7-bit ones', () => {
    const weights = [1, 1, -1, -1, 1, 1];
    const bright = [255, 255, 0, 0, 255, 255];
    const eight = quantized(weights, 8);
    expect(pairwise(bright, eight)).toBe(2 * 32767);
    expect(exact(bright, eight)).toBe(4 * 255 * 127);
    const seven = quantized(weights, 7);
    expect(pairwise(bright, seven)).toBe(exact(bright, seven));
    // Behind the scale the sum is what the float weights give.
    expect((exact(bright, seven) / 255) * (1 / 63)).toBeCloseTo(4, 6);
  });

  it('7-bit weights are exact for whatever comes', () => {
    const numbers = fc.array(fc.double({ min: -10, max: 10, noNaN: true }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(numbers, fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 40, maxLength: 40 }), (w, x) => {
        const seven = quantized(w, 7);
        expect(pairwise(x, seven)).toBe(exact(x, seven));
      }),
    );
  });

  it('is told from the processor flags; an unknown x86 counts as one without', () => {
    expect(integerWeightBits(new Set(['avx2']), 'x64')).toBe(7);
    expect(integerWeightBits(new Set(), 'x64')).toBe(7);
    for (const flag of ['avx512_vnni', 'avx_vnni', 'amx_int8']) {
      expect(integerWeightBits(new Set(['avx2', flag]), 'x64')).toBe(8);
    }
    expect(integerWeightBits(new Set(), 'arm64')).toBe(8);
  });
});
