import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Region } from '../../../main/contract/domain.ts';
import type { PixelImage } from '../../../main/vision/image.ts';
import { createPreprocessor } from '../../../main/vision/preprocess.ts';

/** The definition, written out: two-dimensional triangle filter in float64, every weight computed on the spot. */
function naive(image: PixelImage, region: Region, size: number, mean: number[], std: number[]): Float64Array {
  const weights = (length: number, i: number) => {
    const scale = length / size;
    const support = Math.max(1, scale);
    const centre = (i + 0.5) * scale;
    const all = Array.from({ length }, (_, x) => {
      const inWindow = x >= Math.trunc(centre - support + 0.5) && x < Math.trunc(centre + support + 0.5);
      return inWindow ? Math.max(0, 1 - Math.abs((x + 0.5 - centre) / support)) : 0;
    });
    const total = all.reduce((a, b) => a + b, 0);
    return all.map((w) => w / total);
  };
  const out = new Float64Array(3 * size * size);
  for (let y = 0; y < size; y += 1) {
    const wy = weights(region.height, y);
    for (let x = 0; x < size; x += 1) {
      const wx = weights(region.width, x);
      for (let c = 0; c < 3; c += 1) {
        let sum = 0;
        for (let v = 0; v < region.height; v += 1) {
          if (wy[v] === 0) continue;
          for (let u = 0; u < region.width; u += 1) {
            if (wx[u] === 0) continue;
            const p = ((region.y + v) * image.width + region.x + u) * image.channels;
            sum += wy[v]! * wx[u]! * image.data[p + (image.channels === 3 ? c : 0)]!;
          }
        }
        out[(c * size + y) * size + x] = (sum - mean[c]!) / std[c]!;
      }
    }
  }
  return out;
}

const noise = (width: number, height: number, channels: 1 | 3, seed: number): PixelImage => {
  let state = seed + 1;
  const data = Uint8Array.from({ length: width * height * channels }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
  return { width, height, channels, data };
};

const mean: [number, number, number] = [123.675, 116.28, 103.53];
const std: [number, number, number] = [58.395, 57.12, 57.375];

describe('resizing and normalising', () => {
  it('is the triangle filter, for any size, region and number of channels', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 90 }),
        fc.integer({ min: 1, max: 90 }),
        fc.constantFrom<1 | 3>(1, 3),
        fc.integer({ min: 1, max: 17 }),
        fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
        fc.boolean(),
        (width, height, channels, size, [left, top], alike) => {
          const image = noise(width, height, channels, width * 91 + height);
          const x = Math.min(width - 1, Math.floor(left * width));
          const y = Math.min(height - 1, Math.floor(top * height));
          const region = { x, y, width: width - x, height: height - y };
          const m: typeof mean = alike ? [127.5, 127.5, 127.5] : mean;
          const s: typeof std = alike ? [127.5, 127.5, 127.5] : std;
          const out = new Float32Array(3 * size * size + 5).fill(7);
          createPreprocessor({ size, mean: m, std: s }).into(image, region, out, 2);
          const want = naive(image, region, size, m, s);
          for (let i = 0; i < want.length; i += 1) expect(Math.abs(out[i + 2]! - want[i]!)).toBeLessThan(3e-4);
          expect([out[0], out[1], ...out.subarray(out.length - 3)]).toEqual([7, 7, 7, 7, 7]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('takes the measured shape, 512 x 512 to 224 x 224, like the definition', () => {
    const image = noise(512, 512, 1, 5);
    const m: typeof mean = [127.5, 127.5, 127.5];
    const out = new Float32Array(3 * 224 * 224);
    createPreprocessor({ size: 224, mean: m, std: m }).into(image, null, out, 0);
    // Two rows of the definition are enough: it takes its time.
    const want = naive(
      { ...image, height: 16, data: image.data.subarray(0, 16 * 512) },
      { x: 0, y: 0, width: 512, height: 16 },
      7,
      m,
      m,
    );
    const small = new Float32Array(3 * 49);
    createPreprocessor({ size: 7, mean: m, std: m }).into(image, { x: 0, y: 0, width: 512, height: 16 }, small, 0);
    want.forEach((value, i) => expect(Math.abs(small[i]! - value)).toBeLessThan(2e-4));
    expect(out.subarray(0, 224 * 224)).toEqual(out.subarray(2 * 224 * 224));
  });

  it('keeps an even grey even, whatever the size', () => {
    for (const width of [3, 224, 500, 511, 20_000]) {
      const image: PixelImage = { width, height: 40, channels: 1, data: new Uint8Array(width * 40).fill(100) };
      const out = new Float32Array(3 * 32 * 32);
      createPreprocessor({ size: 32, mean: [0, 0, 0], std: [1, 1, 1] }).into(image, null, out, 0);
      for (const value of out) expect(value).toBeCloseTo(100, 4);
    }
  });

  it('gives grey and the same grey as colour the same numbers', () => {
    const grey = noise(61, 47, 1, 3);
    const colour: PixelImage = {
      ...grey,
      channels: 3,
      data: Uint8Array.from({ length: grey.data.length * 3 }, (_, i) => grey.data[Math.trunc(i / 3)]!),
    };
    const preprocessor = createPreprocessor({ size: 24, mean, std });
    const a = new Float32Array(preprocessor.length);
    const b = new Float32Array(preprocessor.length);
    preprocessor.into(grey, null, a, 0);
    preprocessor.into(colour, null, b, 0);
    a.forEach((value, i) => expect(value).toBeCloseTo(b[i]!, 5));
  });

  it('refuses a region outside the image: that is a bug of the caller', () => {
    const preprocessor = createPreprocessor({ size: 8, mean, std });
    const out = new Float32Array(preprocessor.length);
    expect(() => preprocessor.into(noise(10, 10, 1, 1), { x: 5, y: 0, width: 6, height: 10 }, out, 0)).toThrow(
      /inside/,
    );
    expect(() => preprocessor.into(noise(10, 10, 1, 1), null, out, 1)).toThrow(/holds/);
  });
});

// 1,680 weights of 16 fractional bits: within 0.03 of a grey level.
it('takes pictures larger than its memory band, tiles anywhere in them, and changing sizes in turn', () => {
  const tall = noise(700, 4200, 1, 9);
  const preprocessor = createPreprocessor({ size: 5, mean, std });
  const out = new Float32Array(preprocessor.length);
  const small = noise(20, 30, 3, 4);
  for (const [image, region] of [
    [tall, { x: 0, y: 0, width: 700, height: 4200 }],
    [tall, { x: 650, y: 4100, width: 50, height: 100 }],
    [small, { x: 3, y: 2, width: 17, height: 11 }],
    [tall, { x: 1, y: 0, width: 3, height: 4200 }],
    [noise(1, 1, 1, 1), { x: 0, y: 0, width: 1, height: 1 }],
  ] as const) {
    preprocessor.into(image, region, out, 0);
    naive(image, region, 5, mean, std).forEach((value, i) => expect(Math.abs(out[i]! - value)).toBeLessThan(5e-4));
  }
});
