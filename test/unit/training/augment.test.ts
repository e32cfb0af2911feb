import { describe, expect, it } from 'vitest';
import { isAppError } from '../../../main/contract/errors.ts';
import {
  augmentPixels,
  augmentPlanes,
  checkAugmentation,
  mixRows,
  planAugmentation,
  randomOf,
  type Augmentation,
  type AugmentationPlan,
} from '../../../main/vision/augment/index.ts';
import type { PixelImage } from '../../../main/vision/image.ts';

/** 4 x 3, every pixel another value. */
const small = (channels: 1 | 3): PixelImage => ({
  width: 4,
  height: 3,
  channels,
  data: Uint8Array.from({ length: 12 * channels }, (_, i) => i * 5),
});
const pixel = ({ width, channels, data }: PixelImage, x: number, y: number) =>
  Array.from(data.subarray((y * width + x) * channels, (y * width + x + 1) * channels));
const nothing = planAugmentation({}, randomOf(1));
const plan = (over: Partial<AugmentationPlan>): AugmentationPlan => ({ ...nothing, ...over });

describe('seeded numbers', () => {
  it('repeat for the same keys and differ for any other', () => {
    const draw = (...keys: number[]) => randomOf(...keys).next();
    expect(draw(1, 2, 3)).toBe(draw(1, 2, 3));
    const all = [draw(1, 2, 3), draw(1, 2, 4), draw(1, 3, 2), draw(2, 1, 3), draw(3, 2, 1), draw(1, 2)];
    expect(new Set(all).size).toBe(all.length);
  });
  it('are even over neighbouring keys', () => {
    const values = Array.from({ length: 4000 }, (_, i) => randomOf(7, 0, i).next());
    expect(values.reduce((sum, x) => sum + x, 0) / 4000).toBeCloseTo(0.5, 1);
    const tenths = Array.from({ length: 10 }, (_, t) => values.filter((x) => Math.floor(x * 10) === t).length);
    for (const count of tenths) expect(Math.abs(count - 400)).toBeLessThan(100);
  });
  it('mix evenly with alpha 1, and mostly not at all with a small alpha', () => {
    const shares = (alpha: number) =>
      Array.from({ length: 2000 }, (_, i) => planAugmentation({ mixup: alpha }, randomOf(3, i)).mixup);
    const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
    for (const alpha of [0.2, 1, 4]) expect(mean(shares(alpha))).toBeCloseTo(0.5, 1);
    // Variance of Beta(a, a): 1 / (4 (2a + 1)).
    for (const alpha of [0.2, 1, 4]) {
      const variance = mean(shares(alpha).map((x) => (x - 0.5) ** 2));
      expect(variance * 4 * (2 * alpha + 1)).toBeCloseTo(1, 0);
      expect(Math.abs(variance * 4 * (2 * alpha + 1) - 1)).toBeLessThan(0.12);
    }
  });
});

