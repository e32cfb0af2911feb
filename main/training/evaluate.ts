import { assert } from '../contract/errors.ts';
import { encodeModel, runtimeInputs, type Model } from '../onnx/index.ts';
import { openSession } from '../runtime/session.ts';
import type { Loader } from './loader/loader.ts';

/** Shares 0..1 over the images that could be read. */
export interface Accuracy {
  accuracy: number;
  /** Mean recall over the classes that occur. */
  balancedAccuracy: number;
}

/**
 * Judges every readable image of a loader once.
 * @param model its one input takes the loader's batches; its first output is logits [N, classes].
 * @param loader without augmentation, not shuffled.
 * @throws what the loader throws
 */
export async function evaluateClassifier(
  model: Model,
  loader: Loader,
  { threads }: { threads: number },
): Promise<Accuracy> {
  const input = runtimeInputs(model.graph)[0]!;
  const output = model.graph.outputs[0]!.name;
  await using session = await openSession(encodeModel(model), { threads, name: 'trained model' });
  const seen = new Set<number>();
  const perClass = new Map<number, { right: number; all: number }>();
  for await (const batch of loader.batches(0, 0, 1)) {
    const rows = batch.labels.length;
    const side = Math.sqrt(batch.input.length / rows / 3);
    const feeds = { [input.name]: { type: 'float32' as const, dims: [rows, 3, side, side], data: batch.input } };
    const { data, dims } = (await session.run(feeds, [output]))[output]!;
    assert(data instanceof Float32Array && dims.length === 2, 'logits are float32 [N, classes]');
    const classes = dims[1]!;
    for (let r = 0; r < rows; r += 1) {
      // Rows that fill the last batch, or stand in for a broken picture, have been counted.
      if (seen.has(batch.indices[r]!)) continue;
      seen.add(batch.indices[r]!);
      const logits = data.subarray(r * classes, (r + 1) * classes);
      const count = perClass.get(batch.labels[r]!) ?? { right: 0, all: 0 };
      count.all += 1;
      if (logits.indexOf(Math.max(...logits)) === batch.labels[r]) count.right += 1;
      perClass.set(batch.labels[r]!, count);
    }
  }
  const counts = [...perClass.values()];
  const sum = (numbers: readonly number[]) => numbers.reduce((total, x) => total + x, 0);
  return {
    accuracy: sum(counts.map(({ right }) => right)) / sum(counts.map(({ all }) => all)),
    balancedAccuracy: sum(counts.map(({ right, all }) => right / all)) / counts.length,
  };
}
