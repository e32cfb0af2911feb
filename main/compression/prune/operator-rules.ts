import { elementCount, intAttribute, intsAttribute, numbersOf, type ConstTensor, type Node } from '../../onnx/index.ts';
import { atomAt, eachIndex, pick, range, reshaped, sorted, type Atoms, type Label } from './channels.ts';

/*
 * What each operator means for the channels of its inputs, one row per operator. A rule labels the outputs, ties atoms that can only go together, and returns
 * why it cannot be seen through, or null. Channels that reach an operator without a row, or one that returns a reason, stay.
 */

/** A list of whole numbers that must follow when channels go: a shape, sizes of a Split, bounds of a Slice, the groups of a convolution. */
export interface Counted {
  node: Node;
  /** Where the list stands; an attribute of one number is a list of one. */
  place: { input: number } | { attribute: string };
  /** The whole list, negative entries resolved. */
  values: readonly number[];
  entry: number;
  /** One atom per unit of that entry: when it goes, the entry is one less. */
  units: { label: Label; axis: number; start: number; end: number };
}

export interface RuleContext {
  readonly node: Node;
  readonly opset: number;
  readonly atoms: Atoms;
  label(index: number): Label | null;
  shape(index: number): readonly number[] | null;
  outputShape(index?: number): readonly number[] | null;
  constant(index: number): ConstTensor | null;
  /** Atoms of one axis of a constant input. */
  axisOf(index: number, axis: number): Int32Array;
  setLabel(output: number, label: Label): void;
  produces(atoms: Int32Array): void;
  /** The node mixes these channels into others by one axis of a constant. */
  consumes(index: number, axis: number, atoms: Int32Array): void;
  counts(counted: Omit<Counted, 'node'>): void;
  /** These stay, for this reason; the others of the node may go. */
  freeze(atoms: Int32Array, why: string): void;
  /** Nothing may go along this axis. */
  rigid(label: Label, axis: number, why: string): void;
}

export type Rule = (context: RuleContext) => string | null;

const along = (axis: number, atoms: Int32Array): Label => ({ axes: [axis], dims: [atoms.length], atoms });
const isList = (context: RuleContext, index: number): boolean => (context.node.inputs[index] ?? '') !== '';

/** Numbers of an attribute in old opsets, of a constant input in newer ones; undefined: neither; null: computed while running. */
const listOf = (
  context: RuleContext,
  attribute: string,
  input: number,
): { values: number[]; place: Counted['place'] } | null | undefined => {
  const stated = intsAttribute(context.node, attribute);
  if (stated) return { values: stated, place: { attribute } };
  if (!isList(context, input)) return undefined;
  const tensor = context.constant(input);
  return tensor ? { values: numbersOf(tensor), place: { input } } : null;
};

/** The channels of an image-like tensor: axis 1 and no other. */
const imageChannels = (context: RuleContext, index = 0): Int32Array | null | string => {
  const label = context.label(index);
  if (!label || label.axes.length === 0) return null;
  return label.axes.length === 1 && label.axes[0] === 1 ? label.atoms : 'its channels are not on the second axis';
};

/** Activation functions and the like: every output entry from the same entry of the first input. */
const pointwise: Rule = (context) => {
  const label = context.label(0);
  if (context.node.inputs.some((_, i) => i > 0 && elementCount(context.constant(i)?.dims ?? []) > 1))
    return 'its settings are not single numbers';
  if (label) context.setLabel(0, label);
  return null;
};

/** Pooling and others that work on each plane alone. */
const perPlane: Rule = (context) => {
  const channels = imageChannels(context);
  if (typeof channels === 'string') return channels;
  if (channels) context.setLabel(0, along(1, channels));
  return null;
};

