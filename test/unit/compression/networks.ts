import {
  float32Of,
  float32Tensor,
  float64Tensor,
  graph,
  int64Tensor,
  model,
  node,
  value,
  withGraph,
  type ConstTensor,
  type Model,
  type Node,
} from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { encodeModel } from '../../../main/onnx/index.ts';
import type { ImageSource } from '../../../main/compression/image-source.ts';
import type { DependencyGroup } from '../../../main/compression/prune/groups.ts';

/** Seeded normal-ish numbers. */
export const noise = (length: number, seed: number, scale = 1): Float32Array => {
  let state = seed >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
  return Float32Array.from({ length }, () => scale * (next() + next() + next() - 1.5) * 2);
};

/** Makes weights of any sizes, each of another seed. */
export const weightsFrom =
  (seed: number, scale = 0.3) =>
  (...dims: number[]): ConstTensor =>
    float32Tensor(
      dims,
      noise(
        dims.reduce((a, b) => a * b, 1),
        ++seed,
        scale,
      ),
    );

/**
 * A small network with all that a backbone of the MobileNet family has: strided stem, fused and depthwise inverted
 * bottlenecks, residual Add, Relu, Clip, HardSwish, a per-channel Mul, pooling, flatten. Output `features` [N, 24].
 */
export function smallBackbone(seed = 1): Model {
  const nodes: Node[] = [];
  const initializers: Record<string, ConstTensor> = {};
  let count = 0;
  const conv = (
    input: string,
    output: string,
    {
      from,
      to,
      kernel = 1,
      stride = 1,
      group = 1,
      bias = true,
    }: { from: number; to: number; kernel?: number; stride?: number; group?: number; bias?: boolean },
  ): string => {
    const perGroup = from / group;
    initializers[`${output}_w`] = float32Tensor(
      [to, perGroup, kernel, kernel],
      noise(to * perGroup * kernel * kernel, seed * 1000 + ++count, 1 / Math.sqrt(perGroup * kernel * kernel)),
    );
    if (bias) initializers[`${output}_b`] = float32Tensor([to], noise(to, seed * 1000 + ++count, 0.3));
    const pad = Math.floor(kernel / 2);
    nodes.push(
      node('Conv', [input, `${output}_w`, ...(bias ? [`${output}_b`] : [])], [output], {
        kernel_shape: [kernel, kernel],
        strides: [stride, stride],
        pads: [pad, pad, pad, pad],
        dilations: [1, 1],
        group,
      }),
    );
    return output;
  };
  const unary = (op: string, input: string, output: string): string => {
    nodes.push(node(op, [input], [output]));
    return output;
  };
  initializers['low'] = float32Tensor([], [0]);
  initializers['high'] = float32Tensor([], [6]);
  initializers['gain'] = float32Tensor(
    [1, 24, 1, 1],
    noise(24, seed + 7).map((x) => 1 + 0.1 * x),
  );
  let x = unary('Relu', conv('image', 'stem', { from: 3, to: 16, kernel: 3, stride: 2 }), 'stem_act');
  x = conv(x, 'narrow', { from: 16, to: 16, bias: false });
  // Fused bottleneck with a residual.
  const fused = unary('Relu', conv(x, 'fused', { from: 16, to: 40, kernel: 3 }), 'fused_act');
  nodes.push(node('Add', [x, conv(fused, 'fused_out', { from: 40, to: 16 })], ['sum_1']));
  // Depthwise bottleneck, no residual, other activation functions.
  const wide = conv('sum_1', 'wide', { from: 16, to: 48 });
  nodes.push(node('Clip', [wide, 'low', 'high'], ['wide_act']));
  const depthwise = unary(
    'HardSwish',
    conv('wide_act', 'dw', { from: 48, to: 48, kernel: 3, stride: 2, group: 48 }),
    'dw_act',
  );
  conv(depthwise, 'out', { from: 48, to: 24, bias: false });
  nodes.push(node('Mul', ['out', 'gain'], ['scaled']));
  nodes.push(node('GlobalAveragePool', ['scaled'], ['pooled']));
  nodes.push(node('Flatten', ['pooled'], ['features'], { axis: 1 }));
  return model(
    graph({
      nodes,
      inputs: [value('image', 'float32', ['N', 3, 'H', 'W'])],
      outputs: [value('features', 'float32', ['N', 24])],
      initializers,
    }),
  );
}

