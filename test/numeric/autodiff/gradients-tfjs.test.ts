import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { cases, nameOf } from './cases.ts';
import { evaluateBackward, prepare, relativeError, type GradientCase, type Prepared } from './gradient-case.ts';
import type { RefTensor } from './reference-tensor.ts';
import { loadTfjsWithGradients } from './tfjs-gradients.ts';

const toTf = (of: RefTensor): tf.Tensor => tf.tensor(Float32Array.from(of.data), [...of.dims], 'float32');

/** Outputs and gradients of sum(seed · output) as TensorFlow.js computes them. */
function inTfjs(entry: GradientCase, prepared: Prepared): { outputs: tf.Tensor[]; gradients: tf.Tensor[] } {
  const variables = prepared.variables.map((name) => toTf(prepared.feeds[name]!));
  const seeds = [...prepared.seeds.values()].map((seed) => toTf(seed.tensor));
  const outputsOf = (x: tf.Tensor[]): tf.Tensor[] => [entry.tfjs!(x)].flat();
  const loss = (...x: tf.Tensor[]): tf.Scalar =>
    outputsOf(x)
      .map((output, i): tf.Tensor => tf.sum(tf.mul(output, seeds[i]!)))
      .reduce((a, b) => tf.add(a, b)) as tf.Scalar;
  return { outputs: outputsOf(variables), gradients: tf.grads(loss)(variables) };
}

describe('a gradient is the one TensorFlow.js computes', () => {
  beforeAll(async () => {
    await loadTfjsWithGradients();
  });

  const rows = cases.filter((entry) => entry.tfjs).map((entry): [string, GradientCase] => [nameOf(entry), entry]);
  it.each(rows)('%s', (_name, entry) => {
    const prepared = prepare(entry);
    const values = evaluateBackward(prepared);
    tf.tidy(() => {
      const { outputs, gradients } = inTfjs(entry, prepared);
      [...prepared.seeds.keys()].forEach((name, i) => {
        expect(outputs[i]!.shape, name).toEqual(values.get(name)!.dims);
        expect(relativeError(values.get(name)!.data, outputs[i]!.dataSync()), name).toBeLessThan(1e-4);
      });
      prepared.variables.forEach((name, i) => {
        const gradient = prepared.gradients.get(name);
        const data = gradient === undefined ? prepared.feeds[name]!.data.map(() => 0) : values.get(gradient)!.data;
        expect(gradients[i]!.shape, name).toEqual(prepared.feeds[name]!.dims);
        expect(relativeError(data, gradients[i]!.dataSync()), name).toBeLessThan(1e-4);
      });
    });
  });
});
