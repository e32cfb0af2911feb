import { AppError, assert } from '../../contract/errors.ts';
import { encodeModel, runtimeInputs, type Model } from '../../onnx/index.ts';
import { openSession } from '../../runtime/session.ts';
import type { ImageSource } from '../image-source.ts';
import type { CalibrationOptions } from '../prune/sites.ts';
import { tapModel } from '../prune/samples.ts';

/** What calibration images showed of one activation. */
export interface ActivationRange {
  min: number;
  max: number;
  /** Values taken at an even stride, for percentiles. */
  sample: Float32Array;
  /** Mean of each channel. */
  channelMeans: Float64Array;
  /** Variance of each channel. */
  channelVariances: Float64Array;
  /** Largest magnitude of each channel. */
  channelPeaks: Float64Array;
}

/** How a range is cut: the extremes, the share of values that must lie inside, or where the squared error of rounding and cutting is least. */
export type RangeRule = { kind: 'min-max' } | { kind: 'percentile'; share: number } | { kind: 'mse' };

export const describeRule = (rule: RangeRule): string =>
  rule.kind === 'percentile' ? `percentile ${100 * rule.share}` : rule.kind;

const SAMPLES_PER_IMAGE = 512;

/** Watches activations of a model on calibration images. @throws CANCELLED */
export async function observeRanges(
  of: Model,
  tensors: readonly string[],
  source: ImageSource,
  options: CalibrationOptions,
): Promise<Map<string, ActivationRange>> {
  const input = runtimeInputs(of.graph)[0];
  assert(input, 'a backbone has an input');
  const watched = tensors.filter((name) => name !== input.name);
  const state = new Map(
    tensors.map((name) => [
      name,
      {
        min: Infinity,
        max: -Infinity,
        parts: [] as Float32Array[],
        sums: [] as number[],
        squares: [] as number[],
        peaks: [] as number[],
        count: 0,
      },
    ]),
  );
  const take = (name: string, data: Float32Array, dims: readonly number[]): void => {
    const entry = state.get(name)!;
    const [images, channels] = dims as [number, number];
    const plane = data.length / (images * channels);
    for (let n = 0, at = 0; n < images; n++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        let [squares, low, high] = [0, 0, 0];
        for (let p = 0; p < plane; p++, at++) {
          const value = data[at]!;
          sum += value;
          squares += value * value;
          if (value < low) low = value;
          else if (value > high) high = value;
        }
        // Zero belongs to the range anyway: padding needs it.
        if (low < entry.min) entry.min = low;
        if (high > entry.max) entry.max = high;
        entry.peaks[c] = Math.max(entry.peaks[c] ?? 0, high, -low);
        entry.sums[c] = (entry.sums[c] ?? 0) + sum;
        entry.squares[c] = (entry.squares[c] ?? 0) + squares;
      }
    }
    entry.count += images * plane;
    const wanted = Math.min(data.length, SAMPLES_PER_IMAGE * images);
    const step = data.length / wanted;
    entry.parts.push(Float32Array.from({ length: wanted }, (_, i) => data[Math.floor(i * step)]!));
  };
  await using session = await openSession(encodeModel(tapModel(of, watched)), {
    threads: options.threads,
    name: 'calibration',
  });
  const batch = options.batch ?? 4;
  for (let start = 0; start < options.images.length; start += batch) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const some = options.images.slice(start, start + batch);
    const data = await source.tensor(some, options.size);
    const dims = [some.length, 3, options.size, options.size];
    if (state.has(input.name)) take(input.name, data, dims);
    const values = await session.run({ [input.name]: { type: 'float32', dims, data } });
    for (const name of watched) take(name, values[name]!.data as Float32Array, values[name]!.dims);
  }
  return new Map(
    [...state].map(([name, { min, max, parts, sums, squares, peaks, count }]) => {
      const sample = new Float32Array(parts.reduce((total, { length }) => total + length, 0));
      let at = 0;
      for (const part of parts) {
        sample.set(part, at);
        at += part.length;
      }
      return [
        name,
        {
          min,
          max,
          sample: sample.sort(),
          channelMeans: Float64Array.from(sums, (sum) => sum / count),
          channelVariances: Float64Array.from(squares, (square, c) =>
            Math.max(0, square / count - (sums[c]! / count) ** 2),
          ),
          channelPeaks: Float64Array.from(peaks),
        },
      ];
    }),
  );
}

/** Scale and zero point of a uint8 activation; the range is widened to hold zero, which padding needs exactly. */
export const uint8Parameters = (range: ActivationRange, rule: RangeRule): { scale: number; zeroPoint: number } => {
  const { min, max } = limits[rule.kind](range, rule as never);
  return parametersOf(min, max);
};

const parametersOf = (min: number, max: number): { scale: number; zeroPoint: number } => {
  const [low, high] = [Math.min(0, min), Math.max(0, max)];
  const scale = high > low ? (high - low) / 255 : 1;
  return { scale: Math.fround(scale), zeroPoint: Math.max(0, Math.min(255, Math.round(-low / scale))) };
};

/** Shares of the extremes that are tried: finer ones change the error by less than the sample does. */
const MSE_SHARES = Array.from({ length: 19 }, (_, i) => 1 - i * 0.05);

const limits: {
  [K in RangeRule['kind']]: (
    range: ActivationRange,
    rule: Extract<RangeRule, { kind: K }>,
  ) => Pick<ActivationRange, 'min' | 'max'>;
} = {
  'min-max': (range) => range,
  percentile: ({ min, max, sample }, { share }) => {
    if (sample.length === 0) return { min, max };
    const last = sample.length - 1;
    const outside = (1 - share) / 2;
    return { min: sample[Math.floor(outside * last)]!, max: sample[Math.ceil((1 - outside) * last)]! };
  },
  mse: ({ min, max, sample }) => {
    let best = { min, max };
    let least = Infinity;
    for (const share of MSE_SHARES) {
      const { scale, zeroPoint } = parametersOf(min * share, max * share);
      let error = 0;
      for (let i = 0; i < sample.length; i++) {
        const level = Math.max(0, Math.min(255, Math.round(sample[i]! / scale) + zeroPoint));
        error += ((level - zeroPoint) * scale - sample[i]!) ** 2;
      }
      if (error < least) {
        least = error;
        best = { min: min * share, max: max * share };
      }
    }
    return best;
  },
};
