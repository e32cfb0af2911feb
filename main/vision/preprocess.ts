import type { Region } from '../contract/domain.ts';
import { assert } from '../contract/errors.ts';
import type { PixelImage } from './image.ts';
import { openResizeKernel } from './resize-kernel.ts';

/*
 * THE preprocessing: learning, compression and the line all call this one, so that a part gives the same numbers everywhere.
 * Squash-resize of a region to size x size by a separable, antialiased triangle filter (the "bilinear with antialias" of
 * Pillow: Resample.c, precompute_coeffs), then x = (p - mean) / std, as planes (CHW).
 *
 * Rows first, in integers of 16 fractional bits, then columns in float32 (resize-kernel.ts). Weights sum to exactly one, so that an
 * even grey stays that grey.
 */

const FRACTION_BITS = 16;
const ONE = 1 << FRACTION_BITS;

/** Weights of one axis: output i is the sum over t < taps of fixed[i * taps + t] / ONE * input[start[i] + t]. */
interface Axis {
  taps: number;
  start: Int32Array;
  /** Fixed point, sums to ONE per output. */
  fixed: Int32Array;
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
    // Rounded as running totals: they end at ONE exactly, and what one weight loses the next one gains.
    let sum = 0;
    weights.forEach((w, t) => {
      const before = Math.round((sum / total) * ONE);
      sum += w;
      fixed[i * taps + t + first - from] = Math.round((sum / total) * ONE) - before;
    });
  });
  return { taps, start, fixed };
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

/** Bytes of the source that are brought into the kernel's memory at once; more only where one output row needs more. */
const BAND_BYTES = 1 << 20;
/** Rows are worked on sixteen bytes at a time, so reads and writes may go up to fifteen beyond their end. */
const SLACK = 16;

/** Where things lie in the kernel's memory for one size of region, and what was prepared for it. */
interface Plan {
  vertical: Axis;
  horizontal: Axis;
  /** Addresses in bytes. */
  weights: number;
  starts: number;
  columnWeights: number;
  row: number;
  planes: number;
  band: number;
  /** Source rows that fit the band. */
  bandRows: number;
}

export function createPreprocessor({ size, mean, std }: PreprocessOptions): Preprocessor {
  assert(Number.isInteger(size) && size > 0, 'the input size comes from a checked backbone');
  const plane = size * size;
  const kernel = openResizeKernel();
  const scale = std.map((s) => 1 / s);
  const shift = std.map((s, c) => -mean[c]! / s);
  const alike = mean[0] === mean[1] && mean[1] === mean[2] && std[0] === std[1] && std[1] === std[2];
  let known: { key: string; plan: Plan } | null = null;
  let bytes = new Uint8Array(kernel.memory.buffer);
  let floats = new Float32Array(kernel.memory.buffer);

  const lay = (width: number, height: number, stride: number, channels: number): Plan => {
    const vertical = planAxis(height, size);
    const horizontal = height === width ? vertical : planAxis(width, size);
    const bandRows = Math.max(vertical.taps, Math.min(height, Math.floor(BAND_BYTES / stride)));
    let at = 0;
    const take = (length: number) => {
      const address = at;
      at += Math.ceil((length + SLACK) / 16) * 16;
      return address;
    };
    const plan: Plan = {
      vertical,
      horizontal,
      weights: take(vertical.fixed.byteLength),
      starts: take(horizontal.start.byteLength),
      columnWeights: take(horizontal.fixed.byteLength),
      row: take((width * channels + SLACK) * 4),
      planes: take(3 * plane * 4),
      band: take(bandRows * stride),
      bandRows,
    };
    const missing = at - kernel.memory.buffer.byteLength;
    if (missing > 0) kernel.memory.grow(Math.ceil(missing / 65_536));
    bytes = new Uint8Array(kernel.memory.buffer);
    floats = new Float32Array(kernel.memory.buffer);
    new Int32Array(kernel.memory.buffer, plan.weights, vertical.fixed.length).set(vertical.fixed);
    new Int32Array(kernel.memory.buffer, plan.starts, size).set(horizontal.start.map((x) => x * channels * 4));
    // Rows carry ONE as a factor: taken out here.
    floats.set(
      Float32Array.from(horizontal.fixed, (w) => w / ONE / ONE),
      plan.columnWeights / 4,
    );
    return plan;
  };

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
      const stride = image.width * channels;
      assert(data.length >= image.height * stride, 'an image has all its pixels');
      const key = `${width} ${height} ${stride} ${channels}`;
      if (known?.key !== key) known = { key, plan: lay(width, height, stride, channels) };
      const { vertical, horizontal, weights, starts, columnWeights, row, planes, band, bandRows } = known.plan;
      // The band holds source rows from..end of the region.
      let from = 0;
      let end = 0;
      for (let y = 0; y < size; y += 1) {
        const first = vertical.start[y]!;
        if (first + vertical.taps > end) {
          from = first;
          end = Math.min(height, first + bandRows);
          bytes.set(data.subarray((y0 + from) * stride, (y0 + end) * stride), band);
        }
        const source = band + (first - from) * stride + x0 * channels;
        kernel.rows(source, stride, width * channels, weights + y * vertical.taps * 4, vertical.taps, row);
        for (let c = 0; c < channels; c += 1) {
          kernel.columns(
            row + c * 4,
            starts,
            columnWeights,
            horizontal.taps,
            channels * 4,
            size,
            planes + (c * plane + y * size) * 4,
            scale[c]!,
            shift[c]!,
          );
        }
      }
      const result = floats.subarray(planes / 4, planes / 4 + channels * plane);
      out.set(result, offset);
      if (channels === 3) return;
      for (let c = 1; c < 3; c += 1) {
        const to = offset + c * plane;
        if (alike) {
          out.set(result, to);
        } else {
          const gain = std[0] / std[c]!;
          const bias = (mean[0] - mean[c]!) / std[c]!;
          for (let i = 0; i < plane; i += 1) out[to + i] = result[i]! * gain + bias;
        }
      }
    },
  };
}
