import { constantsOf, inferShapes } from '../infer-shapes.ts';
import { eliminateDead, sortNodes, withGraph } from '../edit.ts';
import type { ConstTensor, Model, Node } from '../model.ts';
import { elementTypes, float32Tensor, int64Tensor } from '../tensor.ts';
import { verifyStructure } from '../verify.ts';
import { evaluators } from './constant-evaluator.ts';

/** Room for results beside twice what the model holds already: a file must not unfold itself into all memory. */
const SPARE_BYTES = 2 ** 26;

/**
 * Replaces every node whose inputs are constants, and Shape and Size of values with known shape, by its result, as far as that is exact
 * (constant-evaluator.ts); outputs stay bit for bit. Nodes that make graph outputs stay.
 */
export function foldConstants(model: Model): Model {
  const sorted = sortNodes(model.graph);
  const infos = inferShapes(model, { unknownOps: 'unknown' });
  const stored = constantsOf(model);
  const folded = new Map<string, ConstTensor>();
  const outputs = new Set(sorted.outputs.map((output) => output.name));
  const constant = (name: string) => folded.get(name) ?? stored(name);
  let room = SPARE_BYTES;
  for (const tensor of sorted.initializers.values()) room += 2 * tensor.bytes.length;

  /**
   * What a known size of a partly open shape is for a computation (1/sqrt of a head's width beside an open batch): a number of the network, which must not change with the channels
   * when it is pruned. Sizes that stay whole numbers make shapes, and follow.
   */
  const sizeAsFloat = ({ outputs: [name = ''] }: Node): ConstTensor | undefined => {
    const { type, shape, values } = infos.get(name) ?? {};
    if (type !== 'float32' || !shape || !values?.every((item) => typeof item === 'number')) return undefined;
    return float32Tensor(shape.map(Number), values);
  };

  const resultOf = (node: Node): ConstTensor | undefined => {
    if (node.domain !== '' || node.outputs.length !== 1 || outputs.has(node.outputs[0]!)) return undefined;
    if (node.op === 'Constant') return stored(node.outputs[0]!);
    if (node.op === 'Shape' || node.op === 'Size') {
      const { values, shape } = infos.get(node.outputs[0]!) ?? {};
      if (!values?.every((item): item is number => typeof item === 'number')) return undefined;
      return int64Tensor(shape?.length === 0 ? [] : [values.length], values);
    }
    const evaluate = evaluators.get(node.op);
    if (!evaluate || node.inputs.length === 0) return undefined;
    const inputs = node.inputs.map((name) => (name === '' ? undefined : constant(name)));
    if (node.inputs.some((name, i) => name !== '' && !inputs[i])) return sizeAsFloat(node);
    const { size } = elementTypes[infos.get(node.outputs[0]!)?.type ?? inputs[0]?.type ?? 'float32'];
    return evaluate(node, inputs, Math.floor(room / Math.max(1, size)));
  };

  const kept: Node[] = [];
  for (const node of sorted.nodes) {
    const result = resultOf(node);
    if (!result) kept.push(node);
    else {
      room -= result.bytes.length;
      folded.set(node.outputs[0]!, result);
    }
  }
  const initializers = new Map([...sorted.initializers, ...folded]);
  const next = withGraph(model, eliminateDead({ ...sorted, nodes: kept, initializers }));
  verifyStructure(next);
  return next;
}
