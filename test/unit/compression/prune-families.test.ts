import { describe, expect, it } from 'vitest';
import { allocate } from '../../../main/compression/prune/allocate.ts';
import { analysePruning } from '../../../main/compression/prune/analyse.ts';
import { cutChannels } from '../../../main/compression/prune/cut.ts';
import { findGroups, type DependencyGroup } from '../../../main/compression/prune/groups.ts';
import { pruneModel } from '../../../main/compression/prune/prune.ts';
import {
  buildNetwork,
  encodeModel,
  float32Of,
  float32Tensor,
  foldConstants,
  graph,
  int64Tensor,
  model as makeModel,
  modelCost,
  node,
  runtimeInputs,
  value,
  type ConstTensor,
  type Model,
  type NetworkOptions,
  type Architecture,
  type Node,
} from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { noise, randomImages, relativeError, weightsFrom, zeroed } from './networks.ts';

/** Every constant that is multiplied or added gets numbers of its own, so that no two channels are alike and none is dead. */
const stirred = (of: Model): Model => {
  let seed = 1;
  const initializers = new Map(
    [...of.graph.initializers].map(([name, tensor]): [string, ConstTensor] => {
      if (tensor.type !== 'float32' || tensor.dims.length === 0 || name.includes('running_var')) return [name, tensor];
      const data = float32Of(tensor);
      return [
        name,
        float32Tensor(
          tensor.dims,
          noise(data.length, ++seed, 0.1).map((x, i) => x + data[i]!),
        ),
      ];
    }),
  );
  return { ...of, graph: { ...of.graph, initializers } };
};

async function outputsOf(of: Model, batch = 2): Promise<Float32Array> {
  await using session = await openSession(encodeModel(of), { threads: 1 });
  const [input] = runtimeInputs(of.graph);
  const dims = input!.shape!.map((dim, axis) => (typeof dim === 'number' ? dim : axis === 0 ? batch : 32));
  const data = noise(
    dims.reduce((a, b) => a * b, 1),
    99,
  );
  const result = await session.run({ [input!.name]: { type: 'float32', dims, data } });
  return Float32Array.from(of.graph.outputs.flatMap(({ name }) => [...(result[name]!.data as Float32Array)]));
}

const everyThird = (channels: number): Int32Array =>
  Int32Array.from({ length: channels }, (_, c) => c).filter((c) => c % 3 !== 1);

/** The oracle: zero the channels first, then cut: equal outputs, for each of some groups alone and for all at once. */
async function oracle(of: Model): Promise<DependencyGroup[]> {
  const model = stirred(foldConstants(of));
  const groups = findGroups(model);
  const free = groups.filter((group) => group.frozen === null && group.outputs.length === 0 && group.channels > 1);
  expect(free.length).toBeGreaterThan(0);
  const original = await outputsOf(model);
  const sample = free.length <= 6 ? free : free.filter((_, i) => i % Math.ceil(free.length / 6) === 0);
  for (const set of [...sample.map((group) => [group]), free]) {
    const keep = new Map(set.map(({ id, channels }) => [id, everyThird(channels)]));
    const cut = cutChannels(model, groups, keep);
    const [a, b] = [await outputsOf(zeroed(model, groups, keep)), await outputsOf(cut)];
    const what = set.map(({ id }) => id).join();
    expect(relativeError(a, b), what).toBeLessThan(1e-8);
    // It says something only if the channels mattered.
    expect(relativeError(original, b), what).toBeGreaterThan(1e-9);
    const cost = (m: Model) =>
      modelCost(
        m,
        runtimeInputs(m.graph)[0]!.shape!.map((dim, axis) => (typeof dim === 'number' ? dim : axis === 0 ? 1 : 32)),
      );
    expect(cost(cut).params).toBeLessThan(cost(model).params);
  }
  return groups;
}

