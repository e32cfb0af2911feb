import {
  float32Tensor,
  graph,
  int32Tensor,
  int64Tensor,
  model as makeModel,
  node,
  scalar,
  value,
  type ConstTensor,
  type Model,
  type Node,
} from '../../../main/onnx/index.ts';
import { mulberry32 } from '../../../main/vision/random.ts';

/** An activation [N, channels, side, side]. */
interface Plane {
  name: string;
  channels: number;
  side: number;
}

export const SIDE = 8;
export const BATCH = 2;

/** A small network of blocks that move, join, part and mix channels in the ways that exporters write. Input `image` [2, 3, 8, 8], output `out`. The same for the same seed. */
export function randomNetwork(seed: number): Model {
  const bits = mulberry32(seed);
  const share = (): number => bits() / 2 ** 32;
  const chance = (odds: number): boolean => share() < odds;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(share() * list.length)]!;
  const nodes: Node[] = [];
  const initializers: Record<string, ConstTensor> = {};
  let count = 0;
  const fresh = (base: string): string => `${base}${++count}`;
  /** Stored, or behind an Identity or in a Constant as exporters have it. */
  const constant = (tensor: ConstTensor): string => {
    const name = fresh('k');
    const way = share();
    if (way < 0.1) nodes.push(node('Constant', [], [name], { value: tensor }));
    else if (way < 0.2) nodes.push(node('Identity', [constant(tensor)], [name]));
    else initializers[name] = tensor;
    return name;
  };
  const weight = (...dims: number[]): string => {
    const length = dims.reduce((a, b) => a * b, 1);
    const reach = 2 / Math.sqrt(length / dims[0]!);
    return constant(
      float32Tensor(
        dims,
        Float32Array.from({ length }, () => reach * (share() - 0.5)),
      ),
    );
  };
  const ints = (...list: number[]): string => constant(int64Tensor([list.length], list));
  const emit = (op: string, inputs: string[], attributes: Parameters<typeof node>[3] = {}): string => {
    const name = fresh(op.toLowerCase());
    nodes.push(node(op, inputs, [name], attributes));
    return name;
  };
  const conv = (x: Plane, channels: number, { kernel = 1, group = 1 } = {}): Plane => {
    const before = Math.floor((kernel - 1) / 2);
    const after = kernel - 1 - before;
    const name = emit(
      'Conv',
      [x.name, weight(channels, x.channels / group, kernel, kernel), ...(chance(0.6) ? [weight(channels)] : [])],
      { group, ...(chance(0.3) ? { auto_pad: 'SAME_UPPER' } : { pads: [before, before, after, after] }) },
    );
    return { ...x, name, channels };
  };
  const active = (x: Plane): Plane => {
    const activations = [
      () => emit('Relu', [x.name]),
      () => emit('Clip', [x.name, chance(0.5) ? constant(scalar(0)) : '', constant(scalar(6))]),
      () => emit('PRelu', [x.name, weight(x.channels, 1, 1)]),
      () => emit('Mul', [emit('Sigmoid', [x.name]), x.name]),
    ];
    return { ...x, name: pick(activations)() };
  };
  const mean = (x: Plane): Plane => ({ ...x, name: emit('GlobalAveragePool', [x.name]), side: 1 });
  const blocks: ((x: Plane) => Plane)[] = [
    (x) => active(conv(x, pick([8, 16, 24]), { kernel: pick([1, 2, 3]) })),
    (x) => ({ ...x, name: emit('Add', [x.name, conv(active(conv(x, 16, { kernel: 3 })), x.channels).name]) }),
    (x) => conv(active(conv(active(conv(x, 32)), 32, { kernel: 3, group: 32 })), 8),
    (x) => active(conv(x, 2 * x.channels, { kernel: 3, group: 4 })),
    (x) => ({ ...x, name: emit('Mul', [x.name, emit('Sigmoid', [conv(active(conv(mean(x), 16)), x.channels).name])]) }),
    (x) => ({ ...x, name: emit('Add', [conv(active(conv(mean(x), 16)), x.channels).name, x.name]) }),
    (x) => {
      const more = active(conv(x, 8));
      return {
        ...x,
        name: emit('Concat', [more.name, x.name], { axis: chance(0.5) ? 1 : -3 }),
        channels: x.channels + 8,
      };
    },
    (x) => {
      const half = x.channels / 2;
      const parts = [fresh('part'), fresh('part')];
      nodes.push(node('Split', [x.name, ...(chance(0.5) ? [ints(half, half)] : [])], parts, { axis: 1 }));
      const [a, b] = parts.map((name) => conv({ ...x, name, channels: half }, half, { kernel: 3, group: half }));
      return { ...x, name: emit('Concat', [b!.name, a!.name], { axis: 1 }) };
    },
    (x) => {
      const wide = chance(0.5);
      const list = (...bounds: bigint[]): string =>
        constant(
          wide
            ? int64Tensor([bounds.length], BigInt64Array.from(bounds))
            : int32Tensor([bounds.length], bounds.map(Number)),
        );
      const end = wide ? 2n ** 63n - 1n : 2n ** 31n - 1n;
      const start = BigInt(x.channels / 2);
      const inputs = [
        x.name,
        list(pick([start, -start]), 0n),
        list(pick([end, BigInt(x.channels)]), end),
        list(1n, -1n),
      ];
      return { ...x, name: emit('Slice', inputs), channels: x.channels / 2 };
    },
    (x) => {
      const apart = emit('Reshape', [x.name, ints(0, 2, x.channels / 2, x.side, x.side)]);
      const turned = emit('Transpose', [apart], { perm: [0, 2, 1, 3, 4] });
      return {
        ...x,
        name: emit('Reshape', [
          turned,
          ints(
            ...pick([
              [0, -1],
              [0, x.channels],
            ]),
            x.side,
            x.side,
          ),
        ]),
      };
    },
    (x) => ({
      ...x,
      name: emit('Gather', [x.name, ints(...Array.from({ length: x.channels }, (_, i) => x.channels - 1 - i))], {
        axis: 1,
      }),
    }),
    (x) => {
      const channels = x.channels + 4;
      const padded = emit('Pad', [x.name, ints(0, 0, 0, 0, 0, 4, 0, 0)]);
      return { ...x, name: emit('Add', [padded, conv(x, channels).name]), channels };
    },
    (x) => {
      const flat = emit('Reshape', [x.name, ints(0, 0, -1)]);
      const mixed = emit('Conv', [flat, weight(16, x.channels, 1)]);
      return { ...x, name: emit('Reshape', [mixed, ints(BATCH, 16, x.side, x.side)]), channels: 16 };
    },
  ];
  let at = active(conv({ name: 'image', channels: 3, side: SIDE }, 16, { kernel: 3 }));
  for (let left = 2 + Math.floor(share() * 4); left > 0; left--) at = pick(blocks)(at);
  nodes.push(node('Identity', [conv(active(conv(at, 16)), 5).name], ['out']));
  return makeModel(
    graph({
      nodes,
      inputs: [value('image', 'float32', [BATCH, 3, SIDE, SIDE])],
      outputs: [value('out')],
      initializers,
    }),
  );
}
