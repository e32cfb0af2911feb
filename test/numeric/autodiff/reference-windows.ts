import { floatValue, intAttribute, intsAttribute, textAttribute, type Node } from '../../../main/onnx/index.ts';
import {
  indicesOf,
  size,
  tensor,
  zeros,
  flatIndex,
  stridesOf,
  type RefOp,
  type RefRows,
  type RefTensor,
} from './reference-tensor.ts';

/** A sliding window over the spatial axes of [N, C, …]. */
export interface Windows {
  /** Spatial sizes of the output. */
  readonly out: readonly number[];
  /** Per output position (flat): the input positions (flat) under the window with their kernel position (flat), padding left out. */
  readonly pairs: readonly { readonly input: number; readonly kernel: number }[][];
  /** Per output position: kernel positions inside the input or its stated padding (what count_include_pad counts). */
  readonly padded: readonly number[];
}

/** @param stated spatial sizes of the output where they are known already (transposed convolution). */
function windowsOf(
  node: Node,
  input: readonly number[],
  kernel: readonly number[],
  stated?: readonly number[],
): Windows {
  const rank = kernel.length;
  const strides = intsAttribute(node, 'strides', Array<number>(rank).fill(1));
  const dilations = intsAttribute(node, 'dilations', Array<number>(rank).fill(1));
  let pads = intsAttribute(node, 'pads', Array<number>(2 * rank).fill(0));
  const auto = textAttribute(node, 'auto_pad', 'NOTSET');
  const reach = kernel.map((k, axis) => (k - 1) * dilations[axis]! + 1);
  if (auto.startsWith('SAME')) {
    const total = input.map((dim, axis) =>
      Math.max(0, (Math.ceil(dim / strides[axis]!) - 1) * strides[axis]! + reach[axis]! - dim),
    );
    const less = total.map((t) => Math.floor(t / 2));
    const more = total.map((t) => Math.ceil(t / 2));
    pads = auto === 'SAME_UPPER' ? [...less, ...more] : [...more, ...less];
  }
  const ceil = intAttribute(node, 'ceil_mode', 0) === 1;
  const out =
    stated ??
    input.map((dim, axis) => {
      const room = (dim + pads[axis]! + pads[axis + rank]! - reach[axis]!) / strides[axis]!;
      const count = (ceil ? Math.ceil(room) : Math.floor(room)) + 1;
      // A last window that starts in the padding after the input is left out.
      return ceil && (count - 1) * strides[axis]! >= dim + pads[axis]! ? count - 1 : count;
    });
  const inputStrides = stridesOf(input);
  const pairs: { input: number; kernel: number }[][] = [];
  const padded: number[] = [];
  for (const at of indicesOf(out)) {
    const here: { input: number; kernel: number }[] = [];
    let counted = 0;
    let k = 0;
    for (const within of indicesOf(kernel)) {
      const position = within.map((i, axis) => at[axis]! * strides[axis]! - pads[axis]! + i * dilations[axis]!);
      if (position.every((p, axis) => p >= 0 && p < input[axis]!)) {
        here.push({ input: flatIndex(position, inputStrides), kernel: k });
      }
      if (position.every((p, axis) => p >= -pads[axis]! && p < input[axis]! + pads[axis + rank]!)) counted += 1;
      k += 1;
    }
    pairs.push(here);
    padded.push(counted);
  }
  return { out, pairs, padded };
}

/** Calls back for every product of a grouped convolution: flat indices into X [N, C, …], W [O, C/g, …], Y [N, O, …]. */
export function eachProduct(
  dims: { n: number; c: number; o: number; group: number; input: number; kernel: number },
  windows: Windows,
  visit: (x: number, w: number, y: number) => void,
): void {
  const { n, c, o, group, input, kernel } = dims;
  const out = windows.pairs.length;
  const [perIn, perOut] = [c / group, o / group];
  for (let b = 0; b < n; b += 1) {
    for (let q = 0; q < o; q += 1) {
      const first = Math.floor(q / perOut) * perIn;
      windows.pairs.forEach((pairs, p) => {
        for (const pair of pairs) {
          for (let i = 0; i < perIn; i += 1) {
            visit(
              (b * c + first + i) * input + pair.input,
              (q * perIn + i) * kernel + pair.kernel,
              (b * o + q) * out + p,
            );
          }
        }
      });
    }
  }
}

