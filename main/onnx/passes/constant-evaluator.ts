import { intAttribute, intsAttribute, tensorAttribute } from '../build.ts';
import type { ConstTensor, ElementType, Node } from '../model.ts';
import { sliceBounds } from '../slice-bounds.ts';
import { elementCount, elementTypeOf, elementTypes, numbersOf } from '../tensor.ts';

/*
 * Computes small operators on constants, exactly: the same bits as a runtime gives (moves of elements; float32 +, -, *, / and square
 * roots rounded once from float64, which is exact for them, Figueroa 1995; whole numbers below 2^53). What is not exact, or would fail, is
 * undefined: the node then stays.
 */

type Inputs = readonly (ConstTensor | undefined)[];
/** One constant per output; undefined where the node must stay. `limit`: elements that a result may have. */
export type Evaluate = (node: Node, inputs: Inputs, limit: number) => ConstTensor | undefined;

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** Row-major strides. */
const stridesOf = (dims: readonly number[]): number[] => {
  const strides = dims.map(() => 1);
  for (let axis = dims.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * dims[axis + 1]!;
  return strides;
};

/** The tensor of `dims` whose element at flat position i is `source`'s at `from(i)`; undefined for sizes that no tensor has. */
function moved(
  source: ConstTensor,
  dims: readonly number[],
  limit: number,
  from: (index: number[]) => number,
): ConstTensor | undefined {
  const { size } = elementTypes[source.type];
  const count = elementCount(dims);
  if (size === 0 || !dims.every((dim) => dim >= 0) || !(count <= limit)) return undefined;
  const bytes = new Uint8Array(count * size);
  const index = dims.map(() => 0);
  for (let i = 0; i < count; i++) {
    const at = from(index) * size;
    for (let k = 0; k < size; k++) bytes[i * size + k] = source.bytes[at + k]!;
    for (let axis = dims.length - 1; axis >= 0 && ++index[axis]! === dims[axis]; axis--) index[axis] = 0;
  }
  return { type: source.type, dims, bytes };
}

const isWhole = (type: ElementType): boolean => /^u?int(8|16|32|64)$|^bool$/.test(type);

/** Numbers back into bytes; undefined where one does not fit its type. */
function packed(type: ElementType, dims: readonly number[], values: readonly number[]): ConstTensor | undefined {
  const { size } = elementTypes[type];
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  const bits = size * 8;
  for (const [i, x] of values.entries()) {
    const at = i * size;
    if (type === 'float32') view.setFloat32(at, x, true);
    else if (type === 'float64') view.setFloat64(at, x, true);
    // Not a number is not zero.
    else if (type === 'bool') view.setUint8(at, x === 0 ? 0 : 1);
    else if (isWhole(type)) {
      const signed = type.startsWith('int');
      const [low, high] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
      if (!Number.isSafeInteger(x) || x < low || x > high) return undefined;
      if (size === 8) view.setBigInt64(at, BigInt(x), true);
      else if (size === 4) view.setUint32(at, x >>> 0, true);
      else if (size === 2) view.setUint16(at, x & 0xffff, true);
      else view.setUint8(at, x & 0xff);
    } else return undefined;
  }
  return { type, dims, bytes };
}

/** Numbers of a tensor of a type that this file computes with; undefined for others and where a whole number is not exact. */
function read(tensor: ConstTensor | undefined): number[] | undefined {
  if (!tensor || !(isWhole(tensor.type) || tensor.type === 'float32' || tensor.type === 'float64')) return undefined;
  const values = numbersOf(tensor);
  return isWhole(tensor.type) && !values.every(Number.isSafeInteger) ? undefined : values;
}

function broadcastDims(shapes: readonly (readonly number[])[]): number[] | undefined {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  const dims = Array.from({ length: rank }, (_, axis) => {
    const across = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1).filter((dim) => dim !== 1);
    return across.every((dim) => dim === across[0]) ? (across[0] ?? 1) : NaN;
  });
  return dims.some(Number.isNaN) ? undefined : dims;
}

