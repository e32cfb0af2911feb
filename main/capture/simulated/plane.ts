import type { Random } from './random.ts';

/** A plane of real numbers, row-major. Grey values are 0..255 in it, and may leave that range until the frame is made. */
export interface Plane {
  width: number;
  height: number;
  data: Float32Array;
}

/** All zeros. */
export const plane = (width: number, height: number): Plane => ({
  width,
  height,
  data: new Float32Array(width * height),
});

/**
 * Box filter of radius rx, ry (pixels), in place; twice gives a triangle. The plane is taken as a torus: repeated edges would
 * leave streaks there.
 */
export function boxBlur(of: Plane, rx: number, ry: number, times = 1): void {
  const { width, height, data } = of;
  const line = new Float64Array(Math.max(width, height));
  const pass = (length: number, count: number, step: number, stride: number, radius: number) => {
    if (radius < 1) return;
    const weight = 1 / (2 * radius + 1);
    for (let c = 0; c < count; c += 1) {
      const start = c * stride;
      for (let i = 0; i < length; i += 1) line[i] = data[start + i * step]!;
      let sum = 0;
      for (let i = -radius; i <= radius; i += 1) sum += line[(i + length * 8) % length]!;
      let ahead = (radius + 1) % length;
      let behind = (length * 8 - radius) % length;
      for (let i = 0; i < length; i += 1) {
        data[start + i * step] = sum * weight;
        sum += line[ahead]! - line[behind]!;
        ahead = ahead + 1 === length ? 0 : ahead + 1;
        behind = behind + 1 === length ? 0 : behind + 1;
      }
    }
  };
  for (let t = 0; t < times; t += 1) {
    pass(width, height, 1, width, rx);
    pass(height, width, width, 1, ry);
  }
}

/** Three-tap binomial blur in both directions, in place: a lens slightly out of focus. `strength` 0..1. */
export function softBlur(of: Plane, strength: number): void {
  const { width, height, data } = of;
  const side = strength / 4;
  const centre = 1 - 2 * side;
  for (let y = 0; y < height; y += 1) {
    const row = y * width;
    let before = data[row]!;
    for (let x = 0; x < width - 1; x += 1) {
      const here = data[row + x]!;
      data[row + x] = before * side + here * centre + data[row + x + 1]! * side;
      before = here;
    }
    data[row + width - 1] = before * side + data[row + width - 1]! * (centre + side);
  }
  const above = data.slice(0, width);
  for (let y = 0; y < height; y += 1) {
    const row = y * width;
    const below = y === height - 1 ? row : row + width;
    for (let x = 0; x < width; x += 1) {
      const here = data[row + x]!;
      data[row + x] = above[x]! * side + here * centre + data[below + x]! * side;
      above[x] = here;
    }
  }
}

/** Gives a plane mean 0 and standard deviation `deviation`. */
export function normalise(of: Plane, deviation: number): void {
  const { data } = of;
  let sum = 0;
  let squares = 0;
  for (const v of data) {
    sum += v;
    squares += v * v;
  }
  const mean = sum / data.length;
  const spread = Math.sqrt(Math.max(1e-12, squares / data.length - mean * mean));
  for (let i = 0; i < data.length; i += 1) data[i] = ((data[i]! - mean) / spread) * deviation;
}

/** Mean 0, deviation 1/sqrt(3). */
export function whiteNoise(width: number, height: number, random: Random): Plane {
  const made = plane(width, height);
  // Sum of four uniforms: near enough to normal, and five times as fast.
  for (let i = 0; i < made.data.length; i += 1) {
    made.data[i] = random.next() + random.next() + random.next() + random.next() - 2;
  }
  return made;
}

/** Smooth noise of mean 0 and the given deviation; radius: size of its features, pixels. */
export function cloud(width: number, height: number, rx: number, ry: number, deviation: number, random: Random): Plane {
  const made = whiteNoise(width, height, random);
  boxBlur(made, Math.round(rx), Math.round(ry), 2);
  normalise(made, deviation);
  return made;
}

export const addScaled = (to: Plane, from: Plane, factor = 1): void => {
  for (let i = 0; i < to.data.length; i += 1) to.data[i]! += from.data[i]! * factor;
};
