import { describe, expect, it } from 'vitest';
import { costModelOf, layersOf } from '../../../main/compression/cost/cost-model.ts';
import { allocate, totalMacs } from '../../../main/compression/prune/allocate.ts';
import { analysePruning, nodeCosts } from '../../../main/compression/prune/analyse.ts';
import { cutChannels } from '../../../main/compression/prune/cut.ts';
import { findGroups, type DependencyGroup } from '../../../main/compression/prune/groups.ts';
import { pruneModel } from '../../../main/compression/prune/prune.ts';
import {
  float32Of,
  float32Tensor,
  graph,
  int64Tensor,
  model as makeModel,
  modelCost,
  node,
  value,
  type Model,
} from '../../../main/onnx/index.ts';
import { noise, randomImages, relativeError, runModel, smallBackbone } from './networks.ts';

const images = randomImages(48);
const some = Array.from({ length: 8 }, (_, i) => i);
const SIZE = 32;

/** Sets every weight that makes or reads the channels to zero, rows and columns alike. */
const zeroChannels = (model: Model, slices: DependencyGroup['slices'], gone: ReadonlySet<number>): Model => {
  const initializers = new Map(model.graph.initializers);
  for (const { initializer, axis, channels } of slices) {
    const tensor = initializers.get(initializer)!;
    const data = Float32Array.from(float32Of(tensor));
    const inner = tensor.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    data.forEach((_, i) => {
      if (gone.has(channels[Math.floor(i / inner) % tensor.dims[axis]!]!)) data[i] = 0;
    });
    initializers.set(initializer, float32Tensor(tensor.dims, data));
  }
  return { ...model, graph: { ...model.graph, initializers } };
};

describe('dependency groups', () => {
  it('tie what a residual, a depthwise convolution and an activation keep apart', () => {
    const groups = findGroups(smallBackbone());
    expect(groups.map(({ id, channels, frozen }) => [id, channels, frozen])).toEqual([
      ['stem', 16, null],
      ['narrow', 16, null],
      ['fused', 40, null],
      ['wide', 48, null],
      ['out', 24, null],
    ]);
    const stream = groups.find(({ id }) => id === 'narrow')!;
    expect(stream.producers.map(({ outputs }) => outputs[0])).toEqual(['narrow', 'fused_out']);
    expect(stream.consumers.map(({ weight }) => weight)).toEqual(['fused_w', 'wide_w']);
    expect(groups.find(({ id }) => id === 'wide')!.tensors).toEqual(['wide', 'wide_act', 'dw', 'dw_act']);
    expect(groups.find(({ id }) => id === 'out')!.outputs).toEqual(['features']);
  });

  it('freezes what an unknown operator touches, and names it', () => {
    const model = smallBackbone();
    const graph = {
      ...model.graph,
      nodes: model.graph.nodes.flatMap((n) =>
        n.outputs[0] === 'wide_act' ? [n, node('Softmax', ['wide_act'], ['odd'], { axis: 1 })] : [n],
      ),
      outputs: [...model.graph.outputs, value('odd')],
    };
    const wide = findGroups({ ...model, graph }).find(({ id }) => id === 'wide')!;
    expect(wide.frozen).toContain('Softmax "odd"');
    expect(findGroups({ ...model, graph }).find(({ id }) => id === 'fused')!.frozen).toBeNull();
  });

  it('a mean over no named axes is one over all, unless its node says otherwise', () => {
    const frozenBy = (attributes: Record<string, number>) => {
      const weights = (from: number, to: number) => float32Tensor([to, from, 1, 1], noise(to * from, 3));
      const made = makeModel(
        graph({
          inputs: [value('image', 'float32', ['N', 3, 8, 8])],
          outputs: [value('y', 'float32', ['N', 4, 8, 8]), value('s', 'float32', null)],
          nodes: [
            node('Conv', ['image', 'w1'], ['map'], { kernel_shape: [1, 1] }),
            node('ReduceMean', ['map', 'axes'], ['s'], attributes),
            node('Conv', ['map', 'w2'], ['y'], { kernel_shape: [1, 1] }),
          ],
          initializers: { w1: weights(3, 8), w2: weights(8, 4), axes: int64Tensor([0], []) },
        }),
        { opset: 18 },
      );
      return findGroups(made).find(({ id }) => id === 'map')!.frozen;
    };
    expect(frozenBy({})).toContain('it reduces all axes');
    expect(frozenBy({ noop_with_empty_axes: 1 }) ?? '').not.toContain('it reduces all axes');
  });

  it('oracle: zeroing channels and cutting them give the same outputs, for every group and all at once', async () => {
    const model = smallBackbone();
    const groups = findGroups(model);
    const inner = groups.filter(({ outputs }) => outputs.length === 0);
    const goneOf = (channels: number) =>
      new Set(Array.from({ length: channels }, (_, c) => c).filter((c) => c % 3 === 1));
    const keepOf = (channels: number) =>
      Int32Array.from({ length: channels }, (_, c) => c).filter((c) => !goneOf(channels).has(c));
    for (const set of [...inner.map((group) => [group]), inner]) {
      const zeroed = set.reduce((m, { slices, channels }) => zeroChannels(m, slices, goneOf(channels)), model);
      const cut = cutChannels(model, groups, new Map(set.map(({ id, channels }) => [id, keepOf(channels)])));
      const [a, b, original] = [
        await runModel(zeroed, images, some, SIZE),
        await runModel(cut, images, some, SIZE),
        await runModel(model, images, some, SIZE),
      ];
      expect(relativeError(a, b)).toBeLessThan(1e-10);
      // The oracle says something only if the channels mattered.
      expect(relativeError(original, b)).toBeGreaterThan(1e-4);
      expect(modelCost(cut, [1, 3, SIZE, SIZE]).macs).toBeLessThan(modelCost(model, [1, 3, SIZE, SIZE]).macs);
    }
  });
});

