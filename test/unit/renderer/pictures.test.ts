import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { heatColor } from '../../../renderer/lib/heat-color.ts';
import { boxByKey, boxOf, clampPan } from '../../../renderer/lib/picture.ts';

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
});

describe('moving a picture', () => {
  it('centres one that fits and keeps the edges of one that does not', () => {
    expect(clampPan({ x: 50, y: -50 }, { width: 100, height: 100 }, { width: 200, height: 200 })).toEqual({
      x: 0,
      y: -0,
    });
    expect(clampPan({ x: 500, y: -20 }, { width: 400, height: 300 }, { width: 200, height: 200 })).toEqual({
      x: 100,
      y: -20,
    });
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