function spread(source: ConstTensor, dims: readonly number[], limit: number): ConstTensor | undefined {
  const strides = stridesOf(source.dims);
  const lead = dims.length - source.dims.length;
  return moved(source, dims, limit, (index) =>
    strides.reduce((at, stride, axis) => at + (source.dims[axis] === 1 ? 0 : index[axis + lead]! * stride), 0),
  );
}

const pairwise =
  (compute: (a: number, b: number, type: ElementType) => number, result?: ElementType): Evaluate =>
  (_node, [a, b], limit) => {
    const dims = a && b && broadcastDims([a.dims, b.dims]);
    if (!dims || a.type !== b.type) return undefined;
    const [left, right] = [read(spread(a, dims, limit)), read(spread(b, dims, limit))];
    return (
      left &&
      right &&
      packed(
        result ?? a.type,
        dims,
        left.map((x, i) => compute(x, right[i]!, a.type)),
      )
    );
  };

const each =
  (compute: (x: number) => number, floatOnly = false): Evaluate =>
  (_node, [a], limit) => {
    if (!a || elementCount(a.dims) > limit || (floatOnly && isWhole(a.type))) return undefined;
    const values = read(a);
    return values && packed(a.type, a.dims, values.map(compute));
  };

const renamed = (source: ConstTensor | undefined, dims: readonly number[]): ConstTensor | undefined =>
  source && source.type !== 'string' && elementCount(dims) === elementCount(source.dims)
    ? { type: source.type, dims, bytes: source.bytes }
    : undefined;

const axesFrom = (node: Node, input: ConstTensor | undefined): number[] | undefined =>
  intsAttribute(node, 'axes') ?? read(input);

const gather: Evaluate = (node, [source, picks], limit) => {
  const indices = read(picks);
  if (!source || !picks || !indices) return undefined;
  const axis = positive(intAttribute(node, 'axis', 0), source.dims.length);
  const size = source.dims[axis];
  if (size === undefined || indices.some((pick) => pick < -size || pick >= size)) return undefined;
  const strides = stridesOf(source.dims);
  const inner = stridesOf(picks.dims);
  const rank = picks.dims.length;
  const dims = [...source.dims.slice(0, axis), ...picks.dims, ...source.dims.slice(axis + 1)];
  return moved(source, dims, limit, (index) => {
    const pick = indices[inner.reduce((at, stride, k) => at + index[axis + k]! * stride, 0)]!;
    return strides.reduce((at, stride, k) => {
      const position = k < axis ? index[k]! : k === axis ? positive(pick, size) : index[k + rank - 1]!;
      return at + position * stride;
    }, 0);
  });
};

const concat: Evaluate = (node, inputs, limit) => {
  const parts = inputs.filter((part) => part !== undefined);
  const first = parts[0];
  if (!first || parts.length !== inputs.length || parts.some((part) => part.type !== first.type)) return undefined;
  const { size } = elementTypes[first.type];
  const axis = positive(intAttribute(node, 'axis', 0), first.dims.length);
  const same = parts.every(
    (part) =>
      part.dims.length === first.dims.length && part.dims.every((dim, k) => k === axis || dim === first.dims[k]),
  );
  if (!same || first.dims[axis] === undefined || size === 0) return undefined;
  const dims = first.dims.map((dim, k) => (k === axis ? parts.reduce((sum, part) => sum + part.dims[k]!, 0) : dim));
  if (elementCount(dims) > limit) return undefined;
  const bytes = new Uint8Array(elementCount(dims) * size);
  const outer = elementCount(dims.slice(0, axis));
  let at = 0;
  for (let i = 0; i < outer; i++) {
    for (const part of parts) {
      const run = part.bytes.length / outer;
      bytes.set(part.bytes.subarray(i * run, (i + 1) * run), at);
      at += run;
    }
  }
  return { type: first.type, dims, bytes };
};

const transpose: Evaluate = (node, [source], limit) => {
  if (!source) return undefined;
  const order = intsAttribute(node, 'perm') ?? [...source.dims.keys()].reverse();
  if (order.length !== source.dims.length || new Set(order).size !== order.length) return undefined;
  if (order.some((axis) => source.dims[axis] === undefined)) return undefined;
  const strides = stridesOf(source.dims);
  return moved(
    source,
    order.map((axis) => source.dims[axis]!),
    limit,
    (index) => order.reduce((at, axis, k) => at + index[k]! * strides[axis]!, 0),
  );
};

