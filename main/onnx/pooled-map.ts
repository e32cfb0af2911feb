import { constantOf, indexGraph, type GraphIndex } from './edit.ts';
import type { ConstTensor, Graph, Model, Node } from './model.ts';
import { intsAttribute } from './build.ts';
import { elementCount, float32Of, numbersOf } from './tensor.ts';

const REARRANGING: ReadonlySet<string> = new Set([
  'Flatten',
  'Squeeze',
  'Reshape',
  'Identity',
  'Dropout',
  'QuantizeLinear',
  'DequantizeLinear',
  'Cast',
]);

/** Whether a node gives the mean of each channel of a map [N, d, h, w]. A mean over tokens, or of a map whose channels are last, is of something else. */
export function isGlobalPool(graph: Graph, index: GraphIndex, node: Node): boolean {
  if (node.op === 'GlobalAveragePool') return true;
  if (node.op !== 'ReduceMean') return false;
  const given = node.inputs[1] ? constantOf(graph, index, node.inputs[1]) : null;
  const axes = (given ? numbersOf(given) : intsAttribute(node, 'axes')) ?? [];
  const places = new Set(axes.map((axis) => (axis < 0 ? axis + MAP_RANK : axis)));
  return places.size === 2 && places.has(2) && places.has(3);
}
const MAP_RANK = 4;

export interface PooledMap {
  /** [N, d, h, w]. */
  map: string;
  /** [d]: what the mean of each channel is multiplied by; null: by nothing. */
  factor: Float32Array | null;
}

/** The map whose mean over positions, times a factor per channel, a value [N, d] is; null: it is pooled in a way that is not known. */
export function mapBehindPooling(model: Model, value: string): PooledMap | null {
  const index = indexGraph(model.graph);
  let at = value;
  for (let steps = 0; steps < 12; steps += 1) {
    const maker: Node | undefined = index.producer.get(at);
    if (!maker) return null;
    if (isGlobalPool(model.graph, index, maker)) return { map: maker.inputs[0]!, factor: null };
    if (maker.op === 'Mul') return multipliedMap(model.graph, index, maker);
    if (!REARRANGING.has(maker.op)) return null;
    at = maker.inputs[0]!;
  }
  return null;
}

/** Levelled activations (compression/quantize/balance.ts) get their size back right behind the pool. */
function multipliedMap(graph: Graph, index: GraphIndex, { inputs }: Node): PooledMap | null {
  for (const [mean, by] of [inputs, inputs.toReversed()] as [string, string][]) {
    const pool = index.producer.get(mean);
    const factor = constantOf(graph, index, by);
    if (pool && isGlobalPool(graph, index, pool) && factor && isPerChannel(factor)) {
      return { map: pool.inputs[0]!, factor: float32Of(factor) };
    }
  }
  return null;
}

/** [d, 1, 1] or [1, d, 1, 1]. */
const isPerChannel = ({ dims }: ConstTensor): boolean => dims.length >= 3 && dims.at(-3) === elementCount(dims);
