import { describe, expect, it } from 'vitest';
import { balanceActivations } from '../../../main/compression/quantize/balance.ts';
import { observeRanges } from '../../../main/compression/quantize/calibrate.ts';
import { chooseInteger } from '../../../main/compression/quantize/choose.ts';
import { planQuantization, quantizeModel, tensorsOf } from '../../../main/compression/quantize/qdq.ts';
import { float32Tensor, graph, model, node, value, type Model } from '../../../main/onnx/index.ts';
import { noise, randomImages, relativeError, runModel, smallBackbone } from './networks.ts';

const images = randomImages(32);
const SIZE = 32;
const calibration = Array.from({ length: 16 }, (_, i) => i);
const compared = Array.from({ length: 16 }, (_, i) => 16 + i);
const options = { images: calibration, size: SIZE, threads: 1, seed: 1 };
const rangesOf = (of: Model) => observeRanges(of, tensorsOf(planQuantization(of)), images, options);

/** Relu, depthwise, residual sum and pooling of an uneven map: channel c of each is 3^(c % 5) times as strong as the first. */
const uneven = (): Model => {
  const uneven = (x: number, i: number, perRow: number) => x * 3 ** (Math.floor(i / perRow) % 5);
  return model(
    graph({
      nodes: [
        node('Conv', ['image', 'a_w', 'a_b'], ['a'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
        node('Relu', ['a'], ['a_act']),
        node('Conv', ['a_act', 'd_w', 'd_b'], ['d'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1], group: 20 }),
        node('Add', ['a_act', 'd'], ['sum']),
        node('Conv', ['sum', 'b_w'], ['b'], { kernel_shape: [1, 1] }),
        node('Relu', ['b'], ['b_act']),
        node('GlobalAveragePool', ['b_act'], ['pooled']),
        node('Flatten', ['pooled'], ['features'], { axis: 1 }),
      ],
      inputs: [value('image', 'float32', ['N', 3, 'H', 'W'])],
      outputs: [value('features', 'float32', ['N', 15])],
      initializers: {
        a_w: float32Tensor(
          [20, 3, 3, 3],
          noise(540, 1, 0.3).map((x, i) => uneven(x, i, 27)),
        ),
        a_b: float32Tensor([20], noise(20, 2, 0.1)),
        d_w: float32Tensor([20, 1, 3, 3], noise(180, 3, 0.3)),
        d_b: float32Tensor([20], noise(20, 4, 0.1)),
        b_w: float32Tensor(
          [15, 20, 1, 1],
          // Weak channels matter as much as strong ones.
          noise(300, 5, 0.3).map((x, i) => uneven(x / 3 ** ((i % 20) % 5), i, 20)),
        ),
      },
    }),
  );
};

describe('balanced activations', () => {
  it('leave what the network computes, through Relu, Clip, depthwise convolutions, residual sums and pooling', async () => {
    for (const of of [uneven(), smallBackbone()]) {
      const { model: balanced, groups } = balanceActivations(of, await rangesOf(of), 8);
      expect(groups).toBeGreaterThan(0);
      const both = [await runModel(of, images, calibration, SIZE), await runModel(balanced, images, calibration, SIZE)];
      expect(relativeError(both[0]!, both[1]!)).toBeLessThan(1e-9);
    }
  });

  it('reach more alike where that costs the weights less than it gains', async () => {
    const of = uneven();
    const ranges = await rangesOf(of);
    const after = await rangesOf(balanceActivations(of, ranges, 8).model);
    const spread = (name: string, by: typeof ranges): number => {
      const { channelPeaks } = by.get(name)!;
      return Math.max(...channelPeaks) / Math.min(...channelPeaks);
    };
    for (const name of ['a_act', 'sum', 'b_act']) expect(spread(name, after)).toBeLessThan(spread(name, ranges) / 2);
  });

  it('lose less to eight bits, and are chosen for it', async () => {
    const of = uneven();
    const wanted = await runModel(of, images, compared, SIZE);
    const ranges = await rangesOf(of);
    const errorOf = async (each: Model): Promise<number> => {
      const made = quantizeModel(each, await rangesOf(each), { rule: { kind: 'min-max' }, weightBits: 8 });
      return relativeError(wanted, await runModel(made, images, compared, SIZE));
    };
    expect(await errorOf(balanceActivations(of, ranges, 8).model)).toBeLessThan((await errorOf(of)) / 2);
    const choice = await chooseInteger(of, images, { ...options, compared, weightBits: 8 });
    expect(choice.levelling).toBe('activations');
  });

  it('leave alone what other operators read', async () => {
    const of = smallBackbone();
    const { model: balanced } = balanceActivations(of, await rangesOf(of), 8);
    // HardSwish does not scale: neither its input nor its output may.
    for (const name of ['dw_b', 'gain']) {
      expect(balanced.graph.initializers.get(name)).toEqual(of.graph.initializers.get(name));
    }
  });
});
