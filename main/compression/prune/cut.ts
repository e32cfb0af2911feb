import { assert } from '../../contract/errors.ts';
import {
  elementTypes,
  intAttribute,
  verifyStructure,
  withAttributes,
  type ConstTensor,
  type Model,
  type Node,
  type Value,
} from '../../onnx/index.ts';
import type { DependencyGroup } from './groups.ts';

/** The entries `keep` (increasing) of a tensor along one axis. */
export const takeAlong = (tensor: ConstTensor, axis: number, keep: ArrayLike<number>): ConstTensor => {
  const { size } = elementTypes[tensor.type];
  assert(size > 0, 'only tensors of numbers are cut');
  const outer = tensor.dims.slice(0, axis).reduce((a, b) => a * b, 1);
  const length = tensor.dims[axis]!;
  const inner = tensor.dims.slice(axis + 1).reduce((a, b) => a * b, 1) * size;
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

/**
 * Removes channels: every constant of a group is cut to the channels in `keep`. Types of inner tensors that the file states
 * are dropped where channels changed (they are inferred again).
 * @param keep group id -> channels that stay, increasing
 */
export function cutChannels(
  model: Model,
  groups: readonly DependencyGroup[],
  keep: ReadonlyMap<string, ArrayLike<number>>,
): Model {
  const initializers = new Map(model.graph.initializers);
  const changed = new Map<string, number>();
  for (const group of groups) {
    const kept = keep.get(group.id);
    if (!kept || kept.length === group.channels) continue;
    assert(group.frozen === null, `a frozen group is never cut (${group.id}: ${group.frozen})`);
    assert(kept.length > 0, 'a group keeps at least one channel');
    for (const { initializer, axis } of group.slices) {
      initializers.set(initializer, takeAlong(initializers.get(initializer)!, axis, kept));
    }
    for (const tensor of group.tensors) changed.set(tensor, kept.length);
  }
  const resized = (value: Value): Value => {
    const channels = changed.get(value.name);
    return channels === undefined || value.shape === null
      ? value
      : { ...value, shape: value.shape.map((dim, i) => (i === 1 ? channels : dim)) };
  };
  // A depthwise convolution has as many groups as channels.
  const regrouped = (node: Node): Node => {
    const channels = changed.get(node.outputs[0] ?? '');
    return node.op === 'Conv' && channels !== undefined && intAttribute(node, 'group', 1) > 1
      ? withAttributes(node, { group: channels })
      : node;
  };
  const result: Model = {
    ...model,
    graph: {
      ...model.graph,
      nodes: model.graph.nodes.map(regrouped),
      initializers,
      outputs: model.graph.outputs.map(resized),
      valueInfo: new Map([...model.graph.valueInfo].map(([name, value]) => [name, resized(value)])),
    },
  };
  verifyStructure(result);
  return result;
}