describe('the oracle holds for every family', () => {
  const cases: [Architecture, Partial<NetworkOptions>][] = [
    ['mobilenet_v2', { width: 0.5, size: 32 }],
    ['mobilenet_v3_small', { size: 32 }],
    ['efficientnet_lite0', { width: 0.5, size: 32 }],
    ['resnet18', { width: 0.25, size: 32 }],
    ['vit_tiny', { size: 32, transformer: { dim: 48, depth: 3, heads: 3 } }],
    ['deit_tiny', { size: 32, batch: 2, transformer: { dim: 48, depth: 2, heads: 6 } }],
  ];
  it.each(cases)('%s', async (architecture, options) => {
    await oracle(buildNetwork(architecture, { classes: 7, size: 32, seed: 3, ...options }));
  });

  it('heads and widths of a transformer are groups; its residual stream is named with the reason', () => {
    const groups = findGroups(
      foldConstants(
        buildNetwork('vit_tiny', { classes: 5, size: 32, seed: 1, transformer: { dim: 48, depth: 2, heads: 3 } }),
      ),
    );
    const heads = groups.filter(({ unit }) => unit === 48);
    expect(heads.map(({ channels, frozen }) => [channels, frozen])).toEqual([
      [3, null],
      [3, null],
    ]);
    expect(groups.filter(({ channels }) => channels === 192).map(({ frozen }) => frozen)).toEqual([null, null]);
    const frozen = groups.filter((group) => group.frozen !== null);
    expect(frozen.map(({ frozen: why }) => why).join()).toContain('Concat "tokens": it joins channels');
  });

  it('squeeze and excite: the gate goes with what it gates', () => {
    const groups = findGroups(buildNetwork('mobilenet_v3_small', { classes: 5, size: 32, seed: 1 }));
    const gated = groups.find(({ tensors }) => tensors.includes('features.4.block.2'))!;
    expect(gated.frozen).toBeNull();
    expect(gated.producers.map(({ outputs }) => outputs[0])).toContain('features.4.block.2.fc2');
    expect(groups.every(({ frozen }) => frozen === null)).toBe(true);
  });
});

