import { expect, it } from 'vitest';
import { allocate } from '../../../main/compression/prune/allocate.ts';
import { analysePruning, analyseWeights } from '../../../main/compression/prune/analyse.ts';
import { cutChannels } from '../../../main/compression/prune/cut.ts';
import { findGroups } from '../../../main/compression/prune/groups.ts';
import { pruneModel } from '../../../main/compression/prune/prune.ts';
import {
  encodeModel,
  float32Tensor,
  foldConstants,
  graph,
  int32Tensor,
  int64Tensor,
  model as makeModel,
  node,
  value,
  type ConstTensor,
  type Model,
  type Node,
} from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { noise, randomImages, relativeError, weightsFrom, zeroed } from './networks.ts';

const SIZE = 8;
const IMAGES = randomImages(24);
const OPTIONS = { images: Array.from({ length: 24 }, (_, i) => i), size: SIZE, threads: 1, seed: 1 };

const weight = weightsFrom(0);

const build = (nodes: Node[], constants: Record<string, ConstTensor>): Model =>
  makeModel(
    graph({
      nodes,
      inputs: [value('image', 'float32', ['N', 3, SIZE, SIZE])],
      outputs: [value('out')],
      initializers: constants,
    }),
  );

async function outputOf(of: Model): Promise<{ dims: readonly number[]; data: Float32Array }> {
  await using session = await openSession(encodeModel(of), { threads: 1 });
  const data = await IMAGES.tensor([0, 1], SIZE);
  const { out } = await session.run({ image: { type: 'float32', dims: [2, 3, SIZE, SIZE], data } });
  return { dims: out!.dims, data: out!.data as Float32Array };
}

it.each([
  ['64 bits', (list: bigint[]) => int64Tensor([list.length], BigInt64Array.from(list)), 2n ** 63n - 1n],
  ['32 bits', (list: bigint[]) => int32Tensor([list.length], list.map(Number)), 2n ** 31n - 1n],
] as const)(
  'a Slice of %s that goes to the end of other axes too still does when channels went',
  async (_, list, end) => {
    const model = build(
      [
        node('Conv', ['image', 'a.w'], ['a']),
        node('Slice', ['a', 'starts', 'ends', 'axes'], ['tail']),
        node('Conv', ['tail', 'out.w'], ['out']),
      ],
      {
        'a.w': weight(16, 3, 1, 1),
        starts: list([8n, 1n]),
        ends: list([end, end]),
        axes: list([1n, 2n]),
        'out.w': weight(5, 8, 1, 1),
      },
    );
    const groups = findGroups(model);
    const keep = new Map(groups.filter(({ outputs }) => outputs.length === 0).map(({ id }) => [id, [0, 2, 5]]));
    const { dims, data } = await outputOf(cutChannels(model, groups, keep));
    expect(dims).toEqual([2, 5, SIZE - 1, SIZE]);
    expect(data.every(Number.isFinite)).toBe(true);
  },
);

/** Depthwise kernels of several sizes side by side, as in MixNet: their channels are told apart by nothing but the part that they lie in. */
it('no part of a Split is left without a channel, however little it is worth', async () => {
  const dead = float32Tensor([32, 3, 1, 1], noise(96, 7, 0.3).fill(0, 0, 48));
  const model = build(
    [
      node('Conv', ['image', 'a.w'], ['a']),
      node('Split', ['a'], ['left', 'right'], { axis: 1 }),
      node('Conv', ['left', 'l.w'], ['l'], { group: 16, pads: [1, 1, 1, 1] }),
      node('Conv', ['right', 'r.w'], ['r'], { group: 16, pads: [2, 2, 2, 2] }),
      node('Concat', ['l', 'r'], ['both'], { axis: 1 }),
      node('Conv', ['both', 'out.w'], ['out']),
    ],
    { 'a.w': dead, 'l.w': weight(16, 1, 3, 3), 'r.w': weight(16, 1, 5, 5), 'out.w': weight(5, 32, 1, 1) },
  );
  const analysis = await analysePruning(model, IMAGES, OPTIONS);
  expect(analysis.curves.map(({ group }) => group.channels)).toEqual([32]);
  const { keep } = allocate(analysis.curves, analysis.costs, { ratio: 0.7, floor: 0.125 });
  const [kept] = [...keep.values()];
  expect(kept!.filter((channel) => channel < 16)).toHaveLength(1);
  const { model: pruned } = await pruneModel(analysis, IMAGES, 0.7, OPTIONS);
  expect((await outputOf(pruned)).data.every(Number.isFinite)).toBe(true);
});

