import * as tf from '@tensorflow/tfjs-core';
import type { ConstTensor } from '../../onnx/index.ts';
import { elementCount, elementTypes } from '../../onnx/index.ts';
import { AppError, assert } from '../../contract/errors.ts';
import type { Tensor } from '../../runtime/session.ts';
import { arrayTypes } from '../state.ts';

/** Where channels stand in memory: ONNX has [N, C, H, W], the convolution kernels of TensorFlow.js want [N, H, W, C]. */
export type Layout = 'first' | 'last';

export interface Arranged {
  readonly tensor: tf.Tensor;
  readonly layout: Layout;
}

const TO_LAST = [0, 2, 3, 1];
const TO_FIRST = [0, 3, 1, 2];

/**
 * A value of the graph. Of rank 4 it may be held in either layout or in both: the other one is made at first use and kept as long as the
 * value, so that a chain of convolutions never goes back and forth. Owns its tensors.
 */
export class GraphValue {
  /** In ONNX order, whatever the layout. */
  readonly dims: readonly number[];
  #first: tf.Tensor | undefined;
  #last: tf.Tensor | undefined;

  /** Takes over `arranged.tensor`, which must outlive the tidy it was made in (tf.keep). */
  constructor({ tensor, layout }: Arranged) {
    assert(layout === 'first' || tensor.rank === 4, 'only values of rank 4 have a layout');
    if (layout === 'first') this.#first = tensor;
    else this.#last = tensor;
    this.dims = layout === 'first' ? tensor.shape : TO_FIRST.map((axis) => tensor.shape[axis]!);
  }

  /** In ONNX order. */
  get tensor(): tf.Tensor {
    this.#first ??= tf.keep(tf.transpose(this.#last!, TO_FIRST));
    return this.#first;
  }

  /** [N, H, W, C]; of rank 4 only. */
  get channelsLast(): tf.Tensor4D {
    this.#last ??= tf.keep(tf.transpose(this.#first!, TO_LAST));
    return this.#last as tf.Tensor4D;
  }

  /** Whether `channelsLast` costs nothing. */
  get hasChannelsLast(): boolean {
    return this.#last !== undefined;
  }

  /** What is at hand, channels last where both are. */
  get arranged(): Arranged {
    return this.#last ? { tensor: this.#last, layout: 'last' } : { tensor: this.#first!, layout: 'first' };
  }

  dispose(): void {
    this.#first?.dispose();
    this.#last?.dispose();
  }
}

const INT32_MAX = 2 ** 31 - 1;
const clampInt = (value: bigint): number =>
  value > 2_147_483_647n ? INT32_MAX : value < -2_147_483_648n ? -INT32_MAX - 1 : Number(value);

/** dtypes of TensorFlow.js by ONNX element type. Whole numbers all become int32, larger int64 are clamped (they stand for "to the end"). */
export const dtypes: Partial<Record<string, 'float32' | 'int32' | 'bool'>> = {
  float32: 'float32',
  int64: 'int32',
  int32: 'int32',
  uint8: 'int32',
  int8: 'int32',
  bool: 'bool',
};

function toNumbers(data: Tensor['data'], dtype: 'float32' | 'int32' | 'bool'): Float32Array | Int32Array | Uint8Array {
  if (data instanceof BigInt64Array) return Int32Array.from(data, clampInt);
  if (dtype === 'float32') return Float32Array.from(data);
  return dtype === 'bool' ? Uint8Array.from(data) : Int32Array.from(data);
}

/** A copy on the backend. @throws GRAPH_INVALID for element types TensorFlow.js has not. */
export function upload({ type, dims, data }: Tensor, name: string): GraphValue {
  const dtype = dtypes[type];
  if (!dtype) {
    throw new AppError('GRAPH_INVALID', { where: name, problem: `TensorFlow.js has no tensors of type ${type}` });
  }
  return new GraphValue({
    tensor: tf.keep(tf.tensor(toNumbers(data, dtype), [...dims], dtype)),
    layout: 'first',
  });
}

/** A constant of the graph in the form that goes in and out of a step. @throws GRAPH_INVALID for types no runtime tensor has. */
export function runtimeTensor(constant: ConstTensor, name: string): Tensor {
  const { type, dims } = constant;
  if (!(type in arrayTypes)) {
    throw new AppError('GRAPH_INVALID', {
      where: name,
      problem: `a constant of type ${type} cannot take part in training`,
    });
  }
  const bytes = Uint8Array.from(constant.bytes);
  assert(bytes.byteLength === elementCount(dims) * elementTypes[type].size, 'the codec checks the sizes of constants');
  const known = type as keyof typeof arrayTypes;
  return { type: known, dims, data: new arrayTypes[known](bytes.buffer) };
}

/** A copy off the backend in the ONNX type `type`, in ONNX order. */
export function download(value: GraphValue, type: Tensor['type']): Tensor {
  const numbers = value.tensor.dataSync() as Float32Array | Int32Array | Uint8Array;
  const data = type === 'int64' ? BigInt64Array.from(numbers, (item) => BigInt(item)) : arrayTypes[type].from(numbers);
  return { type, dims: value.dims, data };
}
