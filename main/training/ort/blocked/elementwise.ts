import { floatValue, intAttribute, type Node } from '../../../onnx/index.ts';
import type { BlockedWriter } from './writer.ts';

/** Ops that give 0 where every tensor operand is 0, so that the lanes past the last channel stay zero; operands of one shape. */
const KEEPS_ZERO = new Set([
  'Add',
  'Sub',
  'Mul',
  'Relu',
  'Neg',
  'Abs',
  'HardSwish',
  'Sum',
  'Identity',
  'Tanh',
  'Sign',
  'Erf',
]);
/** Others are allowed where no lane is past the last channel. */
const ANY_LANES = new Set([
  'Sigmoid',
  'HardSigmoid',
  'Clip',
  'Exp',
  'Sqrt',
  'Div',
  'Pow',
  'Where',
  'Greater',
  'Less',
  'Equal',
]);
/** Of an op on weights and their gradients: the same numbers in another order. */
const ON_FILTERS = new Set(['Add', 'Sub', 'Mul', 'Div', 'Sqrt', 'Neg', 'Abs', 'Sign', 'Sum', 'Identity', 'Pow']);

const isScalar = (shape: readonly number[]): boolean => shape.every((size) => size === 1);

/** An op on one or more tensors of one shape, with scalars beside them, in whatever form they are at hand. */
export function elementwise(writer: BlockedWriter, node: Node): boolean {
  if (node.domain !== '' || node.outputs.length !== 1) return false;
  const output = node.outputs[0]!;
  const shape = writer.shape(output);
  const tensors = node.inputs.filter((name) => name !== '' && !isScalar(writer.shape(name)));
  if (tensors.length === 0 || isScalar(shape)) return false;
  if (tensors.some((name) => writer.shape(name).join() !== shape.join())) return false;

  const rename = (form: (name: string) => string): string =>
    writer.emit(
      node.op,
      node.inputs.map((name) => (tensors.includes(name) ? form(name) : writer.plain(name))),
      Object.fromEntries(node.attributes),
    );
  const layout = tensors.map((name) => writer.filterLayout(name)).find((found) => found !== undefined);
  if (layout && ON_FILTERS.has(node.op)) {
    // A scalar added would fill the lanes past the last channel, and 0 / 0 there is not a number.
    const full =
      layout.dims[0]! % layout.block === 0 && (layout.kind !== 'dense' || layout.dims[1]! % layout.block === 0);
    const safe = full || (KEEPS_ZERO.has(node.op) && (node.op === 'Mul' || tensors.length === node.inputs.length));
    if (!safe) return false;
    writer.setFilter(
      output,
      rename((name) => writer.filter(name, layout)),
      layout,
    );
    return true;
  }
  if (!tensors.some((name) => writer.has(name, 'blocked')) || !writer.blockable(output)) return false;
  const full = writer.shape(output)[1]! % writer.block === 0;
  const keeps = KEEPS_ZERO.has(node.op) && (node.op === 'Mul' || tensors.length === node.inputs.length);
  if (!keeps && !(full && (ANY_LANES.has(node.op) || KEEPS_ZERO.has(node.op)))) return false;
  writer.set(
    output,
    'blocked',
    rename((name) => writer.blocked(name)),
  );
  return true;
}

/** Sum over everything: the same in any order. */
export function totalReduction(writer: BlockedWriter, node: Node): boolean {
  const [x] = node.inputs as [string];
  if (node.domain !== '' || !writer.filterLayout(x) || writer.shape(node.outputs[0]!).some((size) => size !== 1))
    return false;
  if (!['ReduceSumSquare', 'ReduceL2', 'ReduceSum', 'ReduceL1'].includes(node.op)) return false;
  const keepdims = intAttribute(node, 'keepdims', 1);
  writer.set(
    node.outputs[0]!,
    'plain',
    writer.emit(node.op, [writer.filter(x, writer.filterLayout(x)!)], { keepdims }),
  );
  return true;
}

/** 2^100: a ramp so steep that a HardSigmoid is 0 at 0 and 1 above, in one pass (Greater and Cast are two). */
const STEEP = 2 ** 100;

export function reluGrad(writer: BlockedWriter, node: Node): boolean {
  const [dY, y] = node.inputs as [string, string];
  if (!writer.blockable(y) || !(writer.has(y, 'blocked') || writer.has(dY, 'blocked'))) return false;
  const mask = writer.emit('HardSigmoid', [writer.blocked(y)], { alpha: STEEP, beta: 0 });
  writer.set(node.outputs[0]!, 'blocked', writer.emit('Mul', [writer.blocked(dY), mask]));
  return true;
}

export function clipGrad(writer: BlockedWriter, node: Node): boolean {
  const [dY, y] = node.inputs as [string, string];
  if (!writer.blockable(y) || !(writer.has(y, 'blocked') || writer.has(dY, 'blocked'))) return false;
  const above = writer.emit('Greater', [writer.blocked(y), writer.number(floatValue(node, 'min', -Infinity))]);
  const below = writer.emit('Less', [writer.blocked(y), writer.number(floatValue(node, 'max', Infinity))]);
  const inside = writer.emit('Cast', [writer.emit('And', [above, below])], { to: 1 });
  writer.set(node.outputs[0]!, 'blocked', writer.emit('Mul', [writer.blocked(dY), inside]));
  return true;
}

/** [N, C, 1, 1] spread over an image. */
export function expand(writer: BlockedWriter, node: Node): boolean {
  const [x] = node.inputs as [string];
  const [y] = node.outputs as [string];
  if (!writer.blockable(y) || writer.shape(x).length !== 4) return false;
  const [n, c, h, w] = writer.shape(y) as [number, number, number, number];
  if (writer.shape(x).join() !== [n, c, 1, 1].join()) return false;
  const { block } = writer;
  const lanes = writer.lanes(y);
  const flat = writer.padEnd(writer.reshape(writer.plain(x), [n, c]), 2, 1, lanes - c);
  const column = writer.reshape(flat, [n, lanes / block, 1, block]);
  const spread = writer.emit('Expand', [column, writer.ints([n, lanes / block, h * w, block])]);
  writer.set(y, 'blocked', writer.reshape(spread, [n, lanes, h, w]));
  return true;
}
