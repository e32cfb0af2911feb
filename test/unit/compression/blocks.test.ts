import { describe, expect, it } from 'vitest';
import { allocate } from '../../../main/compression/prune/allocate.ts';
import { analysePruning } from '../../../main/compression/prune/analyse.ts';
import { blockErrors } from '../../../main/compression/prune/block-errors.ts';
import { dropBlocks, findBlocks, type ResidualBlock } from '../../../main/compression/prune/blocks.ts';
import { pruneModel } from '../../../main/compression/prune/prune.ts';
import {
  buildNetwork,
  float32Of,
  float32Tensor,
  foldBatchNorm,
  modelCost,
  node,
  value,
  withGraph,
  type Architecture,
  type Model,
} from '../../../main/onnx/index.ts';
import { noise, randomImages, relativeError, runModel, smallBackbone } from './networks.ts';

const SIZE = 32;
const images = randomImages(48);
const held = Array.from({ length: 8 }, (_, i) => 40 + i);
const options = { images: Array.from({ length: 40 }, (_, i) => i), size: SIZE, threads: 1, seed: 3 };

const withConstants = (model: Model, change: (name: string, data: Float32Array) => Float32Array): Model => ({
  ...model,
  graph: {
    ...model.graph,
    initializers: new Map(
      [...model.graph.initializers].map(([name, tensor]) => [
        name,
        tensor.type === 'float32' ? float32Tensor(tensor.dims, change(name, float32Of(tensor))) : tensor,
      ]),
    ),
  },
});

/** `depth` bottlenecks in a row, each with a residual; the last layer of each gives little. */
const chain = (depth: number): Model => {
  const one = smallBackbone();
  const at = one.graph.nodes.findIndex(({ outputs }) => outputs[0] === 'sum_1');
  const own = ['fused', 'fused_act', 'fused_out', 'sum_1'];
  const nodes = [...one.graph.nodes];
  const initializers = new Map(one.graph.initializers);
  let last = 'sum_1';
  const more = Array.from({ length: depth - 1 }, (_, k) => {
    const suffix = `_${k + 2}`;
    const input = last;
    last = `sum_1${suffix}`;
    for (const name of ['fused_w', 'fused_b', 'fused_out_w', 'fused_out_b']) {
      const { dims } = one.graph.initializers.get(name)!;
      const count = dims.reduce((a, b) => a * b, 1);
      initializers.set(`${name}${suffix}`, float32Tensor(dims, noise(count, 77 * (k + 1) + name.length, 0.15)));
    }
    return one.graph.nodes
      .filter(({ outputs }) => own.includes(outputs[0]!))
      .map((each) => ({
        ...each,
        name: '',
        inputs: each.inputs.map((name) =>
          name === 'narrow' ? input : initializers.has(name) || own.includes(name) ? `${name}${suffix}` : name,
        ),
        outputs: each.outputs.map((name) => `${name}${suffix}`),
      }));
  }).flat();
  const rest = nodes
    .splice(at + 1)
    .map((each) => ({ ...each, inputs: each.inputs.map((name) => (name === 'sum_1' ? last : name)) }));
  return withGraph(one, { ...one.graph, nodes: [...nodes, ...more, ...rest], initializers });
};

