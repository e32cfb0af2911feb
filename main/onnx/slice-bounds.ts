export interface SliceBounds {
  /** Position of the first element; with no elements any. */
  start: number;
  /** Elements that are taken. */
  count: number;
}

/**
 * What a Slice takes along one axis (Operators.md, Slice): negative bounds count from the end, and bounds beyond the size are cut. Backwards the start is cut to the first element,
 * the end to before it.
 * @param size of the axis
 * @param step not 0
 */
export function sliceBounds(size: number, start: number, end: number, step: number): SliceBounds {
  const cut = (bound: number, least: number, most: number): number =>
    Math.min(most, Math.max(least, bound < 0 ? bound + size : bound));
  const [first, stop] =
    step > 0 ? [cut(start, 0, size), cut(end, 0, size)] : [cut(start, 0, size - 1), cut(end, -1, size - 1)];
  return { start: first, count: Math.max(0, Math.ceil((stop - first) / step)) };
}
