import type { Backbone } from '../contract/domain.ts';
import { AppError, assert } from '../contract/errors.ts';
import {
  addNodes,
  eliminateDead,
  float32Of,
  float32Tensor,
  freshName,
  node,
  readModelFile,
  scalar,
  setInputSize,
  takesTwo,
  setOutputs,
  sortNodes,
  tensorAttribute,
  value,
  valueNames,
  verifyStructure,
  withGraph,
  type Model,
  type Node,
} from '../onnx/index.ts';

/** A feature extractor as it is trained: no more than training has to know of a backbone. */
export interface TrainableBackbone {
  /** Named in errors. */
  name: string;
  model: Model;
  inputName: string;
  /** Square input the model was made for, pixels. */
  inputSize: number;
  /** True: other sizes will do as well. */
  dynamicSize: boolean;
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
  /** Values of the model, concatenated in this order: pooled [N, d] (or [N, d, 1, 1]) or maps [N, d, h, w]. */
  features: readonly { name: string; channels: number; kind: 'pooled' | 'map' }[];
}

/** A backbone as the training engine takes it. @throws NOT_FOUND, MODEL_UNREADABLE, MODEL_DATA_MISSING */
export function trainableBackbone(backbone: Backbone): TrainableBackbone {
  const { id, inputName, inputSize, dynamicSize, mean, std, featureOutputs } = backbone;
  const model = ownWeights(readModelFile(backbone.file));
  return { name: id, model, inputName, inputSize, dynamicSize, mean, std, features: featureOutputs };
}

/**
 * Weights that stand in Constant nodes, or are read through Identity (exporters write equal tensors so), as initializers of their own: those alone are
 * trained. Nothing else is folded: the sizes that a file states may be others in training.
 */
function ownWeights(model: Model): Model {
  const graph = sortNodes(model.graph);
  const initializers = new Map(graph.initializers);
  const given = new Set(graph.outputs.map(({ name }) => name));
  const nodes = graph.nodes.filter((each) => {
    const [made] = each.outputs;
    if (each.domain !== '' || made === undefined || given.has(made)) return true;
    const tensor =
      each.op === 'Constant'
        ? tensorAttribute(each, 'value')
        : each.op === 'Identity'
          ? initializers.get(each.inputs[0]!)
          : undefined;
    if (tensor) initializers.set(made, tensor);
    return tensor === undefined;
  });
  return withGraph(model, { ...graph, nodes, initializers });
}

export interface HeadedModel {
  /** `image` [batch, 3, size, size] -> `logits` [batch, classes]. */
  model: Model;
  /** Initializers of the head that are trained: weight [classes, features], bias [classes]. */
  parameters: { weight: string; bias: string };
  gain: string;
  /** Value that the classifier reads, before `gain`: [batch, features]. */
  features: string;
}

/**
 * A linear classifier on all features of a backbone, its weights zero. It reads the features times `gain`: AdamW moves every weight by about the learning
 * rate whatever the size of its gradient, so the head learns `gain` times as fast as the body with one rate for all (settleHead takes the factor out).
 * @param batch a number, or a symbol to leave it open.
 * @throws BACKBONE_UNSUITABLE when the backbone has no such size, or takes one picture in each run.
 */
export function attachHead(
  backbone: TrainableBackbone,
  { classes, size, gain, batch }: { classes: number; size: number; gain: number; batch: number | string },
): HeadedModel {
  if (size !== backbone.inputSize && !backbone.dynamicSize) {
    const problem = `its input is fixed at ${backbone.inputSize} pixels`;
    throw new AppError('BACKBONE_UNSUITABLE', { file: backbone.name, problem });
  }
  const { graph } = backbone.model;
  const taken = valueNames(graph);
  const fresh = (base: string) => {
    const name = freshName(taken, base);
    taken.add(name);
    return name;
  };
  const nodes: Node[] = [];
  const columns = backbone.features.map(({ name, kind }) => {
    let pooled = name;
    if (kind === 'map') nodes.push(node('GlobalAveragePool', [name], [(pooled = fresh('head/pooled'))]));
    const flat = fresh('head/flat');
    nodes.push(node('Flatten', [pooled], [flat], { axis: 1 }));
    return flat;
  });
  const width = backbone.features.reduce((sum, { channels }) => sum + channels, 0);
  let features = columns[0]!;
  if (columns.length > 1) nodes.push(node('Concat', columns, [(features = fresh('head/features'))], { axis: 1 }));
  const [weight, bias, factor] = [fresh('head.weight'), fresh('head.bias'), fresh('head.gain')];
  const scaled = fresh('head/scaled');
  const logits = fresh('logits');
  nodes.push(node('Mul', [features, factor], [scaled]), node('Gemm', [scaled, weight, bias], [logits], { transB: 1 }));
  const headed = eliminateDead(
    setOutputs(
      addNodes(graph, nodes, {
        [weight]: float32Tensor([classes, width], new Float32Array(classes * width)),
        [bias]: float32Tensor([classes], new Float32Array(classes)),
        [factor]: scalar(gain),
      }),
      [value(logits, 'float32', [batch, classes])],
    ),
  );
  const whole = withGraph(backbone.model, headed);
  if (!takesTwo(whole, size)) {
    const problem = 'it takes 1 picture in each run; export it with an open batch';
    throw new AppError('BACKBONE_UNSUITABLE', { file: backbone.name, problem });
  }
  const model = setInputSize(whole, { batch, height: size, width: size });
  return { model, parameters: { weight, bias }, gain: factor, features };
}

/** The trained model as others take it: the factor multiplied into the classifier's weight, batch left open, classes and scaling in its metadata. */
export function settleHead(
  { model, parameters: { weight }, gain }: HeadedModel,
  facts: { classes: readonly string[]; size: number; mean: readonly number[]; std: readonly number[] },
): Model {
  const { graph } = model;
  const stored = graph.initializers.get(weight)!;
  const factor = float32Of(graph.initializers.get(gain)!)[0]!;
  const scaled = graph.nodes.find(({ op, inputs }) => op === 'Mul' && inputs[1] === gain);
  assert(scaled, 'attachHead puts the product there');
  const initializers = new Map(graph.initializers);
  initializers.set(
    weight,
    float32Tensor(
      stored.dims,
      float32Of(stored).map((x) => x * factor),
    ),
  );
  initializers.delete(gain);
  const nodes = graph.nodes
    .filter((found) => found !== scaled)
    .map((found) => ({
      ...found,
      inputs: found.inputs.map((name) => (name === scaled.outputs[0] ? scaled.inputs[0]! : name)),
    }));
  const settled = setInputSize(withGraph(model, { ...graph, nodes, initializers }), {
    batch: 'N',
    height: facts.size,
    width: facts.size,
  });
  const metadata = new Map(settled.metadata);
  metadata.set('mekiki.classes', JSON.stringify(facts.classes));
  metadata.set('mekiki.mean', JSON.stringify(facts.mean));
  metadata.set('mekiki.std', JSON.stringify(facts.std));
  const result = { ...settled, metadata };
  verifyStructure(result);
  return result;
}
