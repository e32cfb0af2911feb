import type { AugmentationPlan } from './plan.ts';

/** One image as the network sees it: planes of size x size from `offset`, values (p - mean) / std. */
export interface Planes {
  data: Float32Array;
  offset: number;
  size: number;
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
}

/** p -> (p - 127.5) * contrast + 127.5 + brightness, kept within 0..255 as a camera would. */
function adjustLight({ data, offset, size, mean, std }: Planes, contrast: number, brightness: number): void {
  const plane = size * size;
  for (let c = 0; c < 3; c += 1) {
    const [m, s] = [mean[c]!, std[c]!];
    const [low, high] = [-m / s, (255 - m) / s];
    const bias = ((m - 127.5) * contrast + 127.5 + brightness - m) / s;
    const from = offset + c * plane;
    for (let i = from; i < from + plane; i += 1) data[i] = Math.min(high, Math.max(low, data[i]! * contrast + bias));
  }
}

/** Gaussian of `sigma` pixels, separable, cut at three sigma, the edge pixel repeated outside. */
export function blur({ data, offset, size }: Planes, sigma: number): void {
  const reach = Math.max(1, Math.ceil(3 * sigma));
  const weights = Float64Array.from({ length: 2 * reach + 1 }, (_, i) =>
    Math.exp(-((i - reach) ** 2) / (2 * sigma * sigma)),
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const line = new Float64Array(size);
  const along = (start: number, step: number) => {
    for (let i = 0; i < size; i += 1) line[i] = data[start + i * step]!;
    for (let i = 0; i < size; i += 1) {
      let sum = 0;
      for (let t = -reach; t <= reach; t += 1)
        sum += weights[t + reach]! * line[Math.min(size - 1, Math.max(0, i + t))]!;
      data[start + i * step] = sum / total;
    }
  };
  for (let c = 0; c < 3; c += 1) {
    const plane = offset + c * size * size;
    for (let i = 0; i < size; i += 1) along(plane + i * size, 1);
    for (let i = 0; i < size; i += 1) along(plane + i, size);
  }
}

/** A square becomes the mean, which is 0 here. It may stick out of the image, as in the paper. */
function cutOut({ data, offset, size }: Planes, { side, x, y }: AugmentationPlan['cutout']): void {
  const half = (side * size) / 2;
  const within = (centre: number) => [
    Math.max(0, Math.round(centre * size - half)),
    Math.min(size, Math.round(centre * size + half)),
  ];
  const [left, right] = within(x) as [number, number];
  const [top, bottom] = within(y) as [number, number];
  for (let c = 0; c < 3; c += 1) {
    for (let row = top; row < bottom; row += 1) {
      const at = offset + (c * size + row) * size;
      data.fill(0, at + left, at + right);
    }
  }
}

/** The part of a plan that concerns pixel values: light, blur, cut-out. Mixing needs two images: see mixRows. */
export function augmentPlanes(planes: Planes, plan: AugmentationPlan): void {
  if (plan.contrast !== 1 || plan.brightness !== 0) adjustLight(planes, plan.contrast, plan.brightness);
  // A tenth of a pixel changes nothing that float32 images show.
  if (plan.blurSigma > 0.1) blur(planes, plan.blurSigma);
  if (plan.cutout.side > 0) cutOut(planes, plan.cutout);
}

/**
 * Mixes every row of a batch with the row after it (the last with the first): row = lambda * row + (1 - lambda) * next. Images and soft labels
 * are mixed by the same call, with the same shares.
 * @param rows row-major [shares.length, length]
 */
export function mixRows(rows: Float32Array, length: number, shares: readonly number[]): void {
  const count = shares.length;
  const first = rows.slice(0, length);
  for (let r = 0; r < count; r += 1) {
    const share = shares[r]!;
    if (share === 1) continue;
    const at = r * length;
    const last = r === count - 1;
    const next = at + length;
    for (let i = 0; i < length; i += 1) {
      rows[at + i] = share * rows[at + i]! + (1 - share) * (last ? first[i]! : rows[next + i]!);
    }
  }
}
