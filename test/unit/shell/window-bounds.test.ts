import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitBounds, keepWindowState, readWindowState } from '../../../main/shell/window-bounds.ts';

const displays = [
  { x: 0, y: 0, width: 1920, height: 1040 },
  { x: 1920, y: -200, width: 1280, height: 984 },
];

describe('the place of the window', () => {
  it('is kept where it can be taken hold of, on any display', () => {
    for (const bounds of [
      { x: 100, y: 50, width: 1440, height: 900 },
      { x: 2000, y: -150, width: 1000, height: 700 },
      { x: -1200, y: 0, width: 1440, height: 900 },
    ])
      expect(fitBounds(bounds, displays)).toEqual(bounds);
  });

  it('is in the middle of the first display after another one was unplugged, and never larger than that', () => {
    expect(fitBounds({ x: 2000, y: 0, width: 1000, height: 700 }, displays.slice(0, 1))).toEqual({
      x: 460,
      y: 170,
      width: 1000,
      height: 700,
    });
    fc.assert(
      fc.property(
        fc.record({
          x: fc.integer({ min: -1e6, max: 1e6 }),
          y: fc.integer({ min: -1e6, max: 1e6 }),
          width: fc.integer({ min: 1, max: 10_000 }),
          height: fc.integer({ min: 1, max: 10_000 }),
        }),
        (bounds) => {
          const fitted = fitBounds(bounds, displays);
          expect(fitted.width).toBeLessThanOrEqual(1920);
          expect(fitted.height).toBeLessThanOrEqual(1040);
          expect(displays.some(({ y, height }) => fitted.y >= y && fitted.y < y + height)).toBe(true);
        },
      ),
    );
  });

  it('is read back as it was written; anything else counts as none', () => {
    const folder = mkdtempSync(join(tmpdir(), 'mekiki-bounds-'));
    const file = join(folder, 'window.json');
    expect(readWindowState(file)).toBeNull();
    const state = { bounds: { x: 1, y: 2, width: 1000, height: 700 }, maximized: true, fullScreen: false, zoom: 1.2 };
    expect(keepWindowState(file, state)).toBe(true);
    expect(readWindowState(file)).toEqual(state);
    for (const text of ['', '[]', '{"bounds":{}}', '{"bounds":{"x":0,"y":0,"width":-1,"height":1}}']) {
      writeFileSync(file, text);
      expect(readWindowState(file)).toBeNull();
    }
    rmSync(folder, { recursive: true });
    expect(keepWindowState(file, state)).toBe(false);
  });
});