describe('cost of nodes', () => {
  it('is that of the narrower layers themselves, of depthwise ones too', () => {
    const model = smallBackbone();
    const groups = findGroups(model);
    // Bytes alone take time here, so that none of them is forgotten.
    const costs = costModelOf({
      layers: layersOf(model, SIZE).map(({ kind, precision, macs, bytes }) => {
        return { kind, precision, macs, bytes, ms: bytes.input + bytes.weight + bytes.output };
      }),
      between: [],
    });
    const wide = groups.find(({ id }) => id === 'wide')!;
    const keep = new Map([['wide', Int32Array.from({ length: wide.channels / 2 }, (_, c) => c)]]);
    const cut = cutChannels(model, groups, keep);
    const narrower = layersOf(cut, SIZE);
    const at = cut.graph.nodes.filter(({ op }) => op === 'Conv').findIndex(({ outputs }) => outputs[0] === 'dw');
    const told = nodeCosts(model, groups, SIZE, costs).find((each) => each.node === 'dw')!;
    expect(narrower[at]!.kind).toBe('depthwise');
    expect(told.ms!(1, 0.5)).toBeCloseTo(costs.layer(narrower[at]!)!, 6);
  });
});

describe('pruning', () => {
  const options = { images: Array.from({ length: 40 }, (_, i) => i), size: SIZE, threads: 1, seed: 3 };

  it('takes the asked share of the cost, leaves outputs alone and says so', async () => {
    const model = smallBackbone();
    const analysis = await analysePruning(model, images, options);
    expect(analysis.untouched).toEqual([{ group: 'out', why: 'it is the output features' }]);
    const costs = nodeCosts(model, analysis.groups, SIZE);
    expect(totalMacs(costs, new Map())).toBe(modelCost(model, [1, 3, SIZE, SIZE]).macs);
    const pruned = await pruneModel(analysis, images, 0.3, options);
    expect(pruned.ratio).toBeGreaterThanOrEqual(0.3);
    const before = modelCost(model, [1, 3, SIZE, SIZE]).macs;
    const after = modelCost(pruned.model, [1, 3, SIZE, SIZE]).macs;
    expect(1 - after / before).toBeCloseTo(pruned.ratio, 10);
    for (const { after: channels } of pruned.widths) expect(channels % 8).toBe(0);
  });

  it('reconstruction repairs most of what the cut broke, on images it has not seen', async () => {
    const model = smallBackbone(4);
    const analysis = await analysePruning(model, images, options);
    const held = Array.from({ length: 8 }, (_, i) => 40 + i);
    const original = await runModel(model, images, held, SIZE);
    const pruned = await pruneModel(analysis, images, 0.3, options);
    const { keep } = allocate(analysis.curves, analysis.costs, { ratio: 0.3, floor: 0.125 });
    const bare = cutChannels(model, analysis.groups, keep);
    const repaired = relativeError(original, await runModel(pruned.model, images, held, SIZE));
    const broken = relativeError(original, await runModel(bare, images, held, SIZE));
    expect(repaired).toBeLessThan(broken / 4);
  });

  it('removes copies first: a duplicated channel costs nothing', async () => {
    const model = smallBackbone(2);
    const weight = Float32Array.from(float32Of(model.graph.initializers.get('fused_w')!));
    const bias = Float32Array.from(float32Of(model.graph.initializers.get('fused_b')!));
    const row = weight.length / 40;
    for (let c = 32; c < 40; c++) {
      weight.copyWithin(c * row, (c - 32) * row, (c - 31) * row);
      bias[c] = bias[c - 32]!;
    }
    const initializers = new Map(model.graph.initializers)
      .set('fused_w', float32Tensor([40, 16, 3, 3], weight))
      .set('fused_b', float32Tensor([40], bias));
    const twin: Model = { ...model, graph: { ...model.graph, initializers } };
    const { curves } = await analysePruning(twin, images, options);
    const curve = curves.find(({ group }) => group.id === 'fused')!;
    const steps = Array.from({ length: 8 }, (_, c) => curve.order.findIndex((gone) => gone === c || gone === c + 32));
    // One of each pair goes among the first ten (nearly dead channels may go before), long before an error is felt.
    expect(Math.max(...steps)).toBeLessThan(10);
    expect(curve.error[Math.max(...steps) + 1]!).toBeLessThan(curve.error.at(-1)! / 1000);
  });

  it('takes the size of a kernel from its weight where no attribute states it', async () => {
    const pruned = async (attributes: { kernel_shape?: number[] }) => {
      const of = makeModel(
        graph({
          nodes: [
            node('Conv', ['image', 'made_w'], ['made'], { kernel_shape: [1, 1] }),
            node('Relu', ['made'], ['act']),
            node('Conv', ['act', 'read_w', 'read_b'], ['read'], { pads: [1, 1, 1, 1], ...attributes }),
            node('GlobalAveragePool', ['read'], ['mean']),
            node('Flatten', ['mean'], ['features'], { axis: 1 }),
          ],
          inputs: [value('image', 'float32', ['N', 3, 'H', 'W'])],
          outputs: [value('features', 'float32', ['N', 8])],
          initializers: {
            made_w: float32Tensor([32, 3, 1, 1], noise(96, 1)),
            read_w: float32Tensor([8, 32, 3, 3], noise(2304, 2, 0.1)),
            read_b: float32Tensor([8], noise(8, 3)),
          },
        }),
      );
      return pruneModel(await analysePruning(of, images, options), images, 0.4, options);
    };
    const [stated, unstated] = [await pruned({ kernel_shape: [3, 3] }), await pruned({})];
    expect(stated.widths).toEqual([{ group: 'made', before: 32, after: 16 }]);
    expect(unstated.widths).toEqual(stated.widths);
    expect(unstated.model.graph.initializers).toEqual(stated.model.graph.initializers);
  });

  it('stops when told to', async () => {
    const signal = AbortSignal.abort();
    await expect(analysePruning(smallBackbone(), images, { ...options, signal })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
  });
});
