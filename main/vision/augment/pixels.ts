import type { Region } from '../../contract/domain.ts';
import type { PixelImage } from '../image.ts';
import { rotate } from '../tiles.ts';
import type { AugmentationPlan } from './plan.ts';

/** Mirrored left to right. */
export function flipHorizontal({ width, height, channels, data }: PixelImage): PixelImage {
  const out = new Uint8Array(data.length);
  const stride = width * channels;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const from = y * stride + x * channels;
      const to = y * stride + (width - 1 - x) * channels;
      for (let c = 0; c < channels; c += 1) out[to + c] = data[from + c]!;
    }
  }
  return { width, height, channels, data: out };
}

/** Mirrored top to bottom. */
export function flipVertical({ width, height, channels, data }: PixelImage): PixelImage {
  const out = new Uint8Array(data.length);
  const stride = width * channels;
  for (let y = 0; y < height; y += 1) out.set(data.subarray(y * stride, (y + 1) * stride), (height - 1 - y) * stride);
  return { width, height, channels, data: out };
}

/** Index mirrored at both ends without repeating the edge: -1 -> 1, length -> length - 2. */
function mirrored(index: number, length: number): number {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const within = ((index % period) + period) % period;
  return within < length ? within : period - within;
}

/**
 * The region, seen after the image was turned clockwise about the region's centre (bilinear): as large as the region. Where the turned window looks
 * beyond the image, the image goes on mirrored, so no corner of one colour betrays the turn.
 */
function turnedRegion(image: PixelImage, region: Region, degrees: number): PixelImage {
  const { channels, data } = image;
  const { width, height } = region;
  const out = new Uint8Array(width * height * channels);
  const angle = (degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [centreX, centreY] = [region.x + (width - 1) / 2, region.y + (height - 1) / 2];
  const stride = image.width * channels;
  for (let y = 0, to = 0; y < height; y += 1) {
    const v = y - (height - 1) / 2;
    for (let x = 0; x < width; x += 1) {
      const u = x - (width - 1) / 2;
      // Turning back gives where the pixel came from; y points down, so clockwise is the positive angle.
      const sourceX = centreX + u * cos + v * sin;
      const sourceY = centreY - u * sin + v * cos;
      const left = Math.floor(sourceX);
      const top = Math.floor(sourceY);
      const [fx, fy] = [sourceX - left, sourceY - top];
      const x0 = mirrored(left, image.width) * channels;
      const x1 = mirrored(left + 1, image.width) * channels;
      const y0 = mirrored(top, image.height) * stride;
      const y1 = mirrored(top + 1, image.height) * stride;
      for (let c = 0; c < channels; c += 1, to += 1) {
        const upper = data[y0 + x0 + c]! * (1 - fx) + data[y0 + x1 + c]! * fx;
        const lower = data[y1 + x0 + c]! * (1 - fx) + data[y1 + x1 + c]! * fx;
        out[to] = Math.round(upper * (1 - fy) + lower * fy);
      }
    }
  }
  return { width, height, channels, data: out };
}

/** Window of a plan in an image, at least one pixel. */
function cropRegion({ side, x, y }: AugmentationPlan['crop'], width: number, height: number): Region {
  const w = Math.max(1, Math.round(width * side));
  const h = Math.max(1, Math.round(height * side));
  return { x: Math.round(x * (width - w)), y: Math.round(y * (height - h)), width: w, height: h };
}

/**
 * The geometric part of a plan, on the picture as it was taken: flips, quarter turns, crop, small turn. A crop is only stated
 * (`region`), so that the preprocessing samples once.
 * @returns region null: all of the image.
 */
export function augmentPixels(image: PixelImage, plan: AugmentationPlan): { image: PixelImage; region: Region | null } {
  let result = image;
  if (plan.flipHorizontal) result = flipHorizontal(result);
  if (plan.flipVertical) result = flipVertical(result);
  result = rotate(result, plan.turn);
  const region = plan.crop.side < 1 ? cropRegion(plan.crop, result.width, result.height) : null;
  if (plan.degrees === 0) return { image: result, region };
  const whole = { x: 0, y: 0, width: result.width, height: result.height };
  return { image: turnedRegion(result, region ?? whole, plan.degrees), region: null };
}