/** Add, Mul … with broadcasting, of activations and constants. */
const elementwise: Rule = (context) => {
  const { node, atoms } = context;
  const shape = context.outputShape();
  const labels = node.inputs.map((_, i) => context.label(i));
  if (labels.every((label) => label === null)) return null;
  if (!shape) return 'its shape cannot be told';
  const rank = shape.length;
  const inputs = node.inputs.map((_, i) => {
    const dims = context.constant(i)?.dims ?? context.shape(i);
    return (
      dims && { dims, shift: rank - dims.length, constant: context.constant(i) !== null, label: labels[i] ?? null }
    );
  });
  if (inputs.includes(null)) return 'its shape cannot be told';
  const axes = shape
    .map((_, axis) => axis)
    .filter((axis) =>
      inputs.some((input) => {
        const at = axis - input!.shift;
        return input!.label?.axes.includes(at) && input!.dims[at]! > 1;
      }),
    );
  const dims = axes.map((axis) => shape[axis]!);
  const out = new Int32Array(elementCount(dims)).fill(-1);
  let partly = false;
  for (const input of inputs) {
    const { label, shift, constant } = input!;
    if (constant) continue;
    partly ||= axes.some((axis) => input!.dims[axis - shift]! > 1 && !label?.axes.includes(axis - shift));
    if (!label) continue;
    if (label.axes.some((axis, k) => label.dims[k] === 1 && shape[axis + shift]! > 1)) {
      context.freeze(label.atoms, 'it is spread over others');
      continue;
    }
    eachIndex(dims, (index, flat) => {
      const atom = atomAt(label, (axis) => index[axes.indexOf(axis + shift)] ?? 0);
      if (out[flat] === -1) out[flat] = atom;
      else atoms.tie(out[flat]!, atom);
    });
  }
  if (axes.length === 0) return null;
  const label = { axes, dims, atoms: out };
  if (partly) context.freeze(out, 'it is combined with what are not channels');
  node.inputs.forEach((_, i) => {
    const { dims: own, shift, constant } = inputs[i]!;
    if (!constant) return;
    axes.forEach((axis, k) => {
      if ((own[axis - shift] ?? 1) === 1) return;
      const entries = context.axisOf(i, axis - shift);
      const inner = elementCount(dims.slice(k + 1));
      out.forEach((atom, flat) => atoms.tie(atom, entries[Math.floor(flat / inner) % dims[k]!]!));
    });
  });
  context.setLabel(0, label);
  return null;
};

const conv: Rule = (context) => {
  const { node, atoms } = context;
  const weight = context.constant(1);
  if (!weight) return 'its weight is not a constant';
  if (isList(context, 2) && !context.constant(2)) return 'its bias is not a constant';
  const groups = intAttribute(node, 'group', 1);
  const [rows, columns] = weight.dims as [number, number];
  const made = context.axisOf(1, 0);
  const input = imageChannels(context);
  if (typeof input === 'string') return input;
  context.setLabel(0, along(1, made));
  if (isList(context, 2)) atoms.tieAll(made, context.axisOf(2, 0));
  if (groups === 1) {
    context.produces(made);
    const read = context.axisOf(1, 1);
    if (input) {
      atoms.tieAll(input, read);
      context.consumes(1, 1, read);
    } else context.freeze(read, 'it reads what are not channels');
    return null;
  }
  if (!input) {
    context.freeze(made, 'it works group by group on what are not channels');
    return null;
  }
  // Group by group: what one group reads and makes goes as one. Depthwise: that is one channel.
  const perGroup = rows / groups;
  for (let g = 0; g < groups; g++) {
    const first = input[g * columns]!;
    for (let i = 0; i < columns; i++) atoms.tie(first, input[g * columns + i]!);
    for (let o = 0; o < perGroup; o++) atoms.tie(first, made[g * perGroup + o]!);
  }
  if (columns > 1) context.produces(made);
  const leaders = Int32Array.from({ length: groups }, (_, g) => input[g * columns]!);
  context.counts({
    place: { attribute: 'group' },
    values: [groups],
    entry: 0,
    units: { label: along(1, leaders), axis: 0, start: 0, end: groups },
  });
  return null;
};

const convTranspose: Rule = (context) => {
  const { node, atoms } = context;
  if (!context.constant(1)) return 'its weight is not a constant';
  if (isList(context, 2) && !context.constant(2)) return 'its bias is not a constant';
  if (intAttribute(node, 'group', 1) !== 1) return 'it works in groups';
  const input = imageChannels(context);
  if (typeof input === 'string') return input;
  const made = context.axisOf(1, 1);
  context.produces(made);
  context.setLabel(0, along(1, made));
  if (isList(context, 2)) atoms.tieAll(made, context.axisOf(2, 0));
  if (input) {
    atoms.tieAll(input, context.axisOf(1, 0));
    context.consumes(1, 0, input);
  }
  return null;
};

