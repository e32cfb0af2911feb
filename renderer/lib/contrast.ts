/* Contrast of a picture as it is shown: what lies between two grey values is spread over the whole range. Pure. */

/** Grey values, 0..255: what is shown black and what is shown white. */
export interface Levels {
  low: number;
  high: number;
}
export const asTaken: Levels = { low: 0, high: 255 };
/** Least distance of the two: below it, noise alone would be seen. */
const LEAST = 8;
/** Share of the pixels that may be cut off at either end: a speck of dust decides nothing. */
const CUT = 0.005;

/** @param pixels RGBA. @returns counts of the grey values 0..255 (luma of Rec. 601, as decoded). */
export function histogramOf(pixels: Uint8ClampedArray): number[] {
  const counts = Array.from({ length: 256 }, () => 0);
  for (let i = 0; i + 3 < pixels.length; i += 4) {
    const grey = Math.round(0.299 * pixels[i]! + 0.587 * pixels[i + 1]! + 0.114 * pixels[i + 2]!);
    counts[grey] = counts[grey]! + 1;
  }
  return counts;
}

/** Levels at which all but a few pixels use the whole range. */
export function stretched(histogram: readonly number[]): Levels {
  const all = histogram.reduce((sum, n) => sum + n, 0);
  if (all === 0) return asTaken;
  const at = (share: number) => {
    let sum = 0;
    for (const [grey, n] of histogram.entries()) {
      sum += n;
      if (sum > share * all) return grey;
    }
    return 255;
  };
  return apart({ low: at(CUT), high: at(1 - CUT) }, 'high');
}

/** Keeps the two apart; `moved` is the one that was set last, and the other gives way. */
export function apart({ low, high }: Levels, moved: keyof Levels): Levels {
  if (high - low >= LEAST) return { low, high };
  if (moved === 'low') return low > 255 - LEAST ? { low: 255 - LEAST, high: 255 } : { low, high: low + LEAST };
  return high < LEAST ? { low: 0, high: LEAST } : { low: high - LEAST, high };
}

/** The straight line through them, for a transfer function on 0..1: slope * v + intercept. */
export const lineOf = ({ low, high }: Levels): { slope: number; intercept: number } => ({
  slope: 255 / (high - low),
  intercept: low === 0 ? 0 : -low / (high - low),
});
