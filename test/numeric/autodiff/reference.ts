import { opsetOf, type Model } from '../../../main/onnx/index.ts';
import { elementwiseReference } from './reference-elementwise.ts';
import { layoutReference } from './reference-layout.ts';
import { matrixReference } from './reference-matrix.ts';
import { reductionReference } from './reference-reduction.ts';
import { fromConst, type RefOp, type RefTensor } from './reference-tensor.ts';
import { trainingReference } from './reference-training.ts';
import { windowReference } from './reference-windows.ts';

export { tensor, type RefTensor } from './reference-tensor.ts';

/** Every operator the evaluator knows, of ai.onnx and of the training ops' domain (their names do not meet). */
export const referenceOps: ReadonlyMap<string, RefOp> = new Map([
  ...elementwiseReference,
  ...matrixReference,
  ...reductionReference,
  ...layoutReference,
  ...windowReference,
  ...trainingReference,
]);

/**
 * Runs a model in float64, operator by operator. Slow and plain: what it computes is what the specification says.
 * @returns every value of the graph by name
 */
export function evaluate(model: Model, feeds: Readonly<Record<string, RefTensor>>): ReadonlyMap<string, RefTensor> {
  const values = new Map<string, RefTensor>(Object.entries(feeds));
  for (const [name, constant] of model.graph.initializers) if (!values.has(name)) values.set(name, fromConst(constant));
  for (const node of model.graph.nodes) {
    const op = referenceOps.get(node.op);
    if (!op) throw new Error(`the reference evaluator has no ${node.op}`);
    const inputs = node.inputs.map((name) => {
      if (name === '') return undefined;
      const found = values.get(name);
      if (!found) throw new Error(`${node.op} ${node.name} reads "${name}", which nothing has made`);
      return found;
    });
    op(inputs, node, opsetOf(model)).forEach((output, i) => {
      const name = node.outputs[i];
      if (name) values.set(name, output);
    });
  }
  return values;
}
