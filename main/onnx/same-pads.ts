/** What auto_pad is resolved for: a window that slides over spatial dims. */
interface Slid {
  kernel: readonly number[];
  strides: readonly number[];
  dilations: readonly number[];
}

/** Odd totals: the extra one at the end, or (`lower`) at the beginning. @returns begins, then ends */
export const beginsAndEnds = (totals: readonly number[], lower: boolean): number[] => {
  const begins = totals.map((total) => (lower ? Math.ceil(total / 2) : Math.floor(total / 2)));
  return [...begins, ...totals.map((total, axis) => total - begins[axis]!)];
};

/**
 * Pads of auto_pad SAME_UPPER or SAME_LOWER, so that ceil(size / stride) windows fit (Operators.md, Conv and the pools).
 * @param sizes of the spatial dims, in pixels
 * @returns begins, then ends
 */
export const samePads = (
  sizes: readonly number[],
  { kernel, strides, dilations }: Slid,
  auto: 'SAME_UPPER' | 'SAME_LOWER',
): number[] =>
  beginsAndEnds(
    sizes.map((size, axis) => {
      const steps = Math.ceil(size / strides[axis]!) - 1;
      return Math.max(0, steps * strides[axis]! + (kernel[axis]! - 1) * dilations[axis]! + 1 - size);
    }),
    auto === 'SAME_LOWER',
  );
