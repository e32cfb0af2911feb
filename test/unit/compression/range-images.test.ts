import { expect, it } from 'vitest';
import { rangeImages } from '../../../main/compression/quantize/range-images.ts';

const range = (count: number) => Array.from({ length: count }, (_, i) => i);
/** One image of ten shows a defect. */
const classOf = (image: number) => (image % 10 === 0 ? 'defect' : 'good');

it('compares integers on images that neither weights nor ranges saw, each class alike', () => {
  const { images, ranged, compared } = rangeImages(range(2000), classOf);
  expect([images.length, ranged.length, compared.length]).toEqual([64, 256, 32]);
  const seen = new Set([...images, ...ranged]);
  expect(compared.filter((image) => seen.has(image))).toEqual([]);
  for (const some of [images, ranged, compared]) {
    expect(some.filter((image) => classOf(image) === 'defect')).toHaveLength(some.length / 2);
  }
});

it('takes ranges from all others where there are fewer', () => {
  const { images, ranged, compared } = rangeImages(range(100), classOf);
  expect([images.length, ranged.length, compared.length]).toEqual([64, 68, 32]);
});

it('uses all for everything where too few are left to compare on', () => {
  const all = range(20);
  expect(rangeImages(all, classOf)).toEqual({ images: all, ranged: all, compared: all });
});