/** The same network as a file of opset 12 would hold it: HardSwish is newer. */
export const olderBackbone = (): Model => {
  const { graph: newer, ...rest } = smallBackbone();
  const nodes = newer.nodes.map((each) => (each.op === 'HardSwish' ? { ...each, op: 'Relu' } : each));
  return { ...rest, opsets: new Map([['', 12]]), graph: { ...newer, nodes } };
};

/** The same network as some exporters leave it: weights and biases pass an Identity, a Cast or a Constant; the weight of `out` an Exp, which no pass works out. */
export const indirectBackbone = (): Model => {
  const whole = smallBackbone();
  const initializers = new Map(whole.graph.initializers);
  const made: Node[] = [];
  const through = (name: string, way: (stored: string) => Node, store: (tensor: ConstTensor) => ConstTensor) => {
    const tensor = initializers.get(name)!;
    initializers.delete(name);
    initializers.set(`${name}_stored`, store(tensor));
    made.push(way(`${name}_stored`));
  };
  const asItIs = (tensor: ConstTensor) => tensor;
  through('stem_b', (stored) => node('Identity', [stored], ['stem_b']), asItIs);
  const double = (tensor: ConstTensor) => float64Tensor(tensor.dims, Float64Array.from(float32Of(tensor)));
  through('fused_w', (stored) => node('Cast', [stored], ['fused_w'], { to: 1 }), double);
  const logarithms = (tensor: ConstTensor) =>
    float32Tensor(
      tensor.dims,
      float32Of(tensor).map((x) => Math.log(Math.abs(x) + 0.01)),
    );
  through('out_w', (stored) => node('Exp', [stored], ['out_w']), logarithms);
  made.push(node('Constant', [], ['dw_b'], { value: initializers.get('dw_b')! }));
  initializers.delete('dw_b');
  return withGraph(whole, { ...whole.graph, nodes: [...made, ...whole.graph.nodes], initializers });
};

/** The same network behind a Pad whose pads are computed as nobody follows it, so that no shape after it can be told before it runs. */
export const paddedBackbone = (): Model => {
  const whole = smallBackbone();
  const nodes = whole.graph.nodes.map((each) =>
    each.inputs[0] === 'image' ? { ...each, inputs: ['padded', ...each.inputs.slice(1)] } : each,
  );
  const pads = [
    node('Shape', ['image'], ['shape']),
    node('Gather', ['shape', 'places'], ['threes']),
    node('Mul', ['threes', 'sides'], ['signed']),
    node('Abs', ['signed'], ['pads']),
    node('Pad', ['image', 'pads'], ['padded']),
  ];
  const constants = {
    places: int64Tensor([8], [1, 1, 1, 1, 1, 1, 1, 1]),
    sides: int64Tensor([8], [0, 0, -1, -1, 0, 0, -1, -1]),
  };
  return withGraph(whole, {
    ...whole.graph,
    nodes: [...pads, ...nodes],
    initializers: new Map([...whole.graph.initializers, ...Object.entries(constants)]),
  });
};

/** The same network for one picture of 64 pixels in each run: its last Reshape says so. */
export const singleBackbone = (): Model => {
  const { graph: open, ...rest } = smallBackbone();
  const nodes = open.nodes.map((each) =>
    each.op === 'Flatten' ? node('Reshape', ['pooled', 'one'], ['features']) : each,
  );
  const initializers = new Map([...open.initializers, ['one', int64Tensor([2], [1, 24])] as const]);
  return {
    ...rest,
    graph: {
      ...open,
      nodes,
      initializers,
      inputs: [value('image', 'float32', [1, 3, 64, 64])],
      outputs: [value('features', 'float32', [1, 24])],
    },
  };
};

/** The same network as a classifier that reads every position of its last map, so that its input is fixed at 64 pixels; `best` is the index of the class. */
export const sizedClassifier = (): Model => {
  const { graph: open, ...rest } = smallBackbone();
  const nodes = open.nodes
    .filter(({ op }) => op !== 'GlobalAveragePool')
    .map((each) => (each.op === 'Flatten' ? { ...each, inputs: ['scaled'], outputs: ['flat'] } : each));
  const weight = float32Tensor([5, 24 * 16 * 16], noise(5 * 24 * 16 * 16, 3, 0.05));
  return {
    ...rest,
    graph: {
      ...open,
      nodes: [
        ...nodes,
        node('Gemm', ['flat', 'classes'], ['logits'], { transB: 1 }),
        node('ArgMax', ['logits'], ['best'], { axis: 1, keepdims: 0 }),
      ],
      initializers: new Map([...open.initializers, ['classes', weight]]),
      inputs: [value('image', 'float32', ['N', 3, 64, 64])],
      outputs: [value('logits', 'float32', ['N', 5]), value('best', 'int64', ['N'])],
    },
  };
};

