import { intsAttribute, textAttribute } from './build.ts';
import type { Node } from './model.ts';

/** Odd totals: the extra one at the end, or (`lower`) at the beginning. @returns begins, then ends */
export const beginsAndEnds = (totals: readonly number[], lower: boolean): number[] => {
  const begins = totals.map((total) => (lower ? Math.ceil(total / 2) : Math.floor(total / 2)));
  return [...begins, ...totals.map((total, axis) => total - begins[axis]!)];
};

/**
 * Pads of a convolution or pool on a map of these sizes, auto_pad worked out (Operators.md, Conv and the pools): SAME so that ceil(size / stride) windows fit.
 * @param sizes of the spatial dims, in pixels
 * @param kernel sizes of the window
 * @returns begins, then ends
 */
export function padsOn(node: Node, sizes: readonly number[], kernel: readonly number[]): number[] {
  const auto = textAttribute(node, 'auto_pad', 'NOTSET');
  const zeros = kernel.flatMap(() => [0, 0]);
  if (auto === 'VALID') return zeros;
  if (auto !== 'SAME_UPPER' && auto !== 'SAME_LOWER') return intsAttribute(node, 'pads', zeros);
  const ones = kernel.map(() => 1);
  const strides = intsAttribute(node, 'strides', ones);
  const dilations = intsAttribute(node, 'dilations', ones);
  const totals = sizes.map((size, axis) => {
    const steps = Math.ceil(size / strides[axis]!) - 1;
    return Math.max(0, steps * strides[axis]! + (kernel[axis]! - 1) * dilations[axis]! + 1 - size);
  });
  return beginsAndEnds(totals, auto === 'SAME_LOWER');
}