const gemm: Rule = (context) => {
  const { node, atoms } = context;
  const weight = context.constant(1);
  if (!weight || context.constant(0)) return 'its weight is not a constant';
  if (intAttribute(node, 'transA', 0) !== 0) return 'its input is transposed';
  if (isList(context, 2) && !context.constant(2)) return 'its bias is not a constant';
  const inputAxis = intAttribute(node, 'transB', 0) === 1 ? 1 : 0;
  return linear(context, inputAxis, () => {
    const bias = context.constant(2);
    if (bias && elementCount(bias.dims) > 1) {
      if (bias.dims.at(-1) !== weight.dims[1 - inputAxis] || elementCount(bias.dims) !== bias.dims.at(-1))
        return 'its bias is not one value per output';
      atoms.tieAll(context.axisOf(1, 1 - inputAxis), context.axisOf(2, bias.dims.length - 1));
    }
    return null;
  });
};

/** The last axis through a constant matrix. */
function linear(context: RuleContext, inputAxis: number, also: () => string | null): string | null {
  const shape = context.shape(0);
  if (!shape) return 'its shape cannot be told';
  const last = shape.length - 1;
  const label = context.label(0);
  if (label?.axes.some((axis) => axis !== last)) return 'channels lie on another axis than the one it mixes';
  const why = also();
  if (why !== null) return why;
  const made = context.axisOf(1, 1 - inputAxis);
  context.produces(made);
  context.setLabel(0, along(last, made));
  const read = context.axisOf(1, inputAxis);
  if (label && label.axes.length > 0) {
    context.atoms.tieAll(label.atoms, read);
    context.consumes(1, inputAxis, read);
  } else context.freeze(read, 'it reads what are not channels');
  return null;
}

const matMul: Rule = (context) => {
  const { atoms } = context;
  const weight = context.constant(1);
  if (weight) return weight.dims.length === 2 ? linear(context, 0, () => null) : 'its weight is not a matrix';
  const [a, b] = [context.label(0), context.label(1)];
  if (!a && !b) return null;
  const [left, right, shape] = [context.shape(0), context.shape(1), context.outputShape()];
  if (context.constant(0) || !left || !right || !shape || left.length !== right.length || left.length < 3)
    return 'it is not a product of two activations of one rank';
  const rank = left.length;
  // One number for each axis of the whole product: the batch axes, then rows, columns and the axis that is summed over.
  const [rows, columns, summed] = [rank - 2, rank - 1, rank];
  const axisOfA = (axis: number) => (axis === rank - 1 ? summed : axis);
  const axisOfB = (axis: number) => (axis === rank - 2 ? summed : axis === rank - 1 ? columns : axis);
  const labelled = new Set([...(a?.axes ?? []).map(axisOfA), ...(b?.axes ?? []).map(axisOfB)]);
  const axes = [...labelled].sort((x, y) => x - y);
  const sizes = axes.map((axis) => (axis === summed ? left[rank - 1]! : axis === rows ? left[rows]! : shape[axis]!));
  const both = axes.filter((axis) => axis < rows || axis === summed);
  const covers = (label: Label | null, own: (axis: number) => number, dims: readonly number[]) =>
    both.every((axis) => {
      const at = dims.findIndex((_, i) => own(i) === axis);
      return dims[at] === 1 || label?.axes.some((each) => own(each) === axis);
    });
  if (!covers(a, axisOfA, left) || !covers(b, axisOfB, right))
    return 'it multiplies channels with what are not channels';
  const outAxes = axes.filter((axis) => axis !== summed);
  const outDims = sizes.filter((_, k) => axes[k] !== summed);
  const out = atoms.fresh(elementCount(outDims));
  eachIndex(sizes, (index) => {
    const at = (axis: number) => index[axes.indexOf(axis)] ?? 0;
    const first = a && atomAt(a, (axis) => at(axisOfA(axis)));
    const second = b && atomAt(b, (axis) => at(axisOfB(axis)));
    if (first !== null && second !== null) atoms.tie(first, second);
    const any = first ?? second;
    if (outAxes.length > 0 && any !== null) {
      atoms.tie(out[outAxes.reduce((flat, axis, k) => flat * outDims[k]! + at(axis), 0)]!, any);
    }
  });
  if (outAxes.length > 0) context.setLabel(0, { axes: outAxes, dims: outDims, atoms: out });
  return null;
};

/** Statistics or gains per channel of an image-like tensor. */
const perChannelConstants: Rule = (context) => {
  const channels = imageChannels(context);
  if (typeof channels === 'string') return channels;
  if (context.node.inputs.some((_, i) => i > 0 && !context.constant(i))) return 'its statistics are not constants';
  if (!channels) return null;
  for (let i = 1; i < context.node.inputs.length; i++) context.atoms.tieAll(channels, context.axisOf(i, 0));
  context.setLabel(0, along(1, channels));
  return null;
};