const slice: Evaluate = (node, [source, starts, ends, axes, steps], limit) => {
  if (!source) return undefined;
  const rank = source.dims.length;
  // "To the end" is often 2^63 - 1, which is exact enough to be clamped.
  const from = intsAttribute(node, 'starts') ?? (starts && numbersOf(starts));
  const to = intsAttribute(node, 'ends') ?? (ends && numbersOf(ends));
  const along = axesFrom(node, axes) ?? from?.map((_, k) => k);
  const by = steps ? read(steps) : from?.map(() => 1);
  if (!from || !to || !along || !by || along.length !== from.length || to.length !== from.length) return undefined;
  const begin = source.dims.map(() => 0);
  const step = source.dims.map(() => 1);
  const dims = [...source.dims];
  for (const [k, raw] of along.entries()) {
    const axis = positive(raw, rank);
    const size = source.dims[axis];
    if (size === undefined || !by[k]) return undefined;
    const { start, count } = sliceBounds(size, from[k]!, to[k]!, by[k]);
    begin[axis] = start;
    step[axis] = by[k];
    dims[axis] = count;
  }
  const strides = stridesOf(source.dims);
  return moved(source, dims, limit, (index) =>
    strides.reduce((at, stride, axis) => at + (begin[axis]! + index[axis]! * step[axis]!) * stride, 0),
  );
};

const reshape: Evaluate = (node, [source, target]) => {
  const wished = read(target);
  if (!source || !wished) return undefined;
  const keepZero = intAttribute(node, 'allowzero', 0) === 1;
  const dims = wished.map((dim, axis) => (dim === 0 && !keepZero ? (source.dims[axis] ?? 0) : dim));
  const open = dims.indexOf(-1);
  if (open >= 0) dims[open] = elementCount(source.dims) / elementCount(dims.filter((_, axis) => axis !== open));
  return dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0) ? renamed(source, dims) : undefined;
};

const squeeze: Evaluate = (node, [source, list]) => {
  if (!source) return undefined;
  const axes = axesFrom(node, list)?.map((axis) => positive(axis, source.dims.length));
  if (list && !axes) return undefined;
  return renamed(
    source,
    source.dims.filter((dim, axis) => (axes ? !axes.includes(axis) : dim !== 1)),
  );
};

const unsqueeze: Evaluate = (node, [source, list]) => {
  const listed = axesFrom(node, list);
  if (!source || !listed) return undefined;
  const rank = source.dims.length + listed.length;
  const axes = new Set(listed.map((axis) => positive(axis, rank)));
  if (axes.size !== listed.length || [...axes].some((axis) => axis < 0 || axis >= rank)) return undefined;
  let next = 0;
  const dims = Array.from({ length: rank }, (_, axis) => (axes.has(axis) ? 1 : source.dims[next++]!));
  return renamed(source, dims);
};

const cast: Evaluate = (node, [source], limit) => {
  const type = elementTypeOf(intAttribute(node, 'to', 0));
  if (!source || !type || elementCount(source.dims) > limit) return undefined;
  if (type === source.type) return renamed(source, source.dims);
  const values = source.type === 'float16' || source.type === 'bfloat16' ? numbersOf(source) : read(source);
  if (!values) return undefined;
  return packed(type, source.dims, isWhole(type) && type !== 'bool' ? values.map(Math.trunc) : values);
};

const whole = (compute: (a: number, b: number) => number) => (a: number, b: number, type: ElementType) =>
  isWhole(type) ? compute(a, b) : NaN;

const divide = (a: number, b: number, type: ElementType): number =>
  // Whole numbers divided by zero do not fit any type: the node stays, and fails when it is run.
  isWhole(type) ? Math.trunc(a / b) : a / b;

const constantOfShape: Evaluate = (node, [shape], limit) => {
  const dims = read(shape);
  const fill = tensorAttribute(node, 'value') ?? { type: 'float32', dims: [1], bytes: new Uint8Array(4) };
  if (!dims || elementCount(fill.dims) !== 1) return undefined;
  return moved(fill, dims, limit, () => 0);
};

