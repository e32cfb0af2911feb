import { AppError, assert } from '../contract/errors.ts';
import type { ConstTensor, ElementType } from './model.ts';

/** TensorProto.DataType numbers and bytes per element (0: not fixed). */
export const elementTypes: Readonly<Record<ElementType, { code: number; size: number }>> = {
  float32: { code: 1, size: 4 },
  uint8: { code: 2, size: 1 },
  int8: { code: 3, size: 1 },
  uint16: { code: 4, size: 2 },
  int16: { code: 5, size: 2 },
  int32: { code: 6, size: 4 },
  int64: { code: 7, size: 8 },
  string: { code: 8, size: 0 },
  bool: { code: 9, size: 1 },
  float16: { code: 10, size: 2 },
  float64: { code: 11, size: 8 },
  uint32: { code: 12, size: 4 },
  uint64: { code: 13, size: 8 },
  bfloat16: { code: 16, size: 2 },
};

const byCode = new Map(Object.entries(elementTypes).map(([name, { code }]) => [code, name as ElementType]));
export const elementTypeOf = (code: number): ElementType | null => byCode.get(code) ?? null;

/** Number of elements; 1 for a scalar (no dims). */
export const elementCount = (dims: readonly number[]): number => dims.reduce((product, dim) => product * dim, 1);

const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

const tensorOf = (
  type: ElementType,
  dims: readonly number[],
  array: ArrayBufferView & { length: number },
): ConstTensor => {
  assert(
    elementCount(dims) === array.length,
    `${type} tensor [${dims.join(',')}] needs ${elementCount(dims)} elements, got ${array.length}`,
  );
  return { type, dims: [...dims], bytes: bytesOf(array) };
};

/** Takes ownership of a typed array (no copy). */
export const float32Tensor = (dims: readonly number[], values: ArrayLike<number>): ConstTensor =>
  tensorOf('float32', dims, values instanceof Float32Array ? values : Float32Array.from(values));
export const float64Tensor = (dims: readonly number[], values: ArrayLike<number>): ConstTensor =>
  tensorOf('float64', dims, values instanceof Float64Array ? values : Float64Array.from(values));
export const int64Tensor = (dims: readonly number[], values: ArrayLike<number> | BigInt64Array): ConstTensor =>
  tensorOf('int64', dims, values instanceof BigInt64Array ? values : BigInt64Array.from(Array.from(values), BigInt));
export const int32Tensor = (dims: readonly number[], values: ArrayLike<number>): ConstTensor =>
  tensorOf('int32', dims, values instanceof Int32Array ? values : Int32Array.from(values));
export const int8Tensor = (dims: readonly number[], values: ArrayLike<number>): ConstTensor =>
  tensorOf('int8', dims, values instanceof Int8Array ? values : Int8Array.from(values));
export const uint8Tensor = (dims: readonly number[], values: ArrayLike<number>): ConstTensor =>
  tensorOf('uint8', dims, values instanceof Uint8Array ? values : Uint8Array.from(values));
export const scalar = (value: number, type: 'float32' | 'float64' | 'int64' = 'float32'): ConstTensor =>
  type === 'int64'
    ? int64Tensor([], [value])
    : type === 'float64'
      ? float64Tensor([], [value])
      : float32Tensor([], [value]);

/** IEEE 754 binary16 -> number, exact. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const readers: Partial<Record<ElementType, (view: DataView, at: number) => number>> = {
  float32: (view, at) => view.getFloat32(at, true),
  float64: (view, at) => view.getFloat64(at, true),
  float16: (view, at) => halfToNumber(view.getUint16(at, true)),
  bfloat16: (view, at) => {
    const word = new DataView(new ArrayBuffer(4));
    word.setUint32(0, view.getUint16(at, true) << 16);
    return word.getFloat32(0);
  },
  uint8: (view, at) => view.getUint8(at),
  bool: (view, at) => view.getUint8(at),
  int8: (view, at) => view.getInt8(at),
  uint16: (view, at) => view.getUint16(at, true),
  int16: (view, at) => view.getInt16(at, true),
  int32: (view, at) => view.getInt32(at, true),
  uint32: (view, at) => view.getUint32(at, true),
  // Shapes and indices; INT64_MAX ("to the end") becomes 2^63, which still is beyond every size.
  int64: (view, at) => Number(view.getBigInt64(at, true)),
  uint64: (view, at) => Number(view.getBigUint64(at, true)),
};

const readAll = <T extends Float32Array | Float64Array>(tensor: ConstTensor, out: T): T => {
  const read = readers[tensor.type];
  if (!read)
    throw new AppError('GRAPH_INVALID', { where: tensor.type, problem: 'a tensor of text where numbers are needed' });
  const { size } = elementTypes[tensor.type];
  const view = new DataView(tensor.bytes.buffer, tensor.bytes.byteOffset, tensor.bytes.byteLength);
  for (let i = 0; i < out.length; i++) out[i] = read(view, i * size);
  return out;
};

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** As float32. Where it is stored so, a view of the file's bytes (if aligned): copy before writing. @throws GRAPH_INVALID for text. */
export function float32Of(tensor: ConstTensor): Float32Array {
  const { bytes } = tensor;
  if (tensor.type === 'float32' && littleEndian) {
    // Uint8Array, not slice(): on a Node Buffer slice() is a view and stays misaligned.
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
    return new Float32Array(aligned.buffer, aligned.byteOffset, bytes.byteLength / 4);
  }
  return readAll(tensor, new Float32Array(elementCount(tensor.dims)));
}

/** As float64, always a copy. @throws GRAPH_INVALID for text. */
export const float64Of = (tensor: ConstTensor): Float64Array =>
  readAll(tensor, new Float64Array(elementCount(tensor.dims)));

/** As plain numbers: shapes, axes, pads. @throws GRAPH_INVALID for text. */
export const numbersOf = (tensor: ConstTensor): number[] => [...float64Of(tensor)];