/** Sizes of a convolution from the shapes of X and W. */
export const convolutionOf = (node: Node, x: readonly number[], w: readonly number[]) => {
  const windows = windowsOf(node, x.slice(2), w.slice(2));
  const sizes = {
    n: x[0]!,
    c: x[1]!,
    o: w[0]!,
    group: intAttribute(node, 'group', 1),
    input: size(x.slice(2)),
    kernel: size(w.slice(2)),
  };
  return { windows, sizes, y: [x[0]!, w[0]!, ...windows.out] };
};

const addBias = (y: RefTensor, bias: RefTensor | undefined): RefTensor => {
  if (!bias) return y;
  const inner = size(y.dims.slice(2));
  return tensor(
    y.dims,
    y.data.map((value, i) => value + bias.data[Math.floor(i / inner) % y.dims[1]!]!),
  );
};

const conv: RefOp = ([x, w, bias], node) => {
  const { windows, sizes, y } = convolutionOf(node, x!.dims, w!.dims);
  const out = zeros(y);
  eachProduct(sizes, windows, (i, j, k) => (out.data[k]! += x!.data[i]! * w!.data[j]!));
  return [addBias(out, bias)];
};

/** The gradient of a convolution from [N, M·, out…] to [N, C, in…]: its "input" is this one's output. */
const convTranspose: RefOp = ([x, w, bias], node) => {
  const group = intAttribute(node, 'group', 1);
  const kernel = w!.dims.slice(2);
  const rank = kernel.length;
  const strides = intsAttribute(
    node,
    'strides',
    kernel.map(() => 1),
  );
  const dilations = intsAttribute(
    node,
    'dilations',
    kernel.map(() => 1),
  );
  const extra = intsAttribute(
    node,
    'output_padding',
    kernel.map(() => 0),
  );
  const pads = intsAttribute(node, 'pads', Array<number>(2 * rank).fill(0));
  const input = x!.dims.slice(2);
  const out = input.map(
    (dim, axis) =>
      strides[axis]! * (dim - 1) +
      extra[axis]! +
      (kernel[axis]! - 1) * dilations[axis]! +
      1 -
      pads[axis]! -
      pads[axis + rank]!,
  );
  const channels = w!.dims[1]! * group;
  const windows = windowsOf(node, out, kernel, input);
  const sizes = { n: x!.dims[0]!, c: channels, o: x!.dims[1]!, group, input: size(out), kernel: size(kernel) };
  const y = zeros([x!.dims[0]!, channels, ...out]);
  eachProduct(sizes, windows, (to, j, from) => (y.data[to]! += x!.data[from]! * w!.data[j]!));
  return [addBias(y, bias)];
};

/** Visits each plane [N C] of a pooling: offsets of the plane in X and in Y. */
export function eachPlane(x: RefTensor, windows: Windows, visit: (xAt: number, yAt: number) => void): void {
  const input = size(x.dims.slice(2));
  for (let plane = 0; plane < x.dims[0]! * x.dims[1]!; plane += 1) visit(plane * input, plane * windows.pairs.length);
}

export const poolWindows = (node: Node, spatial: readonly number[]): Windows =>
  windowsOf(node, spatial, intsAttribute(node, 'kernel_shape', []));

/** What an average divides by at each output position. */
export const divisors = (node: Node, windows: Windows): number[] =>
  windows.pairs.map((pairs, p) =>
    intAttribute(node, 'count_include_pad', 0) === 1 ? windows.padded[p]! : pairs.length,
  );

const pool =
  (of: (values: number[], divisor: number) => number): RefOp =>
  ([x], node) => {
    const windows = poolWindows(node, x!.dims.slice(2));
    const over = divisors(node, windows);
    const y = zeros([x!.dims[0]!, x!.dims[1]!, ...windows.out]);
    eachPlane(x!, windows, (xAt, yAt) =>
      windows.pairs.forEach((pairs, p) => {
        y.data[yAt + p] = of(
          pairs.map((pair) => x!.data[xAt + pair.input]!),
          over[p]!,
        );
      }),
    );
    return [y];
  };

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

