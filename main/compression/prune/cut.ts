import { assert } from '../../contract/errors.ts';
import {
  elementCount,
  elementTypes,
  eliminateDead,
  freshName,
  int64Tensor,
  valueNames,
  verifyStructure,
  withAttributes,
  withGraph,
  type ConstTensor,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import type { Count, DependencyGroup } from './groups.ts';

/** The entries `keep` (increasing) of a tensor along one axis. */
const takeAlong = (tensor: ConstTensor, axis: number, keep: ArrayLike<number>): ConstTensor => {
  const { size } = elementTypes[tensor.type];
  assert(size > 0, 'only tensors of numbers are cut');
  const outer = elementCount(tensor.dims.slice(0, axis));
  const length = tensor.dims[axis]!;
  const inner = elementCount(tensor.dims.slice(axis + 1)) * size;
  const bytes = new Uint8Array(outer * keep.length * inner);
  for (let o = 0, at = 0; o < outer; o++) {
    for (let k = 0; k < keep.length; k++, at += inner) {
      const index = keep[k]!;
      assert(index >= 0 && index < length, `channel ${index} of ${length} exists`);
      const from = (o * length + index) * inner;
      bytes.set(tensor.bytes.subarray(from, from + inner), at);
    }
  }
  return { type: tensor.type, dims: tensor.dims.map((dim, i) => (i === axis ? keep.length : dim)), bytes };
};

/** A list with these entries set anew. The others keep their bits ("to the end" is 2^63 - 1, which no number is), all of them their type: bounds of a Slice are of one. */
const listWith = (list: ConstTensor, entries: ReadonlyMap<number, number>): ConstTensor => {
  const bytes = new Uint8Array(list.bytes);
  const view = new DataView(bytes.buffer);
  for (const [entry, value] of entries) {
    if (list.type === 'int32') view.setInt32(entry * 4, value, true);
    else view.setBigInt64(entry * 8, BigInt(value), true);
  }
  return { ...list, bytes };
};

/** The lists of whole numbers that fall with the channels, entry by entry. */
function recounted(
  node: Node,
  counts: readonly (Count & { gone: number })[],
  constants: ReadonlyMap<string, ConstTensor>,
): { node: Node; lists: Map<number, ConstTensor> } {
  const lists = new Map<number, ConstTensor>();
  let next = node;
  const places = new Map<string, { place: Count['place']; values: readonly number[]; entries: Map<number, number> }>();
  for (const { place, values, entry, gone } of counts) {
    const key = 'input' in place ? `input ${place.input}` : place.attribute;
    const at = places.get(key) ?? { place, values, entries: new Map<number, number>() };
    places.set(key, at);
    at.entries.set(entry, (at.entries.get(entry) ?? values[entry]!) - gone);
  }
  for (const { place, values, entries } of places.values()) {
    const now = <T>(list: readonly T[]): (T | number)[] => list.map((item, entry) => entries.get(entry) ?? item);
    if ('input' in place) {
      const list = constants.get(node.inputs[place.input] ?? '');
      lists.set(place.input, list ? listWith(list, entries) : int64Tensor([values.length], now(values)));
    } else {
      const stated = node.attributes.get(place.attribute);
      const list = now(stated?.kind === 'ints' ? stated.value : values);
      next = withAttributes(next, { [place.attribute]: stated?.kind === 'int' ? list[0]! : list });
    }
  }
  return { node: next, lists };
}

/**
 * Removes channels: every constant of a group is cut to the channels in `keep`, and shapes, sizes and bounds follow. Types of inner tensors that the file
 * states are dropped where channels changed (they are inferred again).
 * @param keep group id -> channels that stay, increasing
 */
export function cutChannels(
  model: Model,
  groups: readonly DependencyGroup[],
  keep: ReadonlyMap<string, ArrayLike<number>>,
): Model {
  const initializers = new Map(model.graph.initializers);
  const changed = new Set<string>();
  /** Initializer -> axis -> entries that go, over all groups. */
  const gone = new Map<string, Map<number, Set<number>>>();
  const counts = new Map<Node, (Count & { gone: number })[]>();
  for (const group of groups) {
    const kept = keep.get(group.id);
    if (!kept || kept.length === group.channels) continue;
    assert(group.frozen === null, `a frozen group is never cut (${group.id}: ${group.frozen})`);
    assert(kept.length > 0, 'a group keeps at least one channel');
    const stays = new Set(Array.from(kept));
    const goes = (channel: number): boolean => channel >= 0 && !stays.has(channel);
    for (const { initializer, axis, channels } of group.slices) {
      const axes = gone.get(initializer) ?? new Map<number, Set<number>>();
      gone.set(initializer, axes);
      const entries = axes.get(axis) ?? new Set<number>();
      axes.set(axis, entries);
      channels.forEach((channel, entry) => {
        if (goes(channel)) entries.add(entry);
      });
    }
    for (const count of group.counts) {
      const less = count.channels.reduce((sum, channel) => sum + (goes(channel) ? 1 : 0), 0);
      counts.set(count.node, [...(counts.get(count.node) ?? []), { ...count, gone: less }]);
    }
    for (const tensor of group.tensors) changed.add(tensor);
  }
  for (const [name, axes] of gone) {
    for (const [axis, entries] of axes) {
      const tensor = initializers.get(name)!;
      const left = Array.from({ length: tensor.dims[axis]! }, (_, i) => i).filter((i) => !entries.has(i));
      initializers.set(name, takeAlong(tensor, axis, left));
    }
  }
  const taken = valueNames(model.graph);
  const nodes = model.graph.nodes.map((node) => {
    const own = counts.get(node);
    if (!own) return node;
    const { node: next, lists } = recounted(node, own, model.graph.initializers);
    const inputs = [...next.inputs];
    // A list of its own: others may read the old one.
    for (const [at, list] of lists) {
      const name = freshName(taken, `${node.outputs[0]!}_count${at}`);
      initializers.set(name, list);
      while (inputs.length < at) inputs.push('');
      inputs[at] = name;
    }
    const attributes = new Map(next.attributes);
    if (lists.size > 0) attributes.delete('num_outputs');
    return { ...next, inputs, attributes };
  });
  const result: Model = withGraph(
    model,
    eliminateDead({
      ...model.graph,
      nodes,
      initializers,
      valueInfo: new Map([...model.graph.valueInfo].filter(([name]) => !changed.has(name))),
    }),
  );
  verifyStructure(result);
  return result;
}
