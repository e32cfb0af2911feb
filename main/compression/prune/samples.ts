import { AppError, assert } from '../../contract/errors.ts';
import {
  encodeModel,
  graph,
  intAttribute,
  intsAttribute,
  eliminateDead,
  padsOn,
  model as makeModel,
  node as makeNode,
  value,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import { openSession, type Session, type Tensor } from '../../runtime/session.ts';
import type { ImageSource } from '../image-source.ts';
import { mulberry32 } from '../../vision/random.ts';

/** What a sample row holds. Rows are in the order of images and positions. */
export interface Tap {
  id: string;
  /** Activation that is read. */
  tensor: string;
  /** Read the patch under the kernel of this convolution at its output positions; null: the value at the position itself. */
  kernel: Node | null;
  /** Channels are the last axis: a position is a token, numbered along y. Default: channels are axis 1. */
  last?: boolean;
  /** Positions of one image on a map of this size; the same for taps that are to be compared. */
  positions: (image: number, height: number, width: number) => readonly { y: number; x: number }[];
}

export interface Samples {
  rows: number;
  columns: number;
  /** Row-major [rows, columns]; a patch is ordered like a row of the weight: channel, then kernel row, then kernel column. */
  data: Float32Array;
}

interface Kernel {
  height: number;
  width: number;
  strides: number[];
  /** Begins, then ends. */
  pads: number[];
  dilations: number[];
}

const VALUE_ITSELF: Kernel = { height: 1, width: 1, strides: [1, 1], pads: [0, 0, 0, 0], dilations: [1, 1] };

/** Sizes under the kernel, from the weight: `kernel_shape` may be left out (Operators.md, Conv). */
const kernelOf = ({ graph: { initializers } }: Model, conv: Node): readonly number[] => {
  const weight = initializers.get(conv.inputs[1]!);
  assert(weight, 'convolutions that are looked at have constant weights');
  return weight.dims.slice(2);
};

/** @param map height and width that the kernel slides over: auto_pad pads by them */
const kernelOn = (of: Model, conv: Node | null, map: readonly [number, number]): Kernel => {
  if (!conv) return VALUE_ITSELF;
  const kernel = kernelOf(of, conv);
  const axes = kernel.length;
  const pads = padsOn(conv, map.slice(0, axes), kernel);
  // Of a sequence [N, C, length] there is one axis; the other is one wide.
  const both = (list: readonly number[], rest: number): number[] => [...list, rest].slice(0, 2);
  return {
    height: kernel[0]!,
    width: kernel[1] ?? 1,
    strides: both(intsAttribute(conv, 'strides', [1, 1]), 1),
    pads: [...both(pads.slice(0, axes), 0), ...both(pads.slice(axes), 0)],
    dilations: both(intsAttribute(conv, 'dilations', [1, 1]), 1),
  };
};

/** The part of a model that makes the given tensors, as a model with these outputs. */
export const tapModel = (of: Model, tensors: readonly string[]): Model => ({
  ...of,
  graph: eliminateDead({ ...of.graph, valueInfo: new Map(), outputs: tensors.map((name) => value(name)) }),
});

/** Channels, height and width of an activation, and how many entries of its data lie between channels and between positions. */
const layoutOf = (tensor: Tensor, images: number, last: boolean) => {
  if (last && tensor.dims.length > 2) {
    const channels = tensor.dims.at(-1)!;
    const height = tensor.data.length / (images * channels);
    return { channels, height, width: 1, channelStride: 1, positionStride: channels };
  }
  const [, channels, height = 1, width = 1] = tensor.dims as [number, number, number?, number?];
  return { channels, height, width, channelStride: height * width, positionStride: 1 };
};

/** Copies the patches of one image into `out` from `row` on. */
const gather = (
  tensor: Tensor,
  { channels, height, width, channelStride, positionStride }: ReturnType<typeof layoutOf>,
  image: number,
  kernel: Kernel,
  positions: readonly { y: number; x: number }[],
  out: Float32Array,
  row: number,
): void => {
  const data = tensor.data as Float32Array;
  const size = channels * kernel.height * kernel.width;
  const base = image * channels * height * width;
  for (let p = 0; p < positions.length; p++) {
    const { y, x } = positions[p]!;
    const top = y * kernel.strides[0]! - kernel.pads[0]!;
    const left = x * kernel.strides[1]! - kernel.pads[1]!;
    let at = (row + p) * size;
    for (let c = 0; c < channels; c++) {
      const plane = base + c * channelStride;
      for (let i = 0; i < kernel.height; i++) {
        const yy = top + i * kernel.dilations[0]!;
        for (let j = 0; j < kernel.width; j++, at++) {
          const xx = left + j * kernel.dilations[1]!;
          out[at] =
            yy < 0 || yy >= height || xx < 0 || xx >= width ? 0 : data[plane + (yy * width + xx) * positionStride]!;
        }
      }
    }
  }
};

const outputSize = (input: number, k: number, stride: number, padA: number, padB: number, dilation: number): number =>
  Math.floor((input + padA + padB - dilation * (k - 1) - 1) / stride) + 1;

/**
 * Runs the model on the images and reads the taps at sampled positions.
 * @param images indices into the source
 * @throws CANCELLED
 */
export async function collectSamples(
  of: Model,
  taps: readonly Tap[],
  source: ImageSource,
  images: readonly number[],
  options: { size: number; threads: number; batch?: number | undefined; signal?: AbortSignal | undefined },
): Promise<Map<string, Samples>> {
  const tensors = [...new Set(taps.map(({ tensor }) => tensor))];
  const inputName = of.graph.inputs.find(({ name }) => !of.graph.initializers.has(name))?.name;
  assert(inputName !== undefined, 'a backbone has an input');
  await using session = await openSession(encodeModel(tapModel(of, tensors)), {
    threads: options.threads,
    name: 'calibration',
  });
  const rows = taps.map(() => 0);
  const chunks = taps.map((): Float32Array[] => []);
  const batch = options.batch ?? 8;
  for (let start = 0; start < images.length; start += batch) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const some = images.slice(start, start + batch);
    const data = await source.tensor(some, options.size);
    const values = await session.run({
      [inputName]: { type: 'float32', dims: [some.length, 3, options.size, options.size], data },
    });
    taps.forEach((tap, t) => {
      const tensor = values[tap.tensor]!;
      const layout = layoutOf(tensor, some.length, tap.last ?? false);
      const { channels, height, width } = layout;
      const kernel = kernelOn(of, tap.kernel, [height, width]);
      const outHeight = outputSize(
        height,
        kernel.height,
        kernel.strides[0]!,
        kernel.pads[0]!,
        kernel.pads[2]!,
        kernel.dilations[0]!,
      );
      const outWidth = outputSize(
        width,
        kernel.width,
        kernel.strides[1]!,
        kernel.pads[1]!,
        kernel.pads[3]!,
        kernel.dilations[1]!,
      );
      some.forEach((image, i) => {
        const positions = tap.positions(image, outHeight, outWidth);
        const chunk = new Float32Array(positions.length * channels * kernel.height * kernel.width);
        gather(tensor, layout, i, kernel, positions, chunk, 0);
        chunks[t]!.push(chunk);
        rows[t]! += positions.length;
      });
    });
  }
  return new Map(
    taps.map((tap, t) => {
      const total = chunks[t]!.reduce((sum, { length }) => sum + length, 0);
      const data = new Float32Array(total);
      let at = 0;
      for (const chunk of chunks[t]!) {
        data.set(chunk, at);
        at += chunk.length;
      }
      return [tap.id, { rows: rows[t]!, columns: rows[t] === 0 ? 0 : total / rows[t]!, data }];
    }),
  );
}