const globalPool =
  (of: (values: number[]) => number): RefOp =>
  ([x]) => {
    const inner = size(x!.dims.slice(2));
    const planes = Array.from({ length: x!.dims[0]! * x!.dims[1]! }, (_, i) => [
      ...x!.data.subarray(i * inner, (i + 1) * inner),
    ]);
    return [
      tensor(
        x!.dims.map((dim, axis) => (axis < 2 ? dim : 1)),
        planes.map(of),
      ),
    ];
  };

const channelOf = (x: RefTensor) => {
  const inner = size(x.dims.slice(2));
  return (i: number) => Math.floor(i / inner) % x.dims[1]!;
};

const batchNormalization: RefOp = ([x, scale, bias, mean, variance], node) => {
  const epsilon = floatValue(node, 'epsilon', 1e-5);
  const channel = channelOf(x!);
  return [
    tensor(
      x!.dims,
      x!.data.map((value, i) => {
        const c = channel(i);
        return ((value - mean!.data[c]!) / Math.sqrt(variance!.data[c]! + epsilon)) * scale!.data[c]! + bias!.data[c]!;
      }),
    ),
  ];
};

/** Normalises consecutive runs of `run` elements. */
function normaliseRuns(
  x: RefTensor,
  run: number,
  epsilon: number,
): { y: Float64Array; means: number[]; invStds: number[] } {
  const y = new Float64Array(x.data.length);
  const means: number[] = [];
  const invStds: number[] = [];
  for (let at = 0; at < x.data.length; at += run) {
    const values = [...x.data.subarray(at, at + run)];
    const mean = sum(values) / run;
    const invStd = 1 / Math.sqrt(sum(values.map((value) => (value - mean) ** 2)) / run + epsilon);
    values.forEach((value, i) => (y[at + i] = (value - mean) * invStd));
    means.push(mean);
    invStds.push(invStd);
  }
  return { y, means, invStds };
}

const layerNormalization: RefOp = ([x, scale, bias], node) => {
  const rawAxis = intAttribute(node, 'axis', -1);
  const axis = rawAxis < 0 ? rawAxis + x!.dims.length : rawAxis;
  const run = size(x!.dims.slice(axis));
  const { y, means, invStds } = normaliseRuns(x!, run, floatValue(node, 'epsilon', 1e-5));
  const dims = x!.dims.map((dim, i) => (i < axis ? dim : 1));
  return [
    tensor(
      x!.dims,
      y.map((value, i) => value * scale!.data[i % run]! + (bias?.data[i % run] ?? 0)),
    ),
    tensor(dims, means),
    tensor(dims, invStds),
  ];
};

const instanceNormalization: RefOp = ([x, scale, bias], node) => {
  const { y } = normaliseRuns(x!, size(x!.dims.slice(2)), floatValue(node, 'epsilon', 1e-5));
  const channel = channelOf(x!);
  return [
    tensor(
      x!.dims,
      y.map((value, i) => value * scale!.data[channel(i)]! + bias!.data[channel(i)]!),
    ),
  ];
};

/** Opset 21: scale and bias per channel (18 had them per group). */
const groupNormalization: RefOp = ([x, scale, bias], node, opset) => {
  const groups = intAttribute(node, 'num_groups', 1);
  const run = (x!.dims[1]! / groups) * size(x!.dims.slice(2));
  const { y } = normaliseRuns(x!, run, floatValue(node, 'epsilon', 1e-5));
  const channel = channelOf(x!);
  const of = (i: number) => (opset >= 21 ? channel(i) : Math.floor((channel(i) * groups) / x!.dims[1]!));
  return [
    tensor(
      x!.dims,
      y.map((value, i) => value * scale!.data[of(i)]! + bias!.data[of(i)]!),
    ),
  ];
};

export const windowReference: RefRows = [
  ['Conv', conv],
  ['ConvTranspose', convTranspose],
  ['MaxPool', pool((values) => Math.max(...values))],
  ['AveragePool', pool((values, divisor) => sum(values) / divisor)],
  ['GlobalAveragePool', globalPool((values) => sum(values) / values.length)],
  ['GlobalMaxPool', globalPool((values) => Math.max(...values))],
  ['BatchNormalization', batchNormalization],
  ['LayerNormalization', layerNormalization],
  ['InstanceNormalization', instanceNormalization],
  ['GroupNormalization', groupNormalization],
];