/** A classifier nearly all of whose work cannot be cut: what its convolution makes is an output as well, and two small layers follow. */
export const uncuttableClassifier = (): Model => {
  const weight = (rows: number, ...rest: number[]) =>
    float32Tensor(
      [rows, ...rest],
      noise(
        rest.reduce((a, b) => a * b, rows),
        rows,
        0.2,
      ),
    );
  return model(
    graph({
      nodes: [
        node('Conv', ['image', 'wide_w'], ['wide'], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
        node('Relu', ['wide'], ['map']),
        node('GlobalAveragePool', ['map'], ['pooled']),
        node('Flatten', ['pooled'], ['flat'], { axis: 1 }),
        node('Gemm', ['flat', 'inner_w'], ['inner'], { transB: 1 }),
        node('Relu', ['inner'], ['inner_act']),
        node('Gemm', ['inner_act', 'last_w'], ['logits'], { transB: 1 }),
      ],
      inputs: [value('image', 'float32', ['N', 3, 'H', 'W'])],
      outputs: [value('logits', 'float32', ['N', 4]), value('map', 'float32', ['N', 32, 'H', 'W'])],
      initializers: { wide_w: weight(32, 3, 3, 3), inner_w: weight(64, 32), last_w: weight(4, 64) },
    }),
  );
};

/** Random pictures with structure: smooth fields, so that activations are correlated as real ones are. */
export const randomImages = (count: number, seed = 5): ImageSource => ({
  count,
  view: () => Promise.reject(new Error('random images have no pixels')),
  region: () => null,
  tensor: (indices, size) => {
    const out = new Float32Array(indices.length * 3 * size * size);
    indices.forEach((image, i) => {
      const [a, b, c, d] = noise(4, seed * 7919 + image) as unknown as [number, number, number, number];
      const grain = noise(size * size, seed * 104729 + image, 0.2);
      for (let ch = 0; ch < 3; ch++) {
        for (let y = 0; y < size; y++) {
          for (let x = 0; x < size; x++) {
            out[((i * 3 + ch) * size + y) * size + x] =
              Math.sin(a * 3 + (b * x + c * y) * 0.4 + ch * d) + grain[y * size + x]!;
          }
        }
      }
    });
    return Promise.resolve(out);
  },
});

export async function runModel(
  of: Model,
  source: ImageSource,
  indices: readonly number[],
  size: number,
  output = 'features',
): Promise<Float32Array> {
  await using session = await openSession(encodeModel(of), { threads: 1 });
  const data = await source.tensor(indices, size);
  const result = await session.run({ image: { type: 'float32', dims: [indices.length, 3, size, size], data } });
  return Float32Array.from(result[output]!.data as Float32Array);
}

export const relativeError = (a: Float32Array, b: Float32Array): number => {
  let error = 0;
  let energy = 0;
  for (let i = 0; i < a.length; i++) {
    error += (a[i]! - b[i]!) ** 2;
    energy += a[i]! ** 2;
  }
  return error / energy;
};

/** Zeroes all that a group's channels are made by and read by, for the channels that go. */
export const zeroed = (of: Model, groups: readonly DependencyGroup[], keep: ReadonlyMap<string, Int32Array>): Model => {
  const initializers = new Map(of.graph.initializers);
  for (const { id, slices } of groups) {
    const kept = keep.get(id);
    if (!kept) continue;
    const stays = new Set(kept);
    for (const { initializer, axis, channels } of slices) {
      const tensor = initializers.get(initializer)!;
      const inner = tensor.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
      const data = Float32Array.from(float32Of(tensor)).map((x, i) => {
        const channel = channels[Math.floor(i / inner) % tensor.dims[axis]!]!;
        return channel >= 0 && !stays.has(channel) ? 0 : x;
      });
      initializers.set(initializer, float32Tensor(tensor.dims, data));
    }
  }
  return { ...of, graph: { ...of.graph, initializers } };
};
