import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { recipeSchema } from '../../../main/contract/domain.ts';
import type { PixelImage } from '../../../main/vision/image.ts';
import { planTiles, rotate } from '../../../main/vision/tiles.ts';

describe('planTiles', () => {
  it('takes the whole frame without regions', () => {
    expect(planTiles(recipeSchema.parse({}), 640, 480)).toEqual([{ x: 0, y: 0, width: 640, height: 480 }]);
  });

  it('covers every pixel of every region and stays inside', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1, max: 7 }),
        fc.double({ min: 0, max: 0.5, noNaN: true }),
        (width, height, columns, rows, overlap) => {
          const tiles = planTiles(recipeSchema.parse({ tiles: { columns, rows, overlap } }), width, height);
          expect(tiles).toHaveLength(columns * rows);
          const seen = new Uint8Array(width * height);
          for (const tile of tiles) {
            expect(tile.x + tile.width).toBeLessThanOrEqual(width);
            expect(tile.y + tile.height).toBeLessThanOrEqual(height);
            for (let y = tile.y; y < tile.y + tile.height; y += 1)
              seen.fill(1, y * width + tile.x, y * width + tile.x + tile.width);
          }
          expect(seen.every((value) => value === 1)).toBe(true);
        },
      ),
    );
  });

  it('overlaps by the given share', () => {
    const [a, b] = planTiles(recipeSchema.parse({ tiles: { columns: 2, rows: 1, overlap: 0.5 } }), 300, 100);
    expect([a, b]).toEqual([
      { x: 0, y: 0, width: 200, height: 100 },
      { x: 100, y: 0, width: 200, height: 100 },
    ]);
  });

  it('clips a region that sticks out and refuses one that is outside', () => {
    const recipe = (x: number) => recipeSchema.parse({ regions: [{ x, y: 0, width: 50, height: 50 }] });
    expect(planTiles(recipe(80), 100, 30)).toEqual([{ x: 80, y: 0, width: 20, height: 30 }]);
    expect(() => planTiles(recipe(100), 100, 30)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }));
  });
});

describe('rotate', () => {
  const image: PixelImage = { width: 3, height: 2, channels: 1, data: new Uint8Array([1, 2, 3, 4, 5, 6]) };
  it('turns clockwise', () => {
    expect(rotate(image, 90)).toEqual({ width: 2, height: 3, channels: 1, data: new Uint8Array([4, 1, 5, 2, 6, 3]) });
    expect(rotate(image, 180).data).toEqual(new Uint8Array([6, 5, 4, 3, 2, 1]));
    expect(rotate(image, 270).data).toEqual(new Uint8Array([3, 6, 2, 5, 1, 4]));
    expect(rotate(image, 0)).toBe(image);
  });
  it('comes round after four quarters, in colour too', () => {
    const colour: PixelImage = { width: 3, height: 2, channels: 3, data: Uint8Array.from({ length: 18 }, (_, i) => i) };
    let turned = colour;
    for (let i = 0; i < 4; i += 1) turned = rotate(turned, 90);
    expect(turned).toEqual(colour);
    expect(rotate(rotate(colour, 90), 180)).toEqual(rotate(colour, 270));
  });
});
