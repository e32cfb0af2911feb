import { elementCount, numbersOf, type ConstTensor, type Node } from '../../../main/onnx/index.ts';

/**
 * A tensor of the reference evaluator: every number is held as float64, whatever its type in the model. Only the kind matters to an
 * operator (whole-number division, truth values).
 */
export interface RefTensor {
  readonly kind: 'float' | 'int' | 'bool';
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

/** One operator: plain loops over float64. Inputs left out are undefined. */
export type RefOp = (inputs: readonly (RefTensor | undefined)[], node: Node, opset: number) => RefTensor[];
export type RefRows = readonly (readonly [op: string, evaluate: RefOp])[];

export const size = elementCount;

export const tensor = (
  dims: readonly number[],
  data: ArrayLike<number>,
  kind: RefTensor['kind'] = 'float',
): RefTensor => {
  if (size(dims) !== data.length) throw new Error(`[${dims.join(',')}] with ${data.length} numbers`);
  return { kind, dims, data: data instanceof Float64Array ? data : Float64Array.from(data) };
};

export const zeros = (dims: readonly number[]): RefTensor => tensor(dims, new Float64Array(size(dims)));

export const kindOf = (type: string | null): RefTensor['kind'] =>
  type === 'bool' ? 'bool' : type && /^u?int/.test(type) ? 'int' : 'float';

export const fromConst = (from: ConstTensor): RefTensor =>
  tensor(from.dims, Float64Array.from(numbersOf(from)), kindOf(from.type));

/** Row-major strides. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = dims.map(() => 1);
  for (let axis = dims.length - 2; axis >= 0; axis -= 1) strides[axis] = strides[axis + 1]! * dims[axis + 1]!;
  return strides;
}

/** The index [i, j, …] of each element in turn; the array is reused. */
export function* indicesOf(dims: readonly number[]): Generator<number[]> {
  if (dims.includes(0)) return;
  const at = dims.map(() => 0);
  for (;;) {
    yield at;
    let axis = dims.length - 1;
    for (; axis >= 0; axis -= 1) {
      at[axis]! += 1;
      if (at[axis]! < dims[axis]!) break;
      at[axis] = 0;
    }
    if (axis < 0) return;
  }
}

export const flatIndex = (at: readonly number[], strides: readonly number[]): number =>
  at.reduce((sum, index, axis) => sum + index * strides[axis]!, 0);

export function broadcastDims(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const across = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1).filter((dim) => dim !== 1);
    if (new Set(across).size > 1) throw new Error(`shapes ${JSON.stringify(shapes)} do not fit together`);
    return across[0] ?? 1;
  });
}

/** Strides of a tensor of shape `dims` seen at shape `to`: 0 along axes on which it is repeated. */
export function broadcastStrides(dims: readonly number[], to: readonly number[]): number[] {
  const own = stridesOf(dims);
  return to.map((_, axis) => {
    const at = axis - to.length + dims.length;
    return at < 0 || dims[at] === 1 ? 0 : own[at]!;
  });
}

/** Makes a tensor element by element. */
export function build(
  dims: readonly number[],
  of: (at: readonly number[]) => number,
  kind?: RefTensor['kind'],
): RefTensor {
  const data = new Float64Array(size(dims));
  let k = 0;
  for (const at of indicesOf(dims)) data[k++] = of(at);
  return tensor(dims, data, kind);
}

/** Reads a tensor at an index of its own rank. */
export const reader = (of: RefTensor): ((at: readonly number[]) => number) => {
  const strides = stridesOf(of.dims);
  return (at) => of.data[flatIndex(at, strides)]!;
};

export const axisIn = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** Whole numbers from an attribute or an input. */
export function listFrom(node: Node, attribute: string, input: RefTensor | undefined): number[] | undefined {
  const found = node.attributes.get(attribute);
  return found?.kind === 'ints' ? found.value.map(Number) : input && [...input.data];
}