/** Softmax, LayerNormalization: nothing may go from what they normalise over, the rest is kept apart. */
const normalises =
  (axesOf: (context: RuleContext, rank: number) => number[]): Rule =>
  (context) => {
    const label = context.label(0);
    const rank = context.shape(0)?.length;
    if (!label) return null;
    if (rank === undefined) return 'its shape cannot be told';
    const over = axesOf(context, rank);
    if (label.axes.some((axis, k) => label.dims[k]! > 1 && over.includes(axis)))
      return 'it normalises over the channels';
    context.setLabel(0, label);
    return null;
  };

const fromAxis = (context: RuleContext, rank: number, fallback: number): number[] => {
  const stated = intAttribute(context.node, 'axis', fallback);
  const first = stated < 0 ? stated + rank : stated;
  return Array.from({ length: rank - first }, (_, i) => first + i);
};

const softmax = normalises((context, rank) => {
  if (context.opset < 13) return fromAxis(context, rank, 1);
  const axis = intAttribute(context.node, 'axis', -1);
  return [axis < 0 ? axis + rank : axis];
});

const transpose: Rule = (context) => {
  const label = context.label(0);
  const rank = context.shape(0)?.length;
  if (!label) return null;
  if (rank === undefined) return 'its shape cannot be told';
  const perm = intsAttribute(context.node, 'perm', [...Array(rank).keys()].reverse());
  context.setLabel(
    0,
    sorted(
      label.axes.map((axis) => perm.indexOf(axis)),
      label.dims,
      label.atoms,
    ),
  );
  return null;
};

/** Reshape, Flatten, Squeeze, Unsqueeze: the same entries under other axes. */
const reshape: Rule = (context) => {
  const label = context.label(0);
  if (!label) return null;
  const [from, to] = [context.shape(0), context.outputShape()];
  if (!from || !to) return 'its shape cannot be told';
  const next = reshaped(label, from, to);
  if (!next) return `it makes [${to.join(',')}] of [${from.join(',')}]`;
  if (context.node.op === 'Reshape') {
    const target = context.constant(1);
    if (!target) return 'its shape is computed while it runs';
    const values = numbersOf(target);
    next.axes.forEach((axis, k) => {
      // 0 and -1 follow by themselves.
      if (values[axis]! <= 0) return;
      context.counts({
        place: { input: 1 },
        values,
        entry: axis,
        units: { label: next, axis: k, start: 0, end: next.dims[k]! },
      });
    });
  }
  if (next.axes.length > 0) context.setLabel(0, next);
  return null;
};

const concat: Rule = (context) => {
  const { node, atoms } = context;
  const shape = context.outputShape();
  const labels = node.inputs.map((_, i) => context.label(i));
  if (labels.every((label) => label === null)) return null;
  if (!shape) return 'its shape cannot be told';
  const stated = intAttribute(node, 'axis', 0);
  const axis = stated < 0 ? stated + shape.length : stated;
  if (!labels.some((label) => label?.axes.includes(axis))) {
    const [first] = labels;
    if (!first || labels.some((label) => label?.axes.join() !== first.axes.join()))
      return 'it joins channels with what are not channels';
    for (const label of labels.slice(1)) atoms.tieAll(first.atoms, label!.atoms);
    context.setLabel(0, first);
    return null;
  }
  const parts: number[] = [];
  for (const [i, label] of labels.entries()) {
    const dims = context.constant(i)?.dims ?? context.shape(i);
    if (!dims) return 'its shape cannot be told';
    if (label && (label.axes.length !== 1 || label.axes[0] !== axis)) return 'it joins another axis than the channels';
    const own = label?.atoms ?? atoms.fresh(dims[axis]!);
    if (!label) context.freeze(own, 'it is joined to channels without being any');
    for (const atom of own) parts.push(atom);
  }
  context.setLabel(0, along(axis, Int32Array.from(parts)));
  return null;
};

