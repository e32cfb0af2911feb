import type { Region } from '../contract/domain.ts';
import { assert } from '../contract/errors.ts';
import type { PixelImage } from './image.ts';

/*
 * THE preprocessing: learning, compression and the line all call this one, so that a part gives the same numbers everywhere.
 * Squash-resize of a region to size x size by a separable, antialiased triangle filter (the "bilinear with antialias" of
 * Pillow: Resample.c, precompute_coeffs), then x = (p - mean) / std, as planes (CHW).
 *
 * Rows first, in integers of 16 fractional bits (whole-number products are what a JavaScript engine does fastest on bytes),
 * then columns in float64. Weights sum to exactly one, so that an even grey stays that grey.
 */

const FRACTION_BITS = 16;
const ONE = 1 << FRACTION_BITS;

/** Weights of one axis: output i is the sum over t < taps of weight[i * taps + t] * input[start[i] + t]. */
interface Axis {
  taps: number;
  start: Int32Array;
  /** Fixed point, sums to ONE per output. */
  fixed: Int32Array;
  /** The same divided by ONE. */
  exact: Float64Array;
}

function planAxis(length: number, target: number): Axis {
  const scale = length / target;
  const support = Math.max(scale, 1);
  const rows: { first: number; weights: number[] }[] = [];
  let taps = 1;
  for (let i = 0; i < target; i += 1) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(length, Math.trunc(centre + support + 0.5));
    const weights: number[] = [];
    for (let x = first; x < end; x += 1) weights.push(Math.max(0, 1 - Math.abs((x - centre + 0.5) / support)));
    rows.push({ first, weights });
    taps = Math.max(taps, weights.length);
  }
  const start = new Int32Array(target);
  const fixed = new Int32Array(target * taps);
  rows.forEach(({ first, weights }, i) => {
    // Padded with zero weights to one number of taps, without reading past the end.
    const from = Math.min(first, length - taps);
    start[i] = from;
    const total = weights.reduce((sum, w) => sum + w, 0);
    let left = ONE;
    let largest = 0;
    weights.forEach((w, t) => {
      const place = i * taps + t + first - from;
      fixed[place] = Math.round((w / total) * ONE);
      left -= fixed[place]!;
      if (w > weights[largest]!) largest = t;
    });
    fixed[i * taps + largest + first - from]! += left;
  });
  return { taps, start, fixed, exact: Float64Array.from(fixed, (w) => w / ONE) };
}

/** One output row: `row[x] = sum_t weight_t * pixel[x, first + t]` in fixed point. `p` is the first byte, n the bytes of a row. */
function blendRows(data: Uint8Array, p: number, stride: number, n: number, axis: Axis, y: number, row: Float64Array) {
  const { taps, fixed } = axis;
  const o = y * taps;
  let t = 0;
  if (taps === 5) {
    // Five taps is what 512 -> 224 takes: worth its own loop.
    const [a, b, c, d, e] = [fixed[o]!, fixed[o + 1]!, fixed[o + 2]!, fixed[o + 3]!, fixed[o + 4]!];
    const p0 = p | 0;
    const p1 = (p0 + stride) | 0;
    const p2 = (p1 + stride) | 0;
    const p3 = (p2 + stride) | 0;
    const p4 = (p3 + stride) | 0;
    for (let x = 0; x < n; x += 1) {
      row[x] =
        (Math.imul(data[p0 + x]!, a) +
          Math.imul(data[p1 + x]!, b) +
          Math.imul(data[p2 + x]!, c) +
          Math.imul(data[p3 + x]!, d) +
          Math.imul(data[p4 + x]!, e)) |
        0;
    }
    return;
  }
  for (; t + 2 <= taps; t += 2) {
    const a = fixed[o + t]!;
    const b = fixed[o + t + 1]!;
    const p0 = p + t * stride;
    const p1 = p0 + stride;
    if (t === 0)
      for (let x = 0; x < n; x += 1) row[x] = (Math.imul(data[p0 + x]!, a) + Math.imul(data[p1 + x]!, b)) | 0;
    else for (let x = 0; x < n; x += 1) row[x]! += (Math.imul(data[p0 + x]!, a) + Math.imul(data[p1 + x]!, b)) | 0;
  }
  if (t < taps) {
    const a = fixed[o + t]!;
    const p0 = p + t * stride;
    if (t === 0) for (let x = 0; x < n; x += 1) row[x] = Math.imul(data[p0 + x]!, a);
    else for (let x = 0; x < n; x += 1) row[x]! += Math.imul(data[p0 + x]!, a);
  }
}

