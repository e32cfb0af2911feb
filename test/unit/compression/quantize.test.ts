import { describe, expect, it } from 'vitest';
import { observeRanges, uint8Parameters } from '../../../main/compression/quantize/calibrate.ts';
import {
  notQuantizable,
  planQuantization,
  quantizeModel,
  quantizeWeights,
  tensorsOf,
} from '../../../main/compression/quantize/qdq.ts';
import {
  encodeModel,
  float32Of,
  float32Tensor,
  graph,
  model as makeModel,
  node,
  numbersOf,
  value,
} from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { noise, randomImages, relativeError, runModel, smallBackbone } from './networks.ts';

const images = randomImages(24);
const options = { images: Array.from({ length: 16 }, (_, i) => i), size: 32, threads: 1, seed: 1 };
const range = (min: number, max: number, sample: number[] = []) => ({
  min,
  max,
  sample: Float32Array.from(sample).sort(),
  channelMeans: new Float64Array(1),
  channelPeaks: new Float64Array(1),
  channelVariances: new Float64Array(1),
});

describe('ranges', () => {
  it('hold zero exactly and cover the extremes', () => {
    const { scale, zeroPoint } = uint8Parameters(range(-1, 3), { kind: 'min-max' });
    expect(scale).toBeCloseTo(4 / 255, 7);
    expect(zeroPoint).toBe(64);
    expect(uint8Parameters(range(2, 6), { kind: 'min-max' }).zeroPoint).toBe(0);
    expect(uint8Parameters(range(0, 0), { kind: 'min-max' })).toEqual({ scale: 1, zeroPoint: 0 });
  });

  it('a percentile leaves an outlier out', () => {
    const sample = Array.from({ length: 10_000 }, (_, i) => i / 10_000);
    const cut = uint8Parameters(range(0, 100, [...sample, 100]), { kind: 'percentile', share: 0.999 });
    expect(cut.scale * 255).toBeCloseTo(1, 2);
  });
});

describe('weights', () => {
  it('are symmetric per output channel and within half a step', () => {
    const weight = float32Tensor(
      [4, 3, 1, 1],
      noise(12, 9).map((x, i) => x * 10 ** (i % 4)),
    );
    for (const bits of [7, 8] as const) {
      const { values, scales, rounded } = quantizeWeights(weight, bits);
      expect(Math.max(...values.map(Math.abs))).toBe(bits === 8 ? 127 : 63);
      noise(12, 9).forEach((x, i) => {
        expect(Math.abs(rounded[i]! - x * 10 ** (i % 4))).toBeLessThanOrEqual(scales[Math.floor(i / 3)]! * 0.5001);
      });
    }
  });
});