describe('odd graphs', () => {
  const build = (
    nodes: Node[],
    constants: Record<string, ConstTensor>,
    outputs: readonly string[] = ['out'],
    size = 8,
  ): Model =>
    makeModel(
      graph({
        nodes,
        inputs: [value('image', 'float32', ['N', 3, size, size])],
        outputs: outputs.map((name) => value(name)),
        initializers: constants,
      }),
    );
  const weight = weightsFrom(50);
  const conv = (input: string, output: string, kernel = 1, extra: Record<string, number | number[]> = {}): Node => {
    const pad = Math.floor(kernel / 2);
    return node('Conv', [input, `${output}.w`], [output], {
      kernel_shape: [kernel, kernel],
      pads: [pad, pad, pad, pad],
      ...extra,
    });
  };
  const group = (groups: readonly DependencyGroup[], tensor: string) =>
    groups.filter(({ tensors }) => tensors.includes(tensor));

  it('a grouped convolution loses whole groups, with what each reads and makes', async () => {
    const groups = await oracle(
      build([conv('image', 'a', 3), conv('a', 'b', 3, { group: 4 }), node('Relu', ['b'], ['c']), conv('c', 'out')], {
        'a.w': weight(16, 3, 3, 3),
        'b.w': weight(32, 4, 3, 3),
        'out.w': weight(5, 32, 1, 1),
      }),
    );
    expect(group(groups, 'b').map(({ channels, unit, frozen }) => [channels, unit, frozen])).toEqual([[4, 8, null]]);
  });

  it('a depthwise convolution with a multiplier', async () => {
    const groups = await oracle(
      build([conv('image', 'a', 3), conv('a', 'b', 3, { group: 8 }), conv('b', 'out')], {
        'a.w': weight(8, 3, 3, 3),
        'b.w': weight(16, 1, 3, 3),
        'out.w': weight(5, 16, 1, 1),
      }),
    );
    expect(group(groups, 'b').map(({ channels }) => channels)).toEqual([8]);
  });

  it('Concat: each part loses channels of its own, the reader follows', async () => {
    const groups = await oracle(
      build(
        [
          conv('image', 'a', 3),
          conv('image', 'b'),
          node('Concat', ['a', 'b'], ['both'], { axis: 1 }),
          node('Relu', ['both'], ['act']),
          conv('act', 'out'),
        ],
        { 'a.w': weight(8, 3, 3, 3), 'b.w': weight(12, 3, 1, 1), 'out.w': weight(5, 20, 1, 1) },
      ),
    );
    expect(group(groups, 'both').map(({ channels }) => channels)).toEqual([8, 12]);
  });

  it('Split: the parts are groups of their own, sizes follow (stated and even ones)', async () => {
    for (const sizes of [int64Tensor([2], [6, 10]), null]) {
      const halves = sizes ? [6, 10] : [8, 8];
      const groups = await oracle(
        build(
          [
            conv('image', 'a', 3),
            node('Split', ['a', ...(sizes ? ['sizes'] : [])], ['left', 'right'], { axis: 1 }),
            conv('left', 'l'),
            conv('right', 'r'),
            node('Add', ['l', 'r'], ['out']),
          ],
          {
            'a.w': weight(16, 3, 3, 3),
            'l.w': weight(5, halves[0]!, 1, 1),
            'r.w': weight(5, halves[1]!, 1, 1),
            ...(sizes ? { sizes } : {}),
          },
        ),
      );
      expect(group(groups, 'a').map(({ channels }) => channels)).toEqual(halves);
    }
  });

  it('Slice of channels: its bounds follow', async () => {
    await oracle(
      build(
        [
          conv('image', 'a', 3),
          node('Slice', ['a', 'start', 'end', 'axes'], ['tail']),
          conv('tail', 't'),
          conv('a', 'whole'),
          node('Add', ['t', 'whole'], ['out']),
        ],
        {
          'a.w': weight(16, 3, 3, 3),
          start: int64Tensor([1], [-10]),
          end: int64Tensor([1], [1000]),
          axes: int64Tensor([1], [1]),
          't.w': weight(5, 10, 1, 1),
          'whole.w': weight(5, 16, 1, 1),
        },
      ),
    );
  });

  it('weights that two layers share: both lose the same channels', async () => {
    const groups = await oracle(
      build(
        [
          conv('image', 'a', 3),
          { ...conv('image', 'b', 3), inputs: ['image', 'a.w'] },
          node('Relu', ['b'], ['act']),
          conv('a', 'x'),
          conv('act', 'y'),
          node('Add', ['x', 'y'], ['out']),
        ],
        { 'a.w': weight(12, 3, 3, 3), 'x.w': weight(5, 12, 1, 1), 'y.w': weight(5, 12, 1, 1) },
      ),
    );
    expect(group(groups, 'a')).toEqual(group(groups, 'b'));
  });

  it('several outputs: only what reaches them stays', async () => {
    const groups = await oracle(
      build(
        [conv('image', 'a', 3), conv('a', 'early'), node('Relu', ['a'], ['b']), conv('b', 'c', 3), conv('c', 'late')],
        {
          'a.w': weight(12, 3, 3, 3),
          'early.w': weight(5, 12, 1, 1),
          'c.w': weight(16, 12, 3, 3),
          'late.w': weight(7, 16, 1, 1),
        },
        ['early', 'late'],
      ),
    );
    expect(groups.filter(({ outputs }) => outputs.length > 0).map(({ id }) => id)).toEqual(['early', 'late']);
  });

  it('a residual whose short cut pads channels with zeros', async () => {
    const groups = await oracle(
      build(
        [
          conv('image', 'a', 3),
          conv('a', 'm', 3),
          node('Pad', ['a', 'pads'], ['wide']),
          node('Add', ['m', 'wide'], ['sum']),
          conv('sum', 'out'),
        ],
        {
          'a.w': weight(8, 3, 3, 3),
          'm.w': weight(16, 8, 3, 3),
          pads: int64Tensor([8], [0, 4, 0, 0, 0, 4, 0, 0]),
          'out.w': weight(5, 16, 1, 1),
        },
      ),
    );
    expect(group(groups, 'sum').map(({ channels }) => channels)).toEqual([8, 8]);
  });

  it('a channel shuffle: channels go in sets that keep the shuffle whole', async () => {
    const groups = await oracle(
      build(
        [
          conv('image', 'a', 3),
          node('Reshape', ['a', 'five'], ['apart']),
          node('Transpose', ['apart'], ['turned'], { perm: [0, 2, 1, 3, 4] }),
          node('Reshape', ['turned', 'four'], ['shuffled']),
          conv('shuffled', 'out'),
        ],
        {
          'a.w': weight(24, 3, 3, 3),
          five: int64Tensor([5], [0, 2, 12, 8, 8]),
          four: int64Tensor([4], [0, 24, 8, 8]),
          'out.w': weight(5, 24, 1, 1),
        },
      ),
    );
    expect(group(groups, 'a').map(({ channels, unit }) => [channels, unit])).toEqual([[12, 2]]);
  });

  it('a flattened map: the classifier loses whole planes', async () => {
    const groups = await oracle(
      build(
        [conv('image', 'a', 3), node('Flatten', ['a'], ['flat'], { axis: 1 }), node('Gemm', ['flat', 'g.w'], ['out'])],
        { 'a.w': weight(6, 3, 3, 3), 'g.w': weight(6 * 64, 5) },
      ),
    );
    expect(groups[0]!.slices.find(({ initializer }) => initializer === 'g.w')!.channels.slice(0, 65)).toEqual(
      Int32Array.from({ length: 65 }, (_, i) => Math.floor(i / 64)),
    );
  });

  it('channels that an unknown operator sees stay, the others go; a gate of one channel stays', () => {
    const groups = findGroups(
      build(
        [
          conv('image', 'a', 3),
          node('LRN', ['a'], ['n'], { size: 3 }),
          conv('n', 'b', 3),
          conv('b', 'gate'),
          node('Mul', ['b', 'gate'], ['gated']),
          conv('gated', 'out'),
        ],
        {
          'a.w': weight(8, 3, 3, 3),
          'b.w': weight(16, 8, 3, 3),
          'gate.w': weight(1, 16, 1, 1),
          'out.w': weight(5, 16, 1, 1),
        },
      ),
    );
    expect(group(groups, 'a')[0]!.frozen).toBe('LRN "n": pruning does not know this operator');
    expect(group(groups, 'b')[0]!.frozen).toBeNull();
    expect(group(groups, 'gate')[0]!.frozen).not.toBeNull();
  });
});

