import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import { openSession } from '../../runtime/session.ts';
import { decodeImage } from '../../vision/decode.ts';
import { perceptualHash } from '../../vision/perceptual-hash.ts';
import { createPreprocessor } from '../../vision/preprocess.ts';
import { areaUnderCurve } from '../novelty-score.ts';
import { scanDataset, type DatasetImage } from '../dataset.ts';
import { openProducts } from '../dense.ts';
import { learnGoodParts } from './learn.ts';
import { anomalyOutputs } from './padim.ts';

export interface AnomalyResult {
  threads: number;
  /** Good test parts against all others. */
  auroc: number;
  perClass: Record<string, number>;
  /** Shares above the limit. */
  falseAlarms: number;
  found: number;
  okParts: number;
  /** Median of the assembled model for one part, without the resize. */
  latencyMsP50: number;
}

/**
 * Learns the training images of one class alone, which may be all there are, and scores all test images with the assembled ONNX file.
 * @throws DATASET_*, NOT_FOUND for a class that is not there, INVALID_INPUT where test has no other or the good parts are too few, IMAGE_UNREADABLE, CANCELLED
 */
export async function evaluateAnomaly(options: {
  dir: string;
  okClass: string;
  backbone: Backbone;
  threads: number;
  signal?: AbortSignal;
  onProgress?: (progress: number, step: string) => void;
}): Promise<AnomalyResult> {
  const { dir, okClass, backbone, threads, signal, onProgress } = options;
  const data = await scanDataset(dir, { okClass });
  const size = backbone.inputSize;
  const preprocessor = createPreprocessor({ size, mean: backbone.mean, std: backbone.std });
  const partOf = async ({ file, name }: DatasetImage) => {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const { image } = await decodeImage(file, { name, maxPixels: 100_000_000 });
    const data32 = new Float32Array(preprocessor.length);
    preprocessor.into(image, null, data32, 0);
    return { input: data32, look: perceptualHash(image) };
  };
  const good = data.train.filter(({ className }) => className === okClass);
  await using products = openProducts({ threads });
  const { model, anomaly } = await learnGoodParts({
    backbone,
    shas: good.map(({ sha }) => sha),
    partOf: (i) => partOf(good[i]!),
    threads,
    products,
    ...(signal ? { signal } : {}),
    onProgress: (share) => onProgress?.(0.6 * share, 'anomaly.features'),
  });
  await using line = await openSession(model, { threads, name: 'anomaly' });
  const scores = new Map<string, number[]>();
  const times: number[] = [];
  for (const [i, image] of data.test.entries()) {
    const { input } = await partOf(image);
    const started = performance.now();
    const outputs = await line.run({ image: { type: 'float32', dims: [1, 3, size, size], data: input } }, [
      anomalyOutputs.novelty,
    ]);
    times.push(performance.now() - started);
    const list = scores.get(image.className) ?? [];
    list.push(Number(outputs[anomalyOutputs.novelty]!.data[0]));
    scores.set(image.className, list);
    onProgress?.(0.6 + (0.4 * i) / data.test.length, 'anomaly.scores');
  }
  const normal = scores.get(okClass) ?? [];
  const others = [...scores].filter(([name]) => name !== okClass);
  const bad = others.flatMap(([, list]) => list);
  const above = (list: readonly number[]) => list.filter((x) => x > anomaly.limit).length / Math.max(1, list.length);
  return {
    threads,
    auroc: areaUnderCurve(normal, bad),
    perClass: Object.fromEntries(others.map(([name, list]) => [name, areaUnderCurve(normal, list)])),
    falseAlarms: above(normal),
    found: above(bad),
    okParts: good.length,
    latencyMsP50: times.sort((a, b) => a - b)[times.length >> 1] ?? 0,
  };
}