/** One output row of one channel: out[o + x] = scale * sum_t weight * row + shift. */
function blendColumns(
  row: Float64Array,
  channels: number,
  channel: number,
  axis: Axis,
  out: Float32Array,
  o: number,
  scale: number,
  shift: number,
) {
  const { taps, start, exact } = axis;
  const size = start.length;
  if (taps === 5 && channels === 1) {
    for (let x = 0, q = 0; x < size; x += 1, q += 5) {
      const p = start[x]!;
      out[o + x] =
        (row[p]! * exact[q]! +
          row[p + 1]! * exact[q + 1]! +
          row[p + 2]! * exact[q + 2]! +
          row[p + 3]! * exact[q + 3]! +
          row[p + 4]! * exact[q + 4]!) *
          scale +
        shift;
    }
    return;
  }
  for (let x = 0, q = 0; x < size; x += 1) {
    let sum = 0;
    for (let t = 0, p = start[x]! * channels + channel; t < taps; t += 1, p += channels, q += 1) {
      sum += row[p]! * exact[q]!;
    }
    out[o + x] = sum * scale + shift;
  }
}

export interface PreprocessOptions {
  /** Side of the square that the backbone takes, pixels. */
  size: number;
  /** x = (p - mean) / std for p in 0..255, per RGB channel. */
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
}

export interface Preprocessor {
  readonly size: number;
  /** Floats that one image fills: 3 * size * size. */
  readonly length: number;
  /**
   * @param region in the image; null: all of it. It must lie inside (planTiles clips).
   * @param out float32 planes R, G, B of size x size each, written from `offset` on.
   */
  into(image: PixelImage, region: Region | null, out: Float32Array, offset: number): void;
}

/** Axes kept per preprocessor: a station has few tile sizes, a folder of odd pictures has many. */
const MAX_AXES = 64;

export function createPreprocessor({ size, mean, std }: PreprocessOptions): Preprocessor {
  assert(Number.isInteger(size) && size > 0, 'the input size comes from a checked backbone');
  const plane = size * size;
  const axes = new Map<number, Axis>();
  const axisOf = (length: number): Axis => {
    let axis = axes.get(length);
    if (!axis) {
      if (axes.size >= MAX_AXES) axes.delete(axes.keys().next().value!);
      axis = planAxis(length, size);
      axes.set(length, axis);
    }
    return axis;
  };
  const scale = std.map((s) => 1 / (s * ONE));
  const shift = std.map((s, c) => -mean[c]! / s);
  const alike = mean[0] === mean[1] && mean[1] === mean[2] && std[0] === std[1] && std[1] === std[2];
  let row = new Float64Array(0);

  return {
    size,
    length: 3 * plane,
    into(image, region, out, offset) {
      const { data, channels } = image;
      const x0 = region ? region.x : 0;
      const y0 = region ? region.y : 0;
      const width = region ? region.width : image.width;
      const height = region ? region.height : image.height;
      assert(
        x0 >= 0 && y0 >= 0 && width > 0 && height > 0 && x0 + width <= image.width && y0 + height <= image.height,
        'a region lies inside its image',
      );
      assert(offset + 3 * plane <= out.length, 'the output holds this image');
      assert(data.length >= image.width * image.height * channels, 'an image has all its pixels');
      const vertical = axisOf(height);
      const horizontal = axisOf(width);
      const stride = image.width * channels;
      const n = width * channels;
      if (row.length < n) row = new Float64Array(n);
      for (let y = 0; y < size; y += 1) {
        const p = (y0 + vertical.start[y]!) * stride + x0 * channels;
        blendRows(data, p, stride, n, vertical, y, row);
        const o = offset + y * size;
        if (channels === 1) {
          blendColumns(row, 1, 0, horizontal, out, o, scale[0]!, shift[0]!);
        } else {
          blendColumns(row, 3, 0, horizontal, out, o, scale[0]!, shift[0]!);
          blendColumns(row, 3, 1, horizontal, out, o + plane, scale[1]!, shift[1]!);
          blendColumns(row, 3, 2, horizontal, out, o + 2 * plane, scale[2]!, shift[2]!);
        }
      }
      if (channels === 1) {
        for (let c = 1; c < 3; c += 1) {
          const to = offset + c * plane;
          if (alike) {
            out.copyWithin(to, offset, offset + plane);
          } else {
            const gain = std[0] / std[c]!;
            const bias = (mean[0] - mean[c]!) / std[c]!;
            for (let i = 0; i < plane; i += 1) out[to + i] = out[offset + i]! * gain + bias;
          }
        }
      }
    },
  };
}