describe('pruning with reconstruction', () => {
  it('a transformer: heads and widths go, and what is left is fitted, biases behind matrix products included', async () => {
    const images = randomImages(40);
    const transformer = { dim: 48, depth: 2, heads: 6, patch: 8 };
    const model = foldConstants(stirred(buildNetwork('vit_tiny', { classes: 8, size: 32, seed: 2, transformer })));
    const options = { images: Array.from({ length: 32 }, (_, i) => i), size: 32, threads: 1, seed: 1 };
    const analysis = await analysePruning(model, images, options);
    const pruned = await pruneModel(analysis, images, 0.3, options);
    expect(pruned.ratio).toBeGreaterThan(0.28);
    const heads = pruned.widths.filter(({ before }) => before === 6);
    expect(heads).toHaveLength(2);
    const cost = (of: Model) => modelCost(of, [1, 3, 32, 32]).macs;
    expect(1 - cost(pruned.model) / cost(model)).toBeCloseTo(pruned.ratio, 6);
    const { keep } = allocate(analysis.curves, analysis.costs, { ratio: 0.3, floor: 0.125 });
    const bare = cutChannels(analysis.model, analysis.groups, keep);
    const held = Array.from({ length: 8 }, (_, i) => 32 + i);
    const run = async (of: Model) => {
      await using session = await openSession(encodeModel(of), { threads: 1 });
      const data = await images.tensor(held, 32);
      const { logits } = await session.run({ input: { type: 'float32', dims: [8, 3, 32, 32], data } });
      return Float32Array.from(logits!.data as Float32Array);
    };
    const original = await run(model);
    expect(relativeError(original, await run(pruned.model))).toBeLessThan(
      0.6 * relativeError(original, await run(bare)),
    );
  });
});
