import type { PixelImage } from './image.ts';

/** Pixels looked at: enough for a share of a thousandth, and well under a millisecond. */
const SAMPLES = 65_536;
/** Distances of the two bands that sharpness compares, pixels. */
const FINE = 1;
const COARSE = 4;
/** Grey values that count as saturated. */
const FULL = 254;
/** Variance that rounding to whole grey values gives to a difference of one pixel and the mean of four: (1 + 1/4) / 12. */
const ROUNDING = 1.25 / 12;
/** Share of the pixels that may be brighter without a picture being light: dead pixels, a lamp at the edge. */
const BRIGHT_SHARE = 0.001;

export interface PictureQuality {
  /** Grey value, 0..255, that only the brightest thousandth of the pixels exceeds. */
  brightest: number;
  /** Share of the pixels at the end of the scale, 0..1. */
  saturated: number;
  /**
   * Energy of the difference to the neighbours at 1 pixel over that at 4 pixels, 0..1: independent of light and contrast. White noise
   * gives 1, a picture out of focus nearly 0. An even picture gives 0. What rounding to grey values adds is taken off.
   */
  sharpness: number;
}

/** Measures one picture; of three channels the second (green) is looked at. */
export function measurePicture({ width, height, channels, data }: PixelImage): PictureQuality {
  const at = (x: number, y: number): number => data[(y * width + x) * channels + (channels === 3 ? 1 : 0)]!;
  const step = Math.max(1, Math.floor(Math.sqrt((width * height) / SAMPLES)));
  const counts = new Uint32Array(256);
  let seen = 0;
  let compared = 0;
  let fine = 0;
  let coarse = 0;
  const difference = (x: number, y: number, d: number): number =>
    at(x, y) - (at(x - d, y) + at(x + d, y) + at(x, y - d) + at(x, y + d)) / 4;
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      counts[at(x, y)]! += 1;
      seen += 1;
      if (x < COARSE || y < COARSE || x >= width - COARSE || y >= height - COARSE) continue;
      compared += 1;
      fine += difference(x, y, FINE) ** 2;
      coarse += difference(x, y, COARSE) ** 2;
    }
  }
  let above = 0;
  let brightest = 255;
  while (brightest > 0 && above + counts[brightest]! <= BRIGHT_SHARE * seen) above += counts[brightest--]!;
  let full = 0;
  for (let v = FULL; v <= 255; v += 1) full += counts[v]!;
  const [near, far] = [fine, coarse].map((sum) => Math.max(0, sum - ROUNDING * compared));
  return { brightest, saturated: full / seen, sharpness: far === 0 ? 0 : Math.min(1, near! / far!) };
}

/** Counts how often the very same picture came in a row. A sensor's noise makes two alike impossible; a frozen frame buffer does not. */
export function createFrozenCounter() {
  let before = new Uint8Array(0);
  let repeats = 0;
  return {
    /** How many pictures before this one were the same, byte for byte at the places looked at. */
    next({ data }: PixelImage): number {
      const step = Math.max(1, Math.floor(data.length / SAMPLES));
      const now = new Uint8Array(Math.ceil(data.length / step));
      for (let i = 0, j = 0; i < data.length; i += step, j += 1) now[j] = data[i]!;
      repeats = Buffer.compare(now, before) === 0 ? repeats + 1 : 0;
      before = now;
      return repeats;
    },
  };
}
