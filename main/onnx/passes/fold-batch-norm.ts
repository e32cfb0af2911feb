import { floatValue, intAttribute } from '../build.ts';
import {
  constantOf,
  eliminateDead,
  freshName,
  indexGraph,
  mapNodes,
  setInitializers,
  valueNames,
  withGraph,
} from '../edit.ts';
import type { ConstTensor, Model, Node } from '../model.ts';
import { float32Of, float32Tensor } from '../tensor.ts';
import { verifyStructure } from '../verify.ts';

/**
 * Folds each BatchNormalization in inference mode into the Conv before it: w' = w g/s, b' = (b - m) g/s + beta with s = sqrt(var + eps)
 * (Ioffe and Szegedy 2015, section 3.1), computed in float64. Left alone where the convolution's result is also used elsewhere, or a weight
 * is not a constant. Outputs change by rounding only.
 */
export function foldBatchNorm(model: Model): Model {
  const { graph } = model;
  const index = indexGraph(graph);
  const taken = valueNames(graph);
  const replaced = new Map<Node, Node | null>();
  const constants = new Map<string, ConstTensor>();
  const floats = (name: string | undefined): Float32Array | null => {
    const tensor = name ? constantOf(graph, index, name) : undefined;
    return tensor?.type === 'float32' ? float32Of(tensor) : null;
  };
  for (const norm of graph.nodes) {
    if (norm.op !== 'BatchNormalization' || norm.domain !== '' || intAttribute(norm, 'training_mode', 0) === 1)
      continue;
    if (norm.outputs.slice(1).some((name) => name !== '')) continue;
    const conv = index.producer.get(norm.inputs[0] ?? '');
    if (conv?.op !== 'Conv' || conv.domain !== '' || replaced.has(conv)) continue;
    const between = conv.outputs[0]!;
    if (index.outputs.has(between) || index.consumers.get(between)!.length !== 1) continue;
    const weightTensor = constantOf(graph, index, conv.inputs[1] ?? '');
    const [weight, scale, shift, mean, variance] = [conv.inputs[1], ...norm.inputs.slice(1, 5)].map(floats);
    const bias = conv.inputs[2] ? floats(conv.inputs[2]) : undefined;
    if (!weightTensor || !weight || !scale || !shift || !mean || !variance || bias === null) continue;
    const channels = weightTensor.dims[0]!;
    if ([scale, shift, mean, variance, bias ?? scale].some((values) => values.length !== channels)) continue;

    const epsilon = floatValue(norm, 'epsilon', 1e-5);
    const each = weight.length / channels;
    const newWeight = new Float32Array(weight.length);
    const newBias = new Float32Array(channels);
    for (let channel = 0; channel < channels; channel++) {
      const factor = scale[channel]! / Math.sqrt(variance[channel]! + epsilon);
      newBias[channel] = ((bias?.[channel] ?? 0) - mean[channel]!) * factor + shift[channel]!;
      for (let i = channel * each; i < (channel + 1) * each; i++) newWeight[i] = weight[i]! * factor;
    }
    const base = conv.name || between;
    const weightName = freshName(taken, `${base}/weight_folded`);
    const biasName = freshName(taken, `${base}/bias_folded`);
    constants.set(weightName, float32Tensor(weightTensor.dims, newWeight));
    constants.set(biasName, float32Tensor([channels], newBias));
    replaced.set(conv, { ...conv, inputs: [conv.inputs[0]!, weightName, biasName], outputs: [norm.outputs[0]!] });
    replaced.set(norm, null);
  }
  const mapped = mapNodes(graph, (node) => {
    const by = replaced.get(node);
    return by === undefined ? node : (by ?? []);
  });
  const next = withGraph(model, eliminateDead(setInitializers(mapped, constants)));
  verifyStructure(next);
  return next;
}
