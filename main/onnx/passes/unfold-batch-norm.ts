import { AppError } from '../../contract/errors.ts';
import { node } from '../build.ts';
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

/** Of a convolution's output over some images: one number per channel. */
export interface ChannelStatistics {
  readonly mean: ArrayLike<number>;
  /** Biased (divided by the count), not negative. */
  readonly variance: ArrayLike<number>;
}

/**
 * Puts a BatchNormalization behind each named convolution, the reverse of foldBatchNorm: running mean m and variance v as given, scale
 * sqrt(v + eps) and bias m, so that the output is unchanged but for rounding. The convolution's own bias moves into the normalisation, where
 * it is not lost in batch mode. The value's name stays with the normalised output.
 * @param statistics by name of the convolution's output.
 * @param options momentum in ONNX's meaning.
 * @throws NOT_FOUND for a name that no Conv makes; GRAPH_INVALID for statistics that do not fit its channels, or a weight that is no constant.
 */
export function unfoldBatchNorm(
  model: Model,
  statistics: ReadonlyMap<string, ChannelStatistics>,
  options: { epsilon?: number; momentum?: number } = {},
): Model {
  const { graph } = model;
  const epsilon = Math.fround(options.epsilon ?? 1e-5);
  const index = indexGraph(graph);
  const taken = valueNames(graph);
  const constants = new Map<string, ConstTensor>();
  const replaced = new Map<Node, readonly Node[]>();
  for (const [name, { mean, variance }] of statistics) {
    const conv = index.producer.get(name);
    if (conv?.op !== 'Conv' || conv.domain !== '') throw new AppError('NOT_FOUND', { kind: 'Convolution', id: name });
    const invalid = (problem: string) => new AppError('GRAPH_INVALID', { where: name, problem });
    const channels = constantOf(graph, index, conv.inputs[1] ?? '')?.dims[0];
    if (channels === undefined) throw invalid('its weight is not a constant');
    if (mean.length !== channels || variance.length !== channels) {
      throw invalid(`${channels} channels, statistics of ${mean.length} and ${variance.length}`);
    }
    const biasName = conv.inputs[2] ?? '';
    const biasTensor = biasName ? constantOf(graph, index, biasName) : undefined;
    if (biasName && biasTensor?.type !== 'float32') throw invalid('its bias is not a constant of float32');
    const bias = biasTensor && float32Of(biasTensor);
    const [scale, shift, runningMean, runningVariance] = [0, 1, 2, 3].map(() => new Float32Array(channels));
    for (let channel = 0; channel < channels; channel++) {
      const [m, v] = [mean[channel]!, variance[channel]!];
      if (!Number.isFinite(m) || !Number.isFinite(v) || v < 0) throw invalid(`mean ${m} and variance ${v}`);
      runningVariance![channel] = v;
      scale![channel] = Math.sqrt(runningVariance![channel]! + epsilon);
      shift![channel] = m;
      runningMean![channel] = m - (bias?.[channel] ?? 0);
    }
    const constant = (key: string, values: Float32Array): string => {
      const fresh = freshName(taken, `${name}/norm.${key}`);
      constants.set(fresh, float32Tensor([channels], values));
      return fresh;
    };
    const before = freshName(taken, `${name}/conv`);
    const inputs = [
      before,
      constant('weight', scale!),
      constant('bias', shift!),
      constant('running_mean', runningMean!),
      constant('running_var', runningVariance!),
    ];
    replaced.set(conv, [
      { ...conv, inputs: conv.inputs.slice(0, 2), outputs: [before] },
      node(
        'BatchNormalization',
        inputs,
        [name],
        { epsilon, momentum: options.momentum ?? 0.9 },
        { name: freshName(taken, `${name}/norm`) },
      ),
    ]);
  }
  const mapped = mapNodes(graph, (item) => replaced.get(item) ?? item);
  const next = withGraph(model, eliminateDead(setInitializers(mapped, constants)));
  verifyStructure(next);
  return next;
}
