const Z95 = 1.959963984540054;

/**
 * 95 % score interval of a share (Wilson, JASA 22 (1927)): for a whisker of a chart. What decides is bounded exactly, in the core.
 * @param n 0: nothing is known
 */
export function wilson(share: number, n: number): [low: number, high: number] {
  if (n === 0) return [0, 1];
  const z2 = Z95 ** 2 / n;
  const centre = (share + z2 / 2) / (1 + z2);
  const half = (Z95 * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n))) / (1 + z2);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
