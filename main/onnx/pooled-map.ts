import { indexGraph } from './edit.ts';
import type { Model, Node } from './model.ts';

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
const POOLS: ReadonlySet<string> = new Set(['GlobalAveragePool', 'ReduceMean']);

/** The map [N, d, h, w] whose mean over positions a value [N, d] is; null: it is pooled in a way that is not known. */
export function mapBehindPooling(model: Model, value: string): string | null {
  const { producer } = indexGraph(model.graph);
  let at = value;
  for (let steps = 0; steps < 12; steps += 1) {
    const maker: Node | undefined = producer.get(at);
    if (!maker) return null;
    if (POOLS.has(maker.op)) return maker.inputs[0]!;
    if (!REARRANGING.has(maker.op)) return null;
    at = maker.inputs[0]!;
  }
  return null;
}