const split: Rule = (context) => {
  const { node } = context;
  const label = context.label(0);
  if (!label) return null;
  const shape = context.shape(0);
  if (!shape) return 'its shape cannot be told';
  const stated = intAttribute(node, 'axis', 0);
  const axis = stated < 0 ? stated + shape.length : stated;
  const k = label.axes.indexOf(axis);
  if (k < 0) {
    node.outputs.forEach((_, i) => context.setLabel(i, label));
    return null;
  }
  const sizes = node.outputs.map((_, i) => context.outputShape(i)?.[axis]);
  if (sizes.includes(undefined) || (isList(context, 1) && !context.constant(1))) return 'its sizes cannot be told';
  let at = 0;
  sizes.forEach((size, i) => {
    context.counts({
      place: context.opset >= 13 ? { input: 1 } : { attribute: 'split' },
      values: sizes as number[],
      entry: i,
      units: { label, axis: k, start: at, end: at + size! },
    });
    context.setLabel(i, range(label, k, at, at + size!));
    at += size!;
  });
  return null;
};

const slice: Rule = (context) => {
  const label = context.label(0);
  const shape = context.shape(0);
  if (!label) return null;
  if (!shape) return 'its shape cannot be told';
  const [starts, ends] = [listOf(context, 'starts', 1), listOf(context, 'ends', 2)];
  if (!starts || !ends) return 'its bounds are computed while it runs';
  const axes = listOf(context, 'axes', 3);
  const steps = listOf(context, 'steps', 4);
  if (axes === null || steps === null) return 'its bounds are computed while it runs';
  const bound = (value: number, size: number) => Math.min(size, Math.max(0, value < 0 ? value + size : value));
  const on = axes?.values.map((axis) => (axis < 0 ? axis + shape.length : axis)) ?? starts.values.map((_, i) => i);
  let next = label;
  // Negative and open bounds of the labelled axes are resolved; the others stay as they are.
  const resolved = (values: readonly number[]) =>
    values.map((value, j) => (label.axes.includes(on[j]!) ? bound(value, shape[on[j]!]!) : value));
  for (const [j, axis] of on.entries()) {
    const k = label.axes.indexOf(axis);
    if (k < 0) continue;
    const step = steps?.values[j] ?? 1;
    const [start, end] = [bound(starts.values[j]!, shape[axis]!), bound(ends.values[j]!, shape[axis]!)];
    if (step !== 1) {
      if (step < 1 || start >= end) return 'it turns the channels round';
      context.rigid(label, k, 'it takes every other channel');
      const entries = Array.from({ length: Math.ceil((end - start) / step) }, (_, i) => start + i * step);
      next = pick(next, k, entries);
      continue;
    }
    if (start >= end) return 'it takes no channels';
    for (const [list, until] of [
      [starts, start],
      [ends, end],
    ] as const) {
      context.counts({
        place: list.place,
        values: resolved(list.values),
        entry: j,
        units: { label, axis: k, start: 0, end: until },
      });
    }
    next = range(next, k, start, end);
  }
  context.setLabel(0, next);
  return null;
};

const gather: Rule = (context) => {
  const label = context.label(0);
  const shape = context.shape(0);
  if (!label) return context.label(1) ? 'channels are its indices' : null;
  const indices = context.constant(1);
  if (!shape || !indices) return 'its indices are computed while it runs';
  const stated = intAttribute(context.node, 'axis', 0);
  const axis = stated < 0 ? stated + shape.length : stated;
  const shift = indices.dims.length - 1;
  const k = label.axes.indexOf(axis);
  const moved = (of: readonly number[]) => of.map((each) => (each > axis ? each + shift : each));
  if (k < 0) {
    context.setLabel(0, { ...label, axes: moved(label.axes) });
    return null;
  }
  context.rigid(label, k, 'it takes channels by their numbers');
  const entries = numbersOf(indices).map((at) => (at < 0 ? at + shape[axis]! : at));
  const chosen = pick(label, k, entries);
  if (indices.dims.length > 1) return 'its indices have several axes';
  const rest = label.axes.filter((_, i) => indices.dims.length === 1 || i !== k);
  if (rest.length > 0) {
    context.setLabel(0, {
      axes: moved(rest),
      dims: chosen.dims.filter((_, i) => indices.dims.length === 1 || i !== k),
      atoms: chosen.atoms,
    });
  }
  return null;
};