const range: Evaluate = (_node, inputs, limit) => {
  const type = inputs[0]?.type;
  const [start, end, step] = inputs.map((input) => read(input)?.[0]);
  if (!type || !isWhole(type) || start === undefined || end === undefined || !step) return undefined;
  const count = Math.max(0, Math.ceil((end - start) / step));
  if (count > limit) return undefined;
  return packed(
    type,
    [count],
    Array.from({ length: count }, (_, i) => start + i * step),
  );
};

const where: Evaluate = (_node, [condition, a, b], limit) => {
  const dims = condition && a && b && broadcastDims([condition.dims, a.dims, b.dims]);
  if (!dims || condition.type !== 'bool' || a.type !== b.type) return undefined;
  const [choice, yes, no] = [condition, a, b].map((part) => spread(part, dims, limit));
  const { size } = elementTypes[a.type];
  if (!choice || !yes || !no) return undefined;
  const bytes = new Uint8Array(no.bytes);
  choice.bytes.forEach((chosen, i) => {
    if (chosen) bytes.set(yes.bytes.subarray(i * size, (i + 1) * size), i * size);
  });
  return { type: a.type, dims, bytes };
};

/** ai.onnx operator -> how its constant result is computed. */
export const evaluators: ReadonlyMap<string, Evaluate> = new Map<string, Evaluate>([
  ['Identity', (_node, [a]) => renamed(a, a?.dims ?? [])],
  ['Cast', cast],
  ['Gather', gather],
  ['Concat', concat],
  ['Transpose', transpose],
  ['Slice', slice],
  ['Reshape', reshape],
  ['Squeeze', squeeze],
  ['Unsqueeze', unsqueeze],
  ['ConstantOfShape', constantOfShape],
  ['Range', range],
  ['Where', where],
  [
    'Flatten',
    (node, [a]) => {
      if (!a) return undefined;
      const axis = positive(intAttribute(node, 'axis', 1), a.dims.length);
      return renamed(a, [elementCount(a.dims.slice(0, axis)), elementCount(a.dims.slice(axis))]);
    },
  ],
  [
    'Expand',
    (_node, [a, target], limit) => {
      const wished = read(target);
      const dims = a && wished && broadcastDims([a.dims, wished]);
      return dims && spread(a, dims, limit);
    },
  ],
  ['Add', pairwise((a, b) => a + b)],
  ['Sub', pairwise((a, b) => a - b)],
  ['Mul', pairwise((a, b) => a * b)],
  ['Div', pairwise(divide)],
  [
    'Min',
    (node, inputs, limit) =>
      inputs.length === 2 && inputs[0] && isWhole(inputs[0].type)
        ? pairwise(whole((a, b) => Math.min(a, b)))(node, inputs, limit)
        : undefined,
  ],
  [
    'Max',
    (node, inputs, limit) =>
      inputs.length === 2 && inputs[0] && isWhole(inputs[0].type)
        ? pairwise(whole((a, b) => Math.max(a, b)))(node, inputs, limit)
        : undefined,
  ],
  [
    'Mod',
    (node, inputs, limit) =>
      intAttribute(node, 'fmod', 0) === 0 && inputs[0] && isWhole(inputs[0].type)
        ? pairwise(whole((a, b) => a - b * Math.floor(a / b)))(node, inputs, limit)
        : undefined,
  ],
  ['Equal', pairwise((a, b) => Number(a === b), 'bool')],
  ['Greater', pairwise((a, b) => Number(a > b), 'bool')],
  ['GreaterOrEqual', pairwise((a, b) => Number(a >= b), 'bool')],
  ['Less', pairwise((a, b) => Number(a < b), 'bool')],
  ['LessOrEqual', pairwise((a, b) => Number(a <= b), 'bool')],
  ['And', pairwise((a, b) => a * b, 'bool')],
  ['Or', pairwise((a, b) => a + b, 'bool')],
  ['Not', each((x) => 1 - x)],
  ['Neg', each((x) => -x)],
  ['Abs', each(Math.abs)],
  ['Sqrt', each(Math.sqrt, true)],
  ['Reciprocal', each((x) => 1 / x, true)],
  ['Floor', each(Math.floor, true)],
  ['Ceil', each(Math.ceil, true)],
]);
