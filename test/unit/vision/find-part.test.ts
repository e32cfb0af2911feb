import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finderSchema, recipeSchema, type Region } from '../../../main/contract/domain.ts';
import { renderPart } from '../../../main/capture/simulated/render.ts';
import { findPart, moved, teachTemplate } from '../../../main/vision/find-part.ts';
import type { PixelImage } from '../../../main/vision/image.ts';
import { planTiles } from '../../../main/vision/tiles.ts';

/** A part on an empty belt: a rendered board, laid at a place, under a lamp. */
const board = renderPart({ surface: 'printed-board', seed: 3, index: 1, defect: null, width: 320, height: 256 }).image;
function onBelt(x0: number, y0: number, light: { gain: number; add: number } = { gain: 1, add: 0 }): PixelImage {
  const [width, height] = [800, 640];
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [u, v] = [x - x0, y - y0];
      const inside = u >= 0 && v >= 0 && u < board.width && v < board.height;
      // An uneven belt, so that its places differ too.
      const belt = 40 + ((x * 7 + y * 13 + ((x * y) >> 5)) % 23);
      const value = inside ? board.data[v * board.width + u]! : belt;
      data[y * width + x] = Math.max(0, Math.min(255, Math.round(value * light.gain + light.add)));
    }
  }
  return { width, height, channels: 1, data };
}
const taughtAt = { x: 240, y: 192 };
const region: Region = { ...taughtAt, width: 320, height: 256 };
const finderOf = (part: Region, search = 180) =>
  finderSchema.parse({
    kind: 'template',
    template: teachTemplate(onBelt(taughtAt.x, taughtAt.y), part),
    searchX: search,
    searchY: search,
  });

describe('the part finder', () => {
  it('finds a part wherever it lies within the search, under any lamp, to a pixel or a quarter of its scale', () => {
    for (const part of [region, { x: 465, y: 330, width: 90, height: 110 }]) {
      const finder = finderOf(part);
      const scale = finder.kind === 'template' ? finder.template.scale : 1;
      fc.assert(
        fc.property(
          fc.integer({ min: -170, max: 170 }),
          fc.integer({ min: -170, max: 170 }),
          fc.record({ gain: fc.double({ min: 0.6, max: 1.2, noNaN: true }), add: fc.integer({ min: -10, max: 30 }) }),
          (dx, dy, light) => {
            const found = findPart(finder, onBelt(taughtAt.x + dx, taughtAt.y + dy, light));
            expect(Math.abs(found.x - dx)).toBeLessThanOrEqual(Math.max(1, scale / 4));
            expect(Math.abs(found.y - dy)).toBeLessThanOrEqual(Math.max(1, scale / 4));
          },
        ),
        { numRuns: 20 },
      );
    }
  });

  it('finds a part where it was taught, also at the edge of the frame and close to it', () => {
    const edges: Region[] = [
      { x: 0, y: 0, width: 320, height: 256 },
      { x: 0, y: 100, width: 300, height: 300 },
      { x: 480, y: 384, width: 320, height: 256 },
      { x: 3, y: 2, width: 320, height: 256 },
      { x: 3, y: 3, width: 794, height: 634 },
    ];
    for (const part of edges) {
      const frame = onBelt(part.x, part.y);
      const template = teachTemplate(frame, part);
      expect(template.scale).toBeGreaterThan(1);
      const finder = finderSchema.parse({ kind: 'template', template, searchX: 60, searchY: 60 });
      const shift = findPart(finder, frame);
      expect(shift).toEqual({ x: 0, y: 0 });
      expect(moved(part, shift, frame)).toEqual(part);
    }
  });

  it('says that there is no part rather than take the belt, an even picture or another part for it', () => {
    const finder = finderOf(region);
    const lost = expect.objectContaining({ code: 'PART_NOT_FOUND' });
    const even = { ...onBelt(0, 0), data: new Uint8Array(800 * 640).fill(90) };
    for (const frame of [onBelt(2_000, 0), even]) expect(() => findPart(finder, frame)).toThrow(lost);
    // Beyond the search, and out of the frame.
    expect(() => findPart(finderOf(region, 40), onBelt(taughtAt.x + 150, taughtAt.y + 120))).toThrow(lost);
    expect(() => moved(region, { x: 300, y: 0 }, { width: 800, height: 640 })).toThrow(lost);
  });

  it('moves the tiles of a recipe with the part; without regions the template itself is judged', () => {
    const finder = finderOf(region);
    const recipe = recipeSchema.parse({ finder, tiles: { columns: 2, rows: 2 } });
    const tiles = planTiles(recipe, 800, 640);
    expect(tiles[0]).toEqual({ ...taughtAt, width: 160, height: 128 });
    const frame = onBelt(taughtAt.x + 61, taughtAt.y - 37);
    const shift = findPart(finder, frame);
    expect(moved(tiles[3]!, shift, frame)).toEqual({
      x: taughtAt.x + 160 + shift.x,
      y: taughtAt.y + 128 + shift.y,
      width: 160,
      height: 128,
    });
    const aside = recipeSchema.parse({ finder: { kind: 'trigger-offset', x: 20, y: -5 } });
    expect(findPart(aside.finder, frame)).toEqual({ x: 20, y: -5 });
    expect(() => planTiles(aside, 800, 640)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }));
  });

  it('refuses a template of nothing, outside, or with a lie about its size', () => {
    const invalid = expect.objectContaining({ code: 'INVALID_INPUT' });
    const even = { ...onBelt(0, 0), data: new Uint8Array(800 * 640).fill(90) };
    expect(() => teachTemplate(even, region)).toThrow(invalid);
    expect(() => teachTemplate(onBelt(0, 0), { ...region, x: 700 })).toThrow(invalid);
    expect(() => teachTemplate(onBelt(0, 0), { x: 0, y: 0, width: 800, height: 20 })).toThrow(invalid);
    const { template } = finderOf(region) as Extract<ReturnType<typeof finderOf>, { kind: 'template' }>;
    expect(() =>
      finderSchema.parse({ kind: 'template', template: { ...template, width: template.width - 1 } }),
    ).toThrow();
  });
});
