import { assert } from '../../../contract/errors.ts';
import { elementCount } from '../../../onnx/index.ts';
import type { Tensor } from '../../../runtime/session.ts';

/*
 * How a value lies in memory:
 * - plain: as its shape says, row-major;
 * - blocked (activations [N, C, H, W]): [N, C/b, H, W, b], C rounded up to whole blocks, the lanes past C all zero;
 * - filter (weights [O, I, kh, kw]): [O/b, I/b, kh, kw, b (I), b (O)]; with I < b: [O/b, I, kh, kw, b]; depth-wise [C, 1, kh, kw]:
 *   [C/b, kh, kw, b]. Again rounded up, with zeros.
 * b is the vector width of the CPU's convolution kernels (16 with AVX-512, 8 with AVX2).
 */
export type Form = 'plain' | 'blocked' | 'filter';

export type FilterKind = 'dense' | 'image' | 'depthwise';

export const roundUp = (count: number, block: number): number => Math.ceil(count / block) * block;

export interface FilterLayout {
  readonly kind: FilterKind;
  readonly block: number;
  /** The weights' shape [O, I, kh, kw]. */
  readonly dims: readonly number[];
}

/** Shape under which the session knows a packed filter. */
export function packedDims({ kind, block, dims }: FilterLayout): number[] {
  const [o, i, kh, kw] = dims as [number, number, number, number];
  return [roundUp(o, block), kind === 'dense' ? roundUp(i, block) : i, kh, kw];
}

/** Calls `visit(plain index, packed index)` for every weight. */
function eachWeight({ kind, block, dims }: FilterLayout, visit: (plain: number, packed: number) => void): void {
  const [o, i, kh, kw] = dims as [number, number, number, number];
  const area = kh * kw;
  const inputBlocks = kind === 'dense' ? Math.ceil(i / block) : i;
  const inner = kind === 'dense' ? block : 1;
  for (let out = 0; out < o; out++) {
    const [outBlock, outLane] = [Math.floor(out / block), out % block];
    for (let input = 0; input < i; input++) {
      const [inBlock, inLane] = [Math.floor(input / inner), input % inner];
      for (let at = 0; at < area; at++) {
        const packed = (((outBlock * inputBlocks + inBlock) * area + at) * inner + inLane) * block + outLane;
        visit((out * i + input) * area + at, packed);
      }
    }
  }
}

/** @param tensor float32 in the shape `layout.dims`. */
export function packFilter(layout: FilterLayout, tensor: Tensor): Tensor {
  assert(tensor.data instanceof Float32Array, 'weights are float32');
  const source = tensor.data;
  const dims = packedDims(layout);
  const data = new Float32Array(elementCount(dims));
  eachWeight(layout, (plain, packed) => {
    data[packed] = source[plain]!;
  });
  return { type: 'float32', dims, data };
}

export function unpackFilter(layout: FilterLayout, tensor: Tensor): Tensor {
  assert(tensor.data instanceof Float32Array, 'weights are float32');
  const source = tensor.data;
  const data = new Float32Array(elementCount(layout.dims));
  eachWeight(layout, (plain, packed) => {
    data[plain] = source[packed]!;
  });
  return { type: 'float32', dims: [...layout.dims], data };
}