const pad: Rule = (context) => {
  const label = context.label(0);
  const shape = context.shape(0);
  if (!label) return null;
  const pads = listOf(context, 'pads', 1);
  if (!shape || !pads || isList(context, 3)) return 'its pads are not constant for all axes';
  const rank = shape.length;
  let next = label;
  const grown = label.axes.filter((axis) => pads.values[axis] !== 0 || pads.values[rank + axis] !== 0);
  if (grown.length > 0) {
    if (label.axes.length > 1) return 'it pads one of several channel axes';
    const axis = label.axes[0]!;
    const [before, after] = [pads.values[axis]!, pads.values[rank + axis]!];
    if (before < 0 || after < 0) return 'it cuts channels off';
    const mode = context.node.attributes.get('mode');
    if (mode?.kind === 'string' && new TextDecoder().decode(mode.value) !== 'constant') return 'it repeats channels';
    const all = Int32Array.from([...context.atoms.fresh(before), ...label.atoms, ...context.atoms.fresh(after)]);
    next = along(axis, all);
    const end = before + label.atoms.length;
    for (const [entry, from, to] of [
      [axis, 0, before],
      [rank + axis, end, end + after],
    ] as const) {
      context.counts({
        place: pads.place,
        values: pads.values,
        entry,
        units: { label: next, axis: 0, start: from, end: to },
      });
    }
  }
  context.setLabel(0, next);
  return null;
};

const reduce: Rule = (context) => {
  const label = context.label(0);
  const shape = context.shape(0);
  if (!label) return null;
  if (!shape) return 'its shape cannot be told';
  const list = listOf(context, 'axes', 1);
  // An empty list means all of them, unless the node says that it means none.
  const all = list?.values.length === 0 && intAttribute(context.node, 'noop_with_empty_axes', 0) === 0;
  if (!list || all) return 'it reduces all axes, or such as are computed while it runs';
  const gone = list.values.map((axis) => (axis < 0 ? axis + shape.length : axis));
  if (label.axes.some((axis) => gone.includes(axis))) return 'it sums up the channels';
  const kept = intAttribute(context.node, 'keepdims', 1) === 1;
  const axes = label.axes.map((axis) => (kept ? axis : axis - gone.filter((each) => each < axis).length));
  context.setLabel(0, { ...label, axes });
  return null;
};

/** Resize, Expand: channels as they were, a stated size follows. */
const resized =
  (input: number): Rule =>
  (context) => {
    const label = context.label(0);
    if (!label) return null;
    const [from, to] = [context.shape(0), context.outputShape()];
    if (!from || !to) return 'its shape cannot be told';
    const shift = to.length - from.length;
    if (label.axes.some((axis) => from[axis] !== to[axis + shift])) return 'it changes the number of channels';
    const next = { ...label, axes: label.axes.map((axis) => axis + shift) };
    if (isList(context, input)) {
      const target = context.constant(input);
      if (!target) return 'its size is computed while it runs';
      const values = numbersOf(target);
      next.axes.forEach((axis, k) => {
        const entry = axis - (to.length - values.length);
        if (entry < 0 || values[entry] === 1) return;
        context.counts({
          place: { input },
          values,
          entry,
          units: { label: next, axis: k, start: 0, end: next.dims[k]! },
        });
      });
    }
    context.setLabel(0, next);
    return null;
  };

const rows = (names: string, rule: Rule): [string, Rule][] => names.split(' ').map((op) => [op, rule]);

export const rules: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ...rows(
    'Relu Clip HardSwish HardSigmoid Sigmoid Tanh LeakyRelu Elu Selu Celu Gelu Mish Softplus Softsign Identity Dropout Cast Erf Exp Log Sqrt Abs Neg Reciprocal',
    pointwise,
  ),
  ...rows('MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool', perPlane),
  ...rows('Add Sub Mul Div Pow Min Max PRelu Where Sum Mean', elementwise),
  ...rows('BatchNormalization InstanceNormalization', perChannelConstants),
  ...rows('Reshape Flatten Squeeze Unsqueeze', reshape),
  ...rows('ReduceMean ReduceMax ReduceMin ReduceSum ReduceL2', reduce),
  ['Conv', conv],
  ['ConvTranspose', convTranspose],
  ['Gemm', gemm],
  ['MatMul', matMul],
  ['Softmax', softmax],
  ['LayerNormalization', normalises((context, rank) => fromAxis(context, rank, -1))],
  ['Transpose', transpose],
  ['Concat', concat],
  ['Split', split],
  ['Slice', slice],
  ['Gather', gather],
  ['Pad', pad],
  ['Resize', resized(3)],
  ['Expand', resized(1)],
  // What it tells follows the channels by itself.
  ['Shape', () => null],
]);
