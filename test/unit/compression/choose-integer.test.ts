import { describe, expect, it } from 'vitest';
import { observeRanges, uint8Parameters } from '../../../main/compression/quantize/calibrate.ts';
import { chooseInteger, outputsOn, relativeOutputError } from '../../../main/compression/quantize/choose.ts';
import { equalizeWeights } from '../../../main/compression/quantize/equalize.ts';
import { planQuantization, quantizeModel, quantizeWeights, tensorsOf } from '../../../main/compression/quantize/qdq.ts';
import {
  float32Of,
  float32Tensor,
  graph,
  model as modelOf,
  node,
  setInitializer,
  value,
  withGraph,
  type Model,
} from '../../../main/onnx/index.ts';
import { indirectBackbone, noise, randomImages, relativeError, runModel, smallBackbone } from './networks.ts';

const images = randomImages(32);
const SIZE = 32;
const calibration = Array.from({ length: 16 }, (_, i) => i);
const compared = Array.from({ length: 16 }, (_, i) => 16 + i);
const options = { images: calibration, size: SIZE, threads: 1, seed: 1 };

/** Channel c of `fused` (before a Relu) made `factor` as strong, and taken back behind: the same function, unequal ranges. */
const unequal = (model: Model, factor: (c: number) => number): Model => {
  const first = Float32Array.from(float32Of(model.graph.initializers.get('fused_w')!));
  const bias = Float32Array.from(float32Of(model.graph.initializers.get('fused_b')!));
  const second = Float32Array.from(float32Of(model.graph.initializers.get('fused_out_w')!));
  for (let c = 0; c < 40; c++) {
    for (let i = 0; i < 16 * 9; i++) first[c * 16 * 9 + i]! *= factor(c);
    bias[c]! *= factor(c);
    for (let o = 0; o < 16; o++) second[o * 40 + c]! /= factor(c);
  }
  let { graph } = model;
  graph = setInitializer(graph, 'fused_w', float32Tensor([40, 16, 3, 3], first));
  graph = setInitializer(graph, 'fused_b', float32Tensor([40], bias));
  graph = setInitializer(graph, 'fused_out_w', float32Tensor([16, 40, 1, 1], second));
  return withGraph(model, graph);
};

describe('range by least squared error', () => {
  it('cuts an outlier off where that costs less than coarse steps, and keeps even values whole', () => {
    const sample = Float32Array.from({ length: 400_000 }, (_, i) => (i === 0 ? 2 : (i % 1000) / 1000)).sort();
    const range = {
      min: 0,
      max: 2,
      sample,
      channelMeans: new Float64Array(1),
      channelPeaks: new Float64Array(1),
      channelVariances: new Float64Array(1),
    };
    const { scale } = uint8Parameters(range, { kind: 'mse' });
    expect(scale * 255).toBeLessThan(1.5);
    const even = Float32Array.from({ length: 4096 }, (_, i) => i / 4095);
    expect(uint8Parameters({ ...range, max: 1, sample: even }, { kind: 'mse' }).scale * 255).toBeCloseTo(1, 5);
  });
});

describe('cross-layer equalisation', () => {
  it('changes weights, not outputs, and repairs unequal channels', async () => {
    const model = unequal(smallBackbone(), (c) => 4 ** ((c % 7) - 3));
    const { model: equal, pairs } = equalizeWeights(model);
    // stem -> narrow, fused -> fused_out; Clip and HardSwish do not scale.
    expect(pairs).toBe(2);
    const [a, b] = [await runModel(model, images, compared, SIZE), await runModel(equal, images, compared, SIZE)];
    expect(relativeError(a, b)).toBeLessThan(1e-9);
    const spread = (of: Model): number => {
      const { scales } = quantizeWeights(of.graph.initializers.get('fused_w')!, 8);
      return Math.max(...scales) / Math.min(...scales);
    };
    expect(spread(equal)).toBeLessThan(spread(model) / 20);
  });
});

