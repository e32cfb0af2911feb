import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BOXES_AT_MOST } from '../../../main/contract/domain.ts';
import { heatColor } from '../../../renderer/lib/heat-color.ts';
import { apart, asTaken, histogramOf, lineOf, stretched } from '../../../renderer/lib/contrast.ts';
import {
  boxAt,
  boxByKey,
  boxesByKey,
  boxOf,
  cursorOf,
  dragged,
  gripAt,
  movedBy,
  placed,
  wholePicture,
  zoomedAt,
  type Boxes,
} from '../../../renderer/lib/picture.ts';

const frame = { width: 640, height: 480 };
const point = fc.record({
  x: fc.double({ min: -999, max: 999, noNaN: true }),
  y: fc.double({ min: -999, max: 999, noNaN: true }),
});

describe('a box', () => {
  it('lies inside the frame in whole pixels, or is none', () => {
    fc.assert(
      fc.property(point, point, (a, b) => {
        const box = boxOf(a, b, frame);
        if (!box) return;
        expect([box.x, box.y, box.width, box.height].every(Number.isInteger)).toBe(true);
        expect(Math.min(box.x, box.y)).toBeGreaterThanOrEqual(0);
        expect(box.x + box.width).toBeLessThanOrEqual(frame.width);
        expect(box.y + box.height).toBeLessThanOrEqual(frame.height);
      }),
    );
  });

  it('is none when the pointer only slipped', () => {
    expect(boxOf({ x: 10, y: 10 }, { x: 12, y: 40 }, frame)).toBeNull();
  });

  it('can be drawn, moved, sized and taken away by keys alone, and stays inside', () => {
    let box = boxByKey(null, 'Enter', false, frame) ?? null;
    expect(box).toEqual({ x: 224, y: 168, width: 192, height: 144 });
    for (let i = 0; i < 200; i += 1) box = boxByKey(box, 'ArrowRight', false, frame) ?? null;
    expect(box?.x).toBe(frame.width - 192);
    for (let i = 0; i < 200; i += 1) box = boxByKey(box, 'ArrowUp', true, frame) ?? null;
    expect(box?.height).toBe(4);
    expect(boxByKey(box, 'Delete', false, frame)).toBeNull();
    expect(boxByKey(box, 'q', false, frame)).toBeUndefined();
    expect(boxByKey(null, 'ArrowUp', false, frame)).toBeUndefined();
  });

  it('is moved by its inside and sized by the edge that is held, and stays inside', () => {
    const boxes = [
      { x: 100, y: 100, width: 200, height: 100 },
      { x: 250, y: 150, width: 100, height: 100 },
    ];
    const grip = (x: number, y: number, chosen = 0) => gripAt({ boxes, chosen }, { x, y }, 6);
    expect([grip(500, 400), cursorOf(null)]).toEqual([null, null]);
    expect(grip(270, 170)?.box).toBe(1);
    expect([grip(150, 150), grip(298, 198), grip(104, 97), grip(300, 130), grip(200, 203)].map(cursorOf)).toEqual([
      'move',
      'nwse-resize',
      'nwse-resize',
      'ew-resize',
      'ns-resize',
    ]);
    expect(cursorOf(grip(302, 102))).toBe('nesw-resize');
    const pull = (x: number, y: number, by: { x: number; y: number }) =>
      dragged(boxes[0]!, grip(x, y)!.edges, by, frame);
    expect(pull(150, 150, { x: 20.4, y: -10 })).toEqual({ x: 120, y: 90, width: 200, height: 100 });
    expect(pull(150, 150, { x: -900, y: 900 })).toEqual({ x: 0, y: 380, width: 200, height: 100 });
    expect(pull(300, 200, { x: 50, y: -10 })).toEqual({ x: 100, y: 100, width: 250, height: 90 });
    expect(pull(100, 130, { x: 999, y: 5 })).toEqual({ x: 296, y: 100, width: 4, height: 100 });
    expect(pull(102, 101, { x: -200, y: -200 })).toEqual({ x: 0, y: 0, width: 300, height: 200 });
  });

  it('is one of several: set, chosen, moved and taken away by keys, none beyond the most, none outside', () => {
    const press = (from: Boxes, ...keys: string[]): Boxes =>
      keys.reduce((boxes, key) => boxesByKey(boxes, key, false, frame) ?? boxes, from);
    const two = press({ boxes: [], chosen: -1 }, 'Enter', 'Enter');
    expect(two.chosen).toBe(1);
    expect(two.boxes[1]!.x).toBeGreaterThan(two.boxes[0]!.x);
    const moved = press(two, 'PageUp', 'ArrowLeft');
    expect([moved.chosen, moved.boxes[1]]).toEqual([0, two.boxes[1]]);
    expect(moved.boxes[0]!.x).toBeLessThan(two.boxes[0]!.x);
    expect(press(moved, 'Delete')).toEqual({ boxes: [two.boxes[1]], chosen: 0 });
    expect(press(moved, 'Delete', 'Delete')).toEqual({ boxes: [], chosen: -1 });
    expect(boxesByKey({ boxes: [], chosen: -1 }, 'Delete', false, frame)).toBeUndefined();
    const { boxes } = press({ boxes: [], chosen: -1 }, ...Array.from({ length: 100 }, () => 'Enter'));
    expect(boxes).toHaveLength(BOXES_AT_MOST);
    for (const box of boxes) {
      expect(box.x + box.width).toBeLessThanOrEqual(frame.width);
      expect(box.y + box.height).toBeLessThanOrEqual(frame.height);
    }
    expect(boxAt(two.boxes, { x: two.boxes[1]!.x + 1, y: two.boxes[1]!.y + 1 })).toBe(1);
    expect(boxAt(two.boxes, { x: two.boxes[0]!.x, y: two.boxes[0]!.y })).toBe(0);
    expect(boxAt(two.boxes, { x: 0, y: 0 })).toBe(-1);
  });
});