describe('plans', () => {
  it('do nothing when all is off', () => {
    const image = small(3);
    expect(augmentPixels(image, nothing)).toEqual({ image, region: null });
    expect(augmentPixels(image, nothing).image).toBe(image);
    const data = Float32Array.from({ length: 12 }, (_, i) => i / 10);
    augmentPlanes({ data, offset: 0, size: 2, mean: [0, 0, 0], std: [1, 1, 1] }, nothing);
    expect(data).toEqual(Float32Array.from({ length: 12 }, (_, i) => i / 10));
    expect(nothing.mixup).toBe(1);
  });
  it('stay within their strengths, reach both ends, and one effect does not change another', () => {
    const full: Augmentation = {
      flipHorizontal: 0.5,
      rotateDegrees: 10,
      crop: 0.4,
      brightness: 0.2,
      contrast: 0.3,
      blur: 2,
      cutout: 0.5,
    };
    const plans = Array.from({ length: 500 }, (_, i) => planAugmentation(full, randomOf(5, 1, i)));
    const range = (of: (p: AugmentationPlan) => number) =>
      [Math.min(...plans.map(of)), Math.max(...plans.map(of))] as const;
    const spans = [
      [range((p) => p.degrees), -10, 10],
      [range((p) => p.crop.side), 0.6, 1],
      [range((p) => p.brightness), -51, 51],
      [range((p) => p.contrast), 0.7, 1.3],
      [range((p) => p.blurSigma), 0, 2],
      [range((p) => p.cutout.side), 0, 0.5],
    ] as const;
    for (const [[least, most], low, high] of spans) {
      expect(least).toBeGreaterThanOrEqual(low);
      expect(most).toBeLessThanOrEqual(high);
      expect(most - least).toBeGreaterThan(0.9 * (high - low));
    }
    expect(plans.filter((p) => p.flipHorizontal).length / 500).toBeCloseTo(0.5, 1);
    const { blur: _, ...without } = full;
    const again = planAugmentation(without, randomOf(5, 1, 3));
    expect({ ...again, blurSigma: plans[3]!.blurSigma }).toEqual(plans[3]);
  });
  it('turn by quarter turns as often as asked, each of the three', () => {
    const turns = Array.from({ length: 600 }, (_, i) => planAugmentation({ quarterTurns: 0.5 }, randomOf(9, i)).turn);
    for (const [turn, share] of [
      [0, 0.5],
      [90, 1 / 6],
      [180, 1 / 6],
      [270, 1 / 6],
    ] as const) {
      expect(Math.abs(turns.filter((t) => t === turn).length / 600 - share)).toBeLessThan(0.06);
    }
  });
  it('refuse strengths that make no sense', () => {
    for (const bad of [{ crop: 1 }, { blur: -1 }, { contrast: Number.NaN }, { shear: 1 } as Augmentation]) {
      expect(() => checkAugmentation(bad)).toThrow(/augmentation\./);
      try {
        checkAugmentation(bad);
      } catch (error) {
        expect(isAppError(error, 'INVALID_INPUT')).toBe(true);
      }
    }
    checkAugmentation({ crop: 0.3, mixup: 0.2 });
  });
});

describe.each([1, 3] as const)('pixels of %i channel(s)', (channels) => {
  const image = small(channels);
  const all = Array.from({ length: 12 }, (_, i) => [i % 4, Math.floor(i / 4)] as const);
  it('mirrors left to right', () => {
    const { image: out } = augmentPixels(image, plan({ flipHorizontal: true }));
    for (const [x, y] of all) expect(pixel(out, x, y)).toEqual(pixel(image, 3 - x, y));
  });
  it('mirrors top to bottom', () => {
    const { image: out } = augmentPixels(image, plan({ flipVertical: true }));
    for (const [x, y] of all) expect(pixel(out, x, y)).toEqual(pixel(image, x, 2 - y));
  });
  it('turns by a quarter clockwise', () => {
    const { image: out } = augmentPixels(image, plan({ turn: 90 }));
    expect([out.width, out.height]).toEqual([3, 4]);
    for (const [x, y] of all) expect(pixel(out, 2 - y, x)).toEqual(pixel(image, x, y));
  });
  it('states a crop as region inside the image', () => {
    const { image: out, region } = augmentPixels(image, plan({ crop: { side: 0.5, x: 1, y: 0 } }));
    expect(out).toBe(image);
    expect(region).toEqual({ x: 2, y: 0, width: 2, height: 2 });
  });
  it('turned by 180 degrees as a small turn is what two flips are', () => {
    const turned = augmentPixels(image, plan({ degrees: 180 })).image;
    expect(turned).toEqual(augmentPixels(image, plan({ flipHorizontal: true, flipVertical: true })).image);
  });
});

