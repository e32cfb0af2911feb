/** The four colours of the legend, low to high; below the first nothing is shown. */
const stops: readonly (readonly [at: number, r: number, g: number, b: number, alpha: number])[] = [
  [0, 91, 42, 99, 0],
  [90, 91, 42, 99, 0],
  [140, 142, 42, 134, 110],
  [190, 240, 83, 45, 130],
  [255, 255, 211, 77, 150],
];

/** @param weight 0..255 of a class activation map. @returns RGBA, 0..255 each. */
export function heatColor(weight: number): [number, number, number, number] {
  const upper = Math.max(
    1,
    stops.findIndex(([at]) => at >= weight),
  );
  const a = stops[upper - 1]!;
  const b = stops[upper]!;
  const share = (weight - a[0]) / (b[0] - a[0]);
  const mix = (i: 1 | 2 | 3 | 4) => Math.round(a[i] + share * (b[i] - a[i]));
  return [mix(1), mix(2), mix(3), mix(4)];
}