describe('cross-layer equalisation of a depthwise convolution with a multiplier', () => {
  it('leaves it alone: two rows read each channel', async () => {
    const given = modelOf(
      graph({
        nodes: [
          node('Conv', ['image', 'a_w'], ['a'], { kernel_shape: [3, 3] }),
          node('Relu', ['a'], ['act']),
          node('Conv', ['act', 'b_w'], ['b'], { kernel_shape: [3, 3], group: 8 }),
          node('GlobalAveragePool', ['b'], ['pooled']),
          node('Flatten', ['pooled'], ['features']),
        ],
        inputs: [value('image', 'float32', ['N', 3, 'H', 'W'])],
        outputs: [value('features')],
        initializers: {
          a_w: float32Tensor([8, 3, 3, 3], noise(8 * 27, 3)),
          b_w: float32Tensor([16, 1, 3, 3], noise(16 * 9, 4)),
        },
      }),
    );
    const { model: equal, pairs } = equalizeWeights(given);
    expect(pairs).toBe(0);
    const [a, b] = [await runModel(given, images, compared, SIZE), await runModel(equal, images, compared, SIZE)];
    expect(relativeError(a, b)).toBeLessThan(1e-9);
  });
});

describe('accuracy control', () => {
  it('keeps named convolutions float, exactly', async () => {
    const model = smallBackbone();
    const plans = planQuantization(model);
    const ranges = await observeRanges(model, tensorsOf(plans), images, options);
    const all = new Set(plans.map(({ conv }) => conv.outputs[0]!));
    const none = quantizeModel(model, ranges, { rule: { kind: 'min-max' }, weightBits: 8, keepFloat: all });
    const wanted = await runModel(model, images, compared, SIZE);
    expect(relativeError(wanted, await runModel(none, images, compared, SIZE))).toBeLessThan(1e-9);
    // Between integer neighbours as well: their own error is all that is left (README, float islands).
    const island = quantizeModel(model, ranges, {
      rule: { kind: 'min-max' },
      weightBits: 8,
      keepFloat: new Set(['dw']),
    });
    const full = quantizeModel(model, ranges, { rule: { kind: 'min-max' }, weightBits: 8 });
    const errorOf = async (of: Model) => relativeError(wanted, await runModel(of, images, compared, SIZE));
    expect(await errorOf(island)).toBeLessThan(1.2 * (await errorOf(full)));
    expect(island.graph.nodes.find(({ outputs }) => outputs[0] === 'dw')!.inputs[1]).toContain('i32');
  });

  it('takes weights that pass an Identity, a Cast or a Constant for weights', async () => {
    const asked = { ...options, compared, weightBits: 8 as const };
    const [plain, indirect] = [smallBackbone(), indirectBackbone()];
    const all = await chooseInteger(plain, images, asked);
    expect(all.integers).toBe(planQuantization(plain).length);
    // All but the one whose weight is computed.
    expect((await chooseInteger(indirect, images, asked)).integers).toBe(all.integers - 1);
  });

  it('all integer where that is good enough; else the worst layers go back until it is', async () => {
    const easy = await chooseInteger(smallBackbone(), images, { ...options, compared, weightBits: 8 });
    expect(easy.keptFloat).toEqual([]);
    expect(easy.error).toBe(easy.fullError);
    // A few giant activations behind HardSwish: nothing equalises them, and eight bits for all are too coarse.
    const model = smallBackbone();
    const bias = Float32Array.from(float32Of(model.graph.initializers.get('dw_b')!));
    const weight = Float32Array.from(float32Of(model.graph.initializers.get('dw_w')!));
    for (let i = 0; i < 9; i++) weight[i]! *= 3000;
    bias[0] = 3000;
    const out = Float32Array.from(float32Of(model.graph.initializers.get('out_w')!));
    for (let o = 0; o < 24; o++) out[o * 48]! /= 3000;
    let graph = setInitializer(model.graph, 'dw_w', float32Tensor([48, 1, 3, 3], weight));
    graph = setInitializer(graph, 'dw_b', float32Tensor([48], bias));
    graph = setInitializer(graph, 'out_w', float32Tensor([24, 48, 1, 1], out));
    const hard = withGraph(model, graph);
    const choice = await chooseInteger(hard, images, { ...options, compared, weightBits: 8, tolerance: 0.02 });
    expect(choice.fullError).toBeGreaterThan(0.02);
    expect(choice.keptFloat.length).toBeGreaterThan(0);
    expect(choice.error).toBeLessThan(choice.fullError / 2);
    expect(choice.integers + choice.keptFloat.length).toBe(planQuantization(hard).length);
    const wanted = await outputsOn(hard, images, compared, options);
    const given = await outputsOn(choice.model, images, compared, options);
    expect(relativeOutputError(wanted, given, compared.length)).toBeCloseTo(choice.error, 10);
  });
});