describe('residual blocks', () => {
  it.each<[Architecture, number]>([
    ['mobilenet_v2', 10],
    // Of four stages, the first block of three changes the size: its way past is a layer too.
    ['resnet18', 5],
    // Attention and perceptron of twelve layers.
    ['vit_tiny', 24],
  ])('of %s are %i', (architecture, count) => {
    const model = foldBatchNorm(buildNetwork(architecture, { classes: 5, size: 64, seed: 1 }));
    expect(findBlocks(model).length).toBe(count);
  });

  it('one whose inside is read elsewhere, or whose sum is an output, stays', () => {
    const model = smallBackbone();
    expect(findBlocks(model).map(({ id, skip, nodes }) => [id, skip, [...nodes].sort()])).toContainEqual([
      'sum_1',
      'narrow',
      ['fused', 'fused_act', 'fused_out', 'sum_1'],
    ]);
    const watched = (name: string): Model =>
      withGraph(model, { ...model.graph, outputs: [...model.graph.outputs, value(name)] });
    for (const name of ['sum_1', 'fused_act']) {
      expect(findBlocks(watched(name)).some(({ id }) => id === 'sum_1')).toBe(false);
    }
    const read = withGraph(model, {
      ...model.graph,
      nodes: [...model.graph.nodes, node('Relu', ['fused_out'], ['also'])],
      outputs: [...model.graph.outputs, value('also')],
    });
    expect(findBlocks(read).some(({ id }) => id === 'sum_1')).toBe(false);
  });

  it('oracle: a block that gives nothing and one that is gone leave the same outputs', async () => {
    const model = chain(3);
    const gone = findBlocks(model).filter(({ id }) => ['sum_1', 'sum_1_3'].includes(id));
    expect(gone.length).toBe(2);
    const silent = withConstants(model, (name, data) =>
      /^fused_out_[wb](_3)?$/.test(name) ? new Float32Array(data.length) : data,
    );
    const dropped = dropBlocks(model, gone);
    const [a, b, whole] = [
      await runModel(silent, images, held, SIZE),
      await runModel(dropped, images, held, SIZE),
      await runModel(model, images, held, SIZE),
    ];
    expect(relativeError(a, b)).toBeLessThan(1e-10);
    expect(relativeError(whole, b)).toBeGreaterThan(1e-4);
    expect(modelCost(dropped, [1, 3, SIZE, SIZE]).macs).toBeLessThan(modelCost(model, [1, 3, SIZE, SIZE]).macs);
  });

  it('go where time lies in layers, and the layer before takes over most of what they gave', async () => {
    const model = chain(3);
    const analysis = await analysePruning(model, images, options);
    const blocks = await blockErrors(analysis, images, options);
    expect(blocks.map(({ block }) => block.id)).toEqual(expect.arrayContaining(['sum_1_2', 'sum_1_3']));
    for (const { errors, groups } of blocks) {
      for (const error of errors) {
        expect(error).toBeGreaterThan(0);
        expect(error).toBeLessThan(1);
      }
      expect(groups.length).toBe(1);
    }
    // A layer costs the same however narrow it is.
    const costs = analysis.costs.map((cost) => ({
      ...cost,
      ms: (input: number, output: number) => (cost.macs > 0 ? 1 + 1e-3 * input * output : 0),
    }));
    const timed = { ...analysis, costs };
    const { keep, dropped } = allocate(analysis.curves, costs, { ratio: 0.3, floor: 0.125, blocks });
    expect(dropped.length).toBeGreaterThan(0);
    expect(
      [...keep.keys()].some((id) => blocks.some(({ block, groups }) => dropped.includes(block) && groups.includes(id))),
    ).toBe(false);
    const pruned = await pruneModel(timed, images, 0.3, { ...options, blocks });
    expect(pruned.dropped).toEqual(dropped.map(({ id }) => id));
    expect(pruned.ratio).toBeCloseTo(
      1 - modelCost(pruned.model, [1, 3, SIZE, SIZE]).macs / modelCost(model, [1, 3, SIZE, SIZE]).macs,
      10,
    );
    const whole = await runModel(model, images, held, SIZE);
    const alone = dropBlocks(model, dropped);
    const bare = relativeError(whole, await runModel(alone, images, held, SIZE));
    const repaired = await pruneModel({ ...timed, curves: [] }, images, pruned.ratio / 2, {
      ...options,
      blocks: blocks.filter(({ block }) => dropped.includes(block)),
    });
    expect(repaired.dropped.length).toBeGreaterThan(0);
    expect(relativeError(whole, await runModel(repaired.model, images, held, SIZE))).toBeLessThan(bare / 2);
  });

  it('that add the same lose together four times what one does, not twice', async () => {
    const given = chain(3);
    const { initializers } = given.graph;
    const model = withConstants(given, (name, data) => {
      const twin = initializers.get(name.replace(/_3$/, '_2'));
      const weights = name.endsWith('_3') && twin ? float32Of(twin) : data;
      // So little that the second sees nearly what the first saw.
      return /^fused_out_w_[23]$/.test(name) ? weights.map((w) => w / 100) : weights;
    });
    const blocks = await blockErrors(await analysePruning(model, images, options), images, options);
    const [first, second] = ['sum_1_2', 'sum_1_3'].map((id) => blocks.find(({ block }) => block.id === id)!);
    expect([first!.follows, second!.follows]).toEqual(['sum_1', 'sum_1_2']);
    expect(first!.errors.length).toBe(2);
    expect(second!.errors.length).toBe(3);
    expect(second!.errors[1]! / first!.errors[0]!).toBeGreaterThan(3.5);
    expect(second!.errors[1]! / first!.errors[0]!).toBeLessThan(4.5);
  });

  it('in a row are priced by what they lose together, whichever goes first', () => {
    const block = (id: string): ResidualBlock => ({ id, skip: '', nodes: new Set([`in ${id}`]) });
    const costs = ['a', 'b', 'c', 'd'].map((id) => ({ node: `in ${id}`, macs: 1, input: [], output: [] }));
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(block) as [
      ResidualBlock,
      ResidualBlock,
      ResidualBlock,
      ResidualBlock,
    ];
    const blocks = [
      { block: a, follows: null, errors: [1], groups: [] },
      { block: b, follows: 'a', errors: [5, 9], groups: [] },
      { block: c, follows: 'b', errors: [2, 8, 12], groups: [] },
      { block: d, follows: null, errors: [8.5], groups: [] },
    ];
    const gone = (ratio: number): string[] =>
      allocate([], costs, { ratio, floor: 0.125, blocks }).dropped.map(({ id }) => id);
    // b joins a and c: 12 for all three less 1 and 2 that are paid, which is more than d.
    expect(gone(0.75)).toEqual(['a', 'c', 'd']);
    const cheaper = blocks.map((each) => (each.block === c ? { ...each, errors: [2, 8, 10] } : each));
    expect(allocate([], costs, { ratio: 0.75, floor: 0.125, blocks: cheaper }).dropped).toEqual([a, c, b]);
  });
});