describe('looking at a picture', () => {
  const view = { width: 900, height: 600 };
  const frames = fc.record({
    width: fc.integer({ min: 16, max: 12_000 }),
    height: fc.integer({ min: 16, max: 12_000 }),
  });
  const inView = fc.record({ x: fc.integer({ min: 0, max: 900 }), y: fc.integer({ min: 0, max: 600 }) });

  it('shows the whole of it first, in the middle', () => {
    const { left, top, size, seen } = placed(wholePicture, { width: 400, height: 400 }, view);
    expect([left, top, size.width, size.height]).toEqual([150, 0, 600, 600]);
    expect(seen).toEqual({ x: 0, y: 0, width: 1, height: 1 });
  });

  it('leaves no gap and stays between the whole and single pixels, however it is turned and pushed', () => {
    fc.assert(
      fc.property(
        frames,
        fc.array(fc.tuple(fc.double({ min: 0.2, max: 8, noNaN: true }), inView, point)),
        (size, steps) => {
          let look = wholePicture;
          for (const [factor, at, by] of steps) {
            look = movedBy(zoomedAt(look, factor, at, size, view), by, size, view);
            const now = placed(look, size, view);
            expect(look.zoom).toBeGreaterThanOrEqual(1);
            expect(now.scale).toBeLessThanOrEqual(Math.max(16, placed(wholePicture, size, view).scale) * 1.000001);
            for (const [start, length, room] of [
              [now.left, now.size.width, view.width],
              [now.top, now.size.height, view.height],
            ] as const) {
              if (length > room + 1e-6) {
                expect(start).toBeLessThanOrEqual(1e-6);
                expect(start + length).toBeGreaterThanOrEqual(room - 1e-6);
              } else expect(start).toBeCloseTo((room - length) / 2, 6);
            }
          }
        },
      ),
    );
  });

  it('keeps the point under the pointer where it is', () => {
    const size = { width: 3000, height: 2000 };
    const look = zoomedAt(wholePicture, 5, { x: 450, y: 300 }, size, view);
    const at = { x: 200, y: 500 };
    const under = (l: typeof look) => {
      const { left, top, scale } = placed(l, size, view);
      return { x: (at.x - left) / scale, y: (at.y - top) / scale };
    };
    const before = under(look);
    const after = under(zoomedAt(look, 2, at, size, view));
    expect(after.x).toBeCloseTo(before.x, 6);
    expect(after.y).toBeCloseTo(before.y, 6);
  });
});

describe('contrast', () => {
  it('spreads what is there over the whole range, whatever a few specks say', () => {
    const pixels = new Uint8ClampedArray(4 * 1000).fill(255);
    for (let i = 0; i < 1000; i += 1) pixels.fill(i < 3 ? 255 : 100 + (i % 41), 4 * i, 4 * i + 3);
    expect(stretched(histogramOf(pixels))).toEqual({ low: 100, high: 140 });
    const { slope, intercept } = lineOf({ low: 100, high: 140 });
    expect(slope * (100 / 255) + intercept).toBeCloseTo(0, 9);
    expect(slope * (140 / 255) + intercept).toBeCloseTo(1, 9);
  });

  it('of an even or an empty picture is left to the eye: the two ends stay apart', () => {
    expect(stretched([])).toEqual(asTaken);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 255 }),
        fc.integer({ min: 0, max: 255 }),
        fc.boolean(),
        (low, high, first) => {
          const levels = apart({ low, high }, first ? 'low' : 'high');
          expect(levels.high - levels.low).toBeGreaterThanOrEqual(8);
          expect(levels.low).toBeGreaterThanOrEqual(0);
          expect(levels.high).toBeLessThanOrEqual(255);
        },
      ),
    );
  });
});

describe('heat colours', () => {
  it('are whole bytes for every weight; weak weights are not shown', () => {
    for (let weight = 0; weight <= 255; weight += 1)
      for (const value of heatColor(weight)) expect(Number.isInteger(value) && value >= 0 && value <= 255).toBe(true);
    expect(heatColor(0)[3]).toBe(0);
    expect(heatColor(90)[3]).toBe(0);
    expect(heatColor(255)).toEqual([255, 211, 77, 150]);
  });
});