describe('QDQ', () => {
  it('leaves a convolution over a constant float, and says so', async () => {
    const model = makeModel(
      graph({
        inputs: [value('image', 'float32', ['N', 3, 32, 32])],
        outputs: [value('features', 'float32', ['N', 4, 32, 32])],
        nodes: [
          node('Conv', ['image', 'w'], ['a'], { kernel_shape: [1, 1] }),
          node('Conv', ['place', 'w'], ['b'], { kernel_shape: [1, 1] }),
          node('Add', ['a', 'b'], ['features']),
        ],
        initializers: {
          w: float32Tensor([4, 3, 1, 1], noise(12, 4)),
          place: float32Tensor([1, 3, 32, 32], noise(3 * 32 * 32, 5)),
        },
      }),
    );
    expect(notQuantizable(model)).toEqual([{ node: 'b', why: 'its input is a constant' }]);
    const ranges = await observeRanges(model, tensorsOf(planQuantization(model)), images, options);
    const quantized = quantizeModel(model, ranges, { rule: { kind: 'min-max' }, weightBits: 8 });
    const [float, integer] = [await runModel(model, images, [16], 32), await runModel(quantized, images, [16], 32)];
    expect(relativeError(float, integer)).toBeLessThan(0.01);
  });

  it('keeps what a channel gives that is constant: its weights are next to nothing beside its bias', async () => {
    const bias = [2.3, 0.3, -1.7, 0.5];
    const weight = noise(4 * 3, 4).map((x, i) => (i < 3 ? 1e-9 * x : i < 6 ? 0 : i < 9 ? 1e-12 * x : x));
    const model = makeModel(
      graph({
        inputs: [value('image', 'float32', ['N', 3, 'H', 'W'])],
        outputs: [value('features', 'float32', ['N', 4, 'H', 'W'])],
        nodes: [node('Conv', ['image', 'w', 'b'], ['features'], { kernel_shape: [1, 1] })],
        initializers: { w: float32Tensor([4, 3, 1, 1], weight), b: float32Tensor([4], Float32Array.from(bias)) },
      }),
    );
    const ranges = await observeRanges(model, tensorsOf(planQuantization(model)), images, options);
    const quantized = quantizeModel(model, ranges, { rule: { kind: 'min-max' }, weightBits: 8 });
    const [float, integer] = [await runModel(model, images, [16], 32), await runModel(quantized, images, [16], 32)];
    const step = (Math.max(...float) - Math.min(...float)) / 255;
    for (const [channel, b] of bias.slice(0, 3).entries()) {
      const plane = integer.subarray(channel * 32 * 32, (channel + 1) * 32 * 32);
      expect(Math.max(...plane.map((x) => Math.abs(x - b))), `channel ${channel}`).toBeLessThanOrEqual(step);
    }
  });

  it('is smaller and close to the float network on other images', async () => {
    const model = smallBackbone();
    const ranges = await observeRanges(model, tensorsOf(planQuantization(model)), images, options);
    const quantized = quantizeModel(model, ranges, { rule: { kind: 'min-max' }, weightBits: 8 });
    const held = [16, 17, 18, 19, 20, 21, 22, 23];
    const error = relativeError(await runModel(model, images, held, 32), await runModel(quantized, images, held, 32));
    expect(error).toBeLessThan(0.01);
    expect(error).toBeGreaterThan(0);
    expect(quantized.graph.nodes.filter(({ op }) => op === 'QuantizeLinear').length).toBeGreaterThan(5);
    const weights = [...quantized.graph.initializers].filter(
      ([, { type, dims }]) => type === 'float32' && dims.length === 4,
    );
    // The per-channel gain of a Mul stays float; no convolution's weight does.
    expect(weights.map(([name]) => name)).toEqual(['gain']);
    expect(encodeModel(quantized).length).toBeLessThan(encodeModel(model).length);
  });
});

describe('bias correction', () => {
  const CHANNELS = 4;
  const means = [3, -2, 1, 0.5];
  const convolution = (weight: Float32Array, rows: number, group: number) =>
    makeModel(
      graph({
        nodes: [node('Conv', ['x', 'w', 'b'], ['y'], { kernel_shape: [3, 3], group })],
        inputs: [value('x', 'float32', ['N', CHANNELS, 'H', 'W'])],
        outputs: [value('y')],
        initializers: {
          w: float32Tensor([rows, CHANNELS / group, 3, 3], weight),
          b: float32Tensor([rows], noise(rows, 4)),
        },
      }),
    );
  /** Outputs where each channel is its mean everywhere. */
  const atMeans = async (of: ReturnType<typeof convolution>): Promise<Float32Array> => {
    await using session = await openSession(encodeModel(of), { threads: 1 });
    const data = Float32Array.from({ length: CHANNELS * 9 }, (_, i) => means[Math.floor(i / 9)]!);
    const { y } = await session.run({ x: { type: 'float32', dims: [1, CHANNELS, 3, 3], data } });
    return y!.data as Float32Array;
  };

  it.each([
    { called: 'whole', rows: 6, group: 1 },
    { called: 'depthwise', rows: 4, group: 4 },
    { called: 'grouped', rows: 6, group: 2 },
    { called: 'depthwise with a multiplier', rows: 8, group: 4 },
  ])('takes off what rounding shifts the mean output by: $called', async ({ rows, group }) => {
    const weight = noise((rows * CHANNELS * 9) / group, 3);
    const of = convolution(weight, rows, group);
    const { rounded } = quantizeWeights(of.graph.initializers.get('w')!, 8);
    const seen = (channelMeans: number[]) => ({ ...range(-4, 4), channelMeans: Float64Array.from(channelMeans) });
    const ranges = new Map([
      ['x', seen(means)],
      ['y', seen([])],
    ]);
    const { initializers } = quantizeModel(of, ranges, { rule: { kind: 'min-max' }, weightBits: 8 }).graph;
    const [wanted, shifted] = [await atMeans(of), await atMeans(convolution(rounded, rows, group))];
    const bias = float32Of(of.graph.initializers.get('b')!);
    const steps = float32Of(initializers.get('w_bias_scale')!);
    numbersOf(initializers.get('w_bias_q')!).forEach((integer, o) => {
      const inSteps = (bias[o]! - (shifted[o]! - wanted[o]!)) / steps[o]!;
      expect(Math.abs(integer - inSteps)).toBeLessThan(0.6);
    });
  });
});
