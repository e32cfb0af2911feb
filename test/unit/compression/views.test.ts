import { describe, expect, it } from 'vitest';
import { affordableViews, displaced, MOST_VIEWS } from '../../../main/compression/plan/views.ts';

const image = { width: 200, height: 100, channels: 1 as const, data: new Uint8Array(20_000) };

describe('views of an image with the part a little elsewhere', () => {
  it('are the image itself and two opposite corners', async () => {
    const source = { view: async () => ({ image, region: null }) };
    expect((await displaced(source, 0).view(0)).region).toBeNull();
    const regions = await Promise.all([1, 2].map(async (view) => (await displaced(source, view).view(0)).region));
    const size = { width: 188, height: 94 };
    expect(regions).toEqual([
      { x: 0, y: 0, ...size },
      { x: 12, y: 6, ...size },
    ]);
  });

  it('stay within the section of the part', async () => {
    const region = { x: 50, y: 20, width: 3, height: 60 };
    const source = { view: async () => ({ image, region }) };
    for (let view = 1; view < MOST_VIEWS; view++) {
      const { x, y, width, height } = (await displaced(source, view).view(0)).region!;
      expect(width).toBeGreaterThanOrEqual(1);
      expect(x).toBeGreaterThanOrEqual(50);
      expect(y).toBeGreaterThanOrEqual(20);
      expect(x + width).toBeLessThanOrEqual(53);
      expect(y + height).toBeLessThanOrEqual(80);
    }
  });

  it('are as many as the time allows, one at least', () => {
    expect(affordableViews(450_000, 8_000)).toBe(3);
    expect(affordableViews(54_000, 4_000)).toBe(2);
    expect(affordableViews(10_000, 4_000)).toBe(1);
    expect(affordableViews(10_000, 0)).toBe(3);
  });
});
