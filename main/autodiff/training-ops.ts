import { AppError } from '../contract/errors.ts';
import { runtimeInputs, verifyStructure, type Model, type Node, type OpFacts } from '../onnx/index.ts';
import { expandContext, type Expansion } from './expand/context.ts';
import { convInputGrad, convWeightGrad } from './expand/convolution.ts';
import { batchNormGrad, batchNormTrain, biasGrad, clipGrad, reluGrad } from './expand/normalisation.ts';
import { averagePoolGrad, maxPoolGrad } from './expand/pooling.ts';
import { GraphWriter } from './graph-writer.ts';
import { TRAINING_DOMAIN, TRAINING_VERSION, trainingFacts } from './training-facts.ts';

export { TRAINING_DOMAIN, TRAINING_VERSION, trainingFacts };

/** A training op: a row says what its outputs are and how standard ONNX computes it. */
export interface TrainingOp {
  readonly name: string;
  readonly infer: OpFacts['infer'];
  readonly expand: Expansion;
}

const expansions: Readonly<Record<string, Expansion>> = {
  ConvInputGrad: convInputGrad,
  ConvWeightGrad: convWeightGrad,
  BatchNormTrain: batchNormTrain,
  BatchNormGrad: batchNormGrad,
  ReluGrad: reluGrad,
  ClipGrad: clipGrad,
  MaxPoolGrad: maxPoolGrad,
  AveragePoolGrad: averagePoolGrad,
  BiasGrad: biasGrad,
};

export const trainingOps: ReadonlyMap<string, TrainingOp> = new Map(
  Object.entries(expansions).map(([name, expand]) => [
    name,
    { name, infer: trainingFacts.get(`${TRAINING_DOMAIN}:${name}`)!.infer, expand },
  ]),
);

/**
 * The model with training ops as standard ONNX nodes (opset 17 and later), which any runtime can run. All shapes must be static.
 * @param only which training ops; default all. An engine that has kernels of its own for some expands the others.
 * @throws UNSUPPORTED_OP for an op of the domain that the table does not have.
 */
export function expandTrainingOps(model: Model, only: (node: Node) => boolean = () => true): Model {
  const writer = new GraphWriter(model);
  for (const { name, type, shape } of runtimeInputs(model.graph)) {
    if (type && shape) writer.declareInput(name, type, shape as number[]);
  }
  for (const [name, tensor] of model.graph.initializers) writer.initializer(name, tensor);
  const context = expandContext(writer);
  for (const node of model.graph.nodes) {
    if (node.domain !== TRAINING_DOMAIN || !only(node)) {
      writer.add(node);
      continue;
    }
    const where = node.name || node.outputs[0]!;
    const op = trainingOps.get(node.op);
    if (!op) {
      const problem = `${TRAINING_DOMAIN} has no such op`;
      throw new AppError('UNSUPPORTED_OP', { op: node.op, opset: writer.opset, node: where, problem });
    }
    writer.scope = where;
    const from = writer.nodes.length;
    const results = op.expand(context, node);
    writer.scope = '';
    giveNames(writer, from, results, node.outputs);
  }
  const { graph } = model;
  const given = new Set(graph.outputs.map(({ name }) => name));
  const valueInfo = new Map([...writer.valueInfo()].filter(([name]) => !given.has(name)));
  const left = writer.nodes.some((node) => node.domain === TRAINING_DOMAIN);
  const opsets = new Map([...model.opsets].filter(([domain]) => left || domain !== TRAINING_DOMAIN));
  const result: Model = {
    ...model,
    opsets,
    graph: { ...graph, nodes: writer.nodes, initializers: writer.initializers, valueInfo },
  };
  verifyStructure(result);
  return result;
}

/** Renames what the new nodes make to what the replaced node made. */
function giveNames(writer: GraphWriter, from: number, results: readonly string[], outputs: readonly string[]): void {
  const fresh = writer.nodes.splice(from);
  const made = new Set(fresh.flatMap((node) => node.outputs));
  const names = new Map<string, string>();
  const copies: [string, string][] = [];
  outputs.forEach((output, i) => {
    const result = results[i]!;
    if (output === '') return;
    if (made.has(result) && !names.has(result)) names.set(result, output);
    else copies.push([result, output]);
  });
  const renamed = (list: readonly string[]) => list.map((name) => names.get(name) ?? name);
  for (const node of fresh) {
    writer.add({ ...node, inputs: renamed(node.inputs), outputs: renamed(node.outputs) });
  }
  for (const [source, output] of copies) {
    writer.emitAs('Identity', [names.get(source) ?? source], output);
  }
}