it('a number that is made of a count of channels stays when some go: attention of one head, over any batch', async () => {
  const model = foldConstants(
    build(
      [
        node('Conv', ['image', 'a.w'], ['a']),
        node('Reshape', ['a', 'flat'], ['columns']),
        node('Transpose', ['columns'], ['tokens'], { perm: [0, 2, 1] }),
        ...['q', 'k', 'v'].map((name) => node('MatMul', ['tokens', `${name}.w`], [name])),
        node('Shape', ['q'], ['shape']),
        node('Gather', ['shape', 'last'], ['width']),
        node('Cast', ['width'], ['wide'], { to: 1 }),
        node('Sqrt', ['wide'], ['root']),
        node('Transpose', ['k'], ['kT'], { perm: [0, 2, 1] }),
        node('MatMul', ['q', 'kT'], ['products']),
        node('Div', ['products', 'root'], ['scores']),
        node('Softmax', ['scores'], ['shares']),
        node('MatMul', ['shares', 'v'], ['mixed']),
        node('MatMul', ['mixed', 'out.w'], ['out']),
      ],
      {
        'a.w': weight(16, 3, 1, 1),
        flat: int64Tensor([3], [0, 0, -1]),
        'q.w': weight(16, 32),
        'k.w': weight(16, 32),
        'v.w': weight(16, 16),
        last: int64Tensor([], [-1]),
        'out.w': weight(16, 5),
      },
    ),
  );
  const groups = findGroups(model);
  const attended = groups.find(({ channels }) => channels === 32)!;
  expect(attended.frozen).toBeNull();
  const keep = new Map([[attended.id, Int32Array.from({ length: 8 }, (_, i) => i)]]);
  const [wanted, cut] = [await outputOf(zeroed(model, groups, keep)), await outputOf(cutChannels(model, groups, keep))];
  expect(relativeError(wanted.data, cut.data)).toBeLessThan(1e-8);
});

/** Behind a hidden layer of 32 channels that may go; the outputs follow it. */
const fitted = async (nodes: Node[], constants: Record<string, ConstTensor>): Promise<number> => {
  const model = build(nodes, constants);
  const analysis = await analysePruning(model, IMAGES, OPTIONS);
  const { model: pruned, widths } = await pruneModel(analysis, IMAGES, 0.3, OPTIONS);
  expect(widths.some(({ before, after }) => after < before)).toBe(true);
  const [a, b] = [(await outputOf(model)).data, (await outputOf(pruned)).data];
  const squares = (list: Float32Array) => list.reduce((sum, x) => sum + x * x, 0);
  return squares(a.map((x, i) => x - b[i]!)) / squares(a);
};

it('what is fitted is a layer of its own where its sum is of other positions: a context of one pixel that is added to a map', async () => {
  const error = await fitted(
    [
      node('Conv', ['image', 'a.w'], ['a']),
      node('GlobalAveragePool', ['a'], ['mean']),
      node('Conv', ['mean', 'b.w'], ['b']),
      node('Relu', ['b'], ['c']),
      node('Conv', ['c', 'd.w'], ['d']),
      node('Add', ['a', 'd'], ['sum']),
      node('Conv', ['sum', 'out.w'], ['out']),
    ],
    { 'a.w': weight(8, 3, 1, 1), 'b.w': weight(32, 8, 1, 1), 'd.w': weight(8, 32, 1, 1), 'out.w': weight(5, 8, 1, 1) },
  );
  expect(error).toBeLessThan(0.1);
});

it('a convolution over a sequence is fitted as one over a map is', async () => {
  const error = await fitted(
    [
      node('Conv', ['image', 'a.w'], ['a']),
      node('Reshape', ['a', 'flat'], ['b']),
      node('Conv', ['b', 'c.w'], ['c'], { pads: [1, 1], strides: [2] }),
      node('Conv', ['c', 'out.w'], ['out']),
    ],
    {
      'a.w': weight(32, 3, 1, 1),
      flat: int64Tensor([3], [0, 0, -1]),
      'c.w': weight(16, 32, 3),
      'out.w': weight(5, 16, 1),
    },
  );
  expect(error).toBeLessThan(0.1);
});

it('channels that a convolution over a volume reads stay, and are named, where pictures fit what is left', async () => {
  const model = build(
    [
      node('Unsqueeze', ['image', 'two'], ['thin']),
      node('Concat', ['thin', 'thin', 'thin'], ['deep'], { axis: 2 }),
      node('Conv', ['deep', 'a.w'], ['a'], { pads: [1, 1, 1, 1, 1, 1] }),
      node('Conv', ['a', 'b.w'], ['b'], { pads: [1, 1, 1, 1, 1, 1] }),
      node('ReduceMean', ['b'], ['c'], { axes: [2, 3, 4], keepdims: 0 }),
      node('MatMul', ['c', 'out.w'], ['out']),
    ],
    {
      two: int64Tensor([1], [2]),
      'a.w': weight(32, 3, 3, 3, 3),
      'b.w': weight(32, 32, 3, 3, 3),
      'out.w': weight(32, 5),
    },
  );
  const analysis = await analysePruning(model, IMAGES, OPTIONS);
  expect(analysis.untouched).toContainEqual({ group: 'a', why: 'Conv "b": its kernel has three axes or more' });
  const { model: pruned } = await pruneModel(analysis, IMAGES, 0.3, OPTIONS);
  expect((await outputOf(pruned)).data.every(Number.isFinite)).toBe(true);
  const byWeights = analyseWeights(model, { size: SIZE, importance: { measures: ['l2'] } });
  const { ratio } = await pruneModel(byWeights, null, 0.3, OPTIONS);
  expect(ratio).toBeGreaterThan(0.2);
});

it('a matrix product that is called as its output gets a bias', async () => {
  const error = await fitted(
    [
      node('Conv', ['image', 'a.w'], ['a']),
      node('Relu', ['a'], ['b']),
      node('GlobalAveragePool', ['b'], ['mean']),
      node('Flatten', ['mean'], ['flat']),
      node('MatMul', ['flat', 'out.w'], ['out']),
    ],
    { 'a.w': weight(32, 3, 3, 3), 'out.w': weight(32, 5) },
  );
  expect(error).toBeLessThan(0.1);
});