describe('small turns', () => {
  /** Bright on the right of the centre, so far from the edge that its mirror image stays outside. */
  const size = 33;
  const spot: PixelImage = { width: size, height: size, channels: 1, data: new Uint8Array(size * size).fill(40) };
  for (let y = 14; y <= 18; y += 1) for (let x = 20; x <= 24; x += 1) spot.data[y * size + x] = 240;
  const centre = ({ data }: PixelImage) => {
    let [sum, x, y] = [0, 0, 0];
    data.forEach((p, i) => {
      const weight = Math.max(0, p - 40);
      sum += weight;
      x += weight * (i % size);
      y += weight * Math.floor(i / size);
    });
    return [x / sum - 16, y / sum - 16] as const;
  };
  it('go clockwise about the centre by the angle', () => {
    const out = augmentPixels(spot, plan({ degrees: 30 })).image;
    const [x, y] = centre(out);
    expect(x).toBeCloseTo(6 * Math.cos(Math.PI / 6), 1);
    expect(y).toBeCloseTo(6 * Math.sin(Math.PI / 6), 1);
  });
  it('leave an even grey even, corners included', () => {
    const grey: PixelImage = { width: 20, height: 12, channels: 1, data: new Uint8Array(240).fill(77) };
    expect(new Set(augmentPixels(grey, plan({ degrees: 33 })).image.data)).toEqual(new Set([77]));
  });
  it('are cut out of the whole image with a crop, not out of the crop', () => {
    const out = augmentPixels(spot, plan({ degrees: 10, crop: { side: 0.5, x: 0.5, y: 0.5 } }));
    expect(out.region).toBeNull();
    const whole = augmentPixels(spot, plan({ degrees: 10 })).image;
    expect([out.image.width, out.image.height]).toEqual([17, 17]);
    for (let y = 0; y < 17; y += 1) {
      for (let x = 0; x < 17; x += 1) expect(pixel(out.image, x, y)).toEqual(pixel(whole, x + 8, y + 8));
    }
  });
});

describe('planes', () => {
  const mean = [120, 110, 100] as const;
  const std = [60, 50, 40] as const;
  const size = 8;
  const of = (grey: (c: number, y: number, x: number) => number) => {
    const data = new Float32Array(2 + 3 * 64);
    for (let c = 0; c < 3; c += 1) {
      for (let i = 0; i < 64; i += 1) data[2 + c * 64 + i] = (grey(c, i >> 3, i & 7) - mean[c]!) / std[c]!;
    }
    return data;
  };
  const grey = (data: Float32Array, c: number, y: number, x: number) =>
    data[2 + c * 64 + y * 8 + x]! * std[c]! + mean[c]!;
  const run = (data: Float32Array, over: Partial<AugmentationPlan>) =>
    augmentPlanes({ data, offset: 2, size, mean, std }, plan(over));

  it('change light in grey levels, the same for every channel, and stay within the range', () => {
    const data = of((_, y) => y * 30);
    run(data, { contrast: 1.5, brightness: 20 });
    for (let c = 0; c < 3; c += 1) {
      for (let y = 0; y < 8; y += 1) {
        const expected = Math.min(255, Math.max(0, (y * 30 - 127.5) * 1.5 + 127.5 + 20));
        expect(grey(data, c, y, 3)).toBeCloseTo(expected, 3);
      }
    }
    expect(Array.from(data.subarray(0, 2))).toEqual([0, 0]);
  });
  it('blur a point into a Gaussian of that sigma, and keep the sum', () => {
    const point = of((c, y, x) => (c === 1 && y === 4 && x === 4 ? 255 : 0));
    run(point, { blurSigma: 0.8 });
    const sum = Array.from({ length: 64 }, (_, i) => grey(point, 1, i >> 3, i & 7)).reduce((a, b) => a + b, 0);
    expect(sum).toBeCloseTo(255, 0);
    expect(grey(point, 1, 4, 5) / grey(point, 1, 4, 4)).toBeCloseTo(Math.exp(-1 / (2 * 0.64)), 3);
    expect(grey(point, 1, 5, 5) / grey(point, 1, 4, 4)).toBeCloseTo(Math.exp(-1 / 0.64), 3);
    expect(grey(point, 0, 4, 4)).toBeCloseTo(0, 3);
  });
  it('cut a square out, set to the mean', () => {
    const data = of(() => 200);
    run(data, { cutout: { side: 0.5, x: 0.5, y: 0.25 } });
    for (let c = 0; c < 3; c += 1) {
      for (let y = 0; y < 8; y += 1) {
        for (let x = 0; x < 8; x += 1) {
          const inside = y < 4 && x >= 2 && x < 6;
          expect(grey(data, c, y, x)).toBeCloseTo(inside ? mean[c]! : 200, 3);
        }
      }
    }
  });
  it('mix each row with the next one by its share', () => {
    const rows = Float32Array.from([1, 10, 2, 20, 4, 40]);
    mixRows(rows, 2, [0.75, 1, 0.5]);
    expect(Array.from(rows)).toEqual([
      0.75 * 1 + 0.25 * 2,
      0.75 * 10 + 0.25 * 20,
      2,
      20,
      0.5 * 4 + 0.5 * 1,
      0.5 * 40 + 0.5 * 10,
    ]);
  });
});
