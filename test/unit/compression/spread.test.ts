import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { oneClass, spread, spreadOverClasses } from '../../../main/compression/spread.ts';

const counted = (images: readonly number[], classOf: (image: number) => string) =>
  Object.fromEntries([...Map.groupBy(images, classOf)].map(([id, { length }]) => [id, length]));

describe('images that stand for all', () => {
  it('are of each class as many, and what a small class lacks goes to the others', () => {
    const classOf = (image: number) => (image < 700 ? 'good' : image < 708 ? 'fray' : image < 770 ? 'crack' : 'hole');
    const chosen = spreadOverClasses(
      Array.from({ length: 900 }, (_, i) => i),
      128,
      classOf,
    );
    expect(counted(chosen, classOf)).toEqual({ good: 40, fray: 8, crack: 40, hole: 40 });
    // All over the large class, not its first few.
    expect(chosen[39]).toBeGreaterThan(680);
  });

  it('are at an even stride where nothing is known of classes', () => {
    const images = Array.from({ length: 100 }, (_, i) => 3 * i);
    expect(spreadOverClasses(images, 7, oneClass)).toEqual(spread(images, 7));
  });

  it('never leave one class short for a larger share of another', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 200 }), (of, most) => {
        const classes = of.flatMap((n, c) => Array<string>(n).fill(`${c}`));
        const images = classes.map((_, i) => i);
        const chosen = spreadOverClasses(images, most, (image) => classes[image]!);
        expect(chosen.length).toBe(Math.min(most, images.length));
        expect(chosen).toEqual([...new Set(chosen)].toSorted((a, b) => a - b));
        const taken = of.map((_, c) => chosen.filter((image) => classes[image] === `${c}`).length);
        for (const [c, n] of taken.entries()) {
          if (n < of[c]!) expect(Math.max(...taken) - n).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});
