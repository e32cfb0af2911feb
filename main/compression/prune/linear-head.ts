import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { Matrix } from '../../learning/dense.ts';

/**
 * The head of a learnt knowledge as a linear one on the pooled features, for the importance `head`: the learner takes signed square roots and scales each stage to one length
 * (learning/embedding.ts), whose slope is taken at the training images, feature by feature.
 * @param features raw, row-major [n, sum of stages]
 * @param weights [sum of stages + 1, classes], bias last
 * @returns rows [classes, channels] by the name of the output
 * @throws INVALID_INPUT where the features are maps
 */
export function linearHead(
  backbone: Pick<Backbone, 'featureOutputs'>,
  features: Float32Array,
  weights: Matrix,
): Map<string, Float32Array> {
  const outputs = backbone.featureOutputs;
  const maps = outputs.filter(({ kind }) => kind !== 'pooled');
  if (maps.length > 0) {
    const problem = `the importance "head" needs pooled features, and ${maps.map(({ name }) => name).join(', ')} are maps`;
    throw new AppError('INVALID_INPUT', { what: 'importance', problem });
  }
  const width = outputs.reduce((sum, { channels }) => sum + channels, 0);
  const rows = features.length / width;
  const slope = new Float64Array(width);
  for (let r = 0; r < rows; r++) {
    let from = 0;
    for (const { channels } of outputs) {
      let total = 0;
      for (let j = 0; j < channels; j++) total += Math.abs(features[r * width + from + j]!);
      // Of a silent feature the slope is without bounds: it counts as the average one.
      const least = total / channels;
      for (let j = 0; j < channels; j++) {
        const size = Math.max(least, Math.abs(features[r * width + from + j]!));
        if (total > 0) slope[from + j]! += 1 / (2 * Math.sqrt(size * total * outputs.length)) / rows;
      }
      from += channels;
    }
  }
  const classes = weights.columns;
  let from = 0;
  return new Map(
    outputs.map(({ name, channels }) => {
      const head = new Float32Array(classes * channels);
      for (let c = 0; c < classes; c++) {
        for (let j = 0; j < channels; j++) {
          head[c * channels + j] = weights.data[(from + j) * classes + c]! * slope[from + j]!;
        }
      }
      from += channels;
      return [name, head];
    }),
  );
}