/** A seeded choice of at most `most` positions of a map, the same for the same image and map size whoever asks. */
export const seededPositions =
  (most: number, seed: number) =>
  (image: number, height: number, width: number): { y: number; x: number }[] => {
    const total = height * width;
    if (total <= most) return Array.from({ length: total }, (_, i) => ({ y: Math.floor(i / width), x: i % width }));
    // One position per stripe of the map, so that the sample covers it.
    const next = mulberry32(seed * 0x9e3779b1 + image * 0x85ebca6b + total);
    return Array.from({ length: most }, (_, i) => {
      const index = Math.min(total - 1, Math.floor(((i + next() / 2 ** 32) * total) / most));
      return { y: Math.floor(index / width), x: index % width };
    });
  };

/** Mean of each column. */
export const columnMeans = ({ rows, columns, data }: Samples): Float64Array => {
  const means = new Float64Array(columns);
  for (let r = 0, at = 0; r < rows; r++) for (let c = 0; c < columns; c++, at++) means[c]! += data[at]!;
  for (let c = 0; c < columns; c++) means[c]! /= Math.max(1, rows);
  return means;
};

/** The samples with their means taken off, as a new array. */
export const centred = ({ rows, columns, data }: Samples, means: Float64Array): Samples => {
  const out = new Float32Array(data.length);
  for (let r = 0, at = 0; r < rows; r++) for (let c = 0; c < columns; c++, at++) out[at] = data[at]! - means[c]!;
  return { rows, columns, data: out };
};

/** a - b, of the same shape. */
export const minus = (a: Samples, b: Samples): Samples => {
  const data = new Float32Array(a.data.length);
  for (let i = 0; i < data.length; i++) data[i] = a.data[i]! - b.data[i]!;
  return { ...a, data };
};

export interface CrossProduct extends AsyncDisposable {
  /** A^T B / rows as float64 [A.columns, B.columns]. */
  of(a: Samples, b: Samples): Promise<Float64Array>;
}

/** Products of tall sample matrices run in ORT: about thirty times as fast as a loop here. */
export async function openCrossProduct(threads: number): Promise<CrossProduct> {
  const bytes = encodeModel(
    makeModel(
      graph({
        nodes: [makeNode('Gemm', ['a', 'b'], ['c'], { transA: 1 })],
        inputs: [value('a', 'float32', ['m', 'p']), value('b', 'float32', ['m', 'q'])],
        outputs: [value('c', 'float32', ['p', 'q'])],
      }),
    ),
  );
  const session: Session = await openSession(bytes, { threads, name: 'cross product' });
  return {
    async of(a, b) {
      assert(a.rows === b.rows && a.rows > 0, 'the same samples');
      const { c } = await session.run({
        a: { type: 'float32', dims: [a.rows, a.columns], data: a.data },
        b: { type: 'float32', dims: [b.rows, b.columns], data: b.data },
      });
      const product = Float64Array.from(c!.data as Float32Array);
      for (let i = 0; i < product.length; i++) product[i]! /= a.rows;
      return product;
    },
    [Symbol.asyncDispose]: () => session.dispose(),
  };
}

/** A matrix over the channels: a product, or a convolution of one pixel. */
export const isPointwise = (of: Model, conv: Node): boolean =>
  conv.op === 'Gemm' ||
  conv.op === 'MatMul' ||
  (conv.op === 'Conv' && intAttribute(conv, 'group', 1) === 1 && kernelOf(of, conv).every((size) => size === 1));
