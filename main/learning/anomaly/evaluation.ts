import path from 'node:path';
import type { Backbone } from '../../contract/domain.ts';
import { AppError, isAppError } from '../../contract/errors.ts';
import { openSession } from '../../runtime/session.ts';
import { decodeImage } from '../../vision/decode.ts';
import { perceptualHash } from '../../vision/perceptual-hash.ts';
import { createPreprocessor } from '../../vision/preprocess.ts';
import { areaUnderCurve } from '../novelty-score.ts';
import { checkReadable, scanDataset, type DatasetImage, type SkippedFile } from '../dataset.ts';
import { openProducts } from '../dense.ts';
import { learnGoodParts, type GoodPart } from './learn.ts';
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
  /** Files that were left out, and why. */
  skipped: SkippedFile[];
  /** Median of the assembled model for one part, without the resize. */
  latencyMsP50: number;
}

/**
 * Learns the training images of one class alone, which may be all there are, and scores all test images with the assembled ONNX file.
 * @throws DATASET_*, BAD_CLASS_NAME, NOT_FOUND for a class that is not there, INVALID_INPUT where test has no other or the good parts are too few, CANCELLED
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
  const data = await scanDataset(dir, { okClass, ...(signal ? { signal } : {}) });
  const size = backbone.inputSize;
  const preprocessor = createPreprocessor({ size, mean: backbone.mean, std: backbone.std });
  /** Null: it cannot be read. */
  const partOf = async ({ file, name }: DatasetImage): Promise<GoodPart | null> => {
    if (signal?.aborted) throw new AppError('CANCELLED');
    try {
      const { image } = await decodeImage(file, { name, maxPixels: 100_000_000 });
      const data32 = new Float32Array(preprocessor.length);
      preprocessor.into(image, null, data32, 0);
      return { input: data32, look: perceptualHash(image) };
    } catch (error) {
      if (!isAppError(error)) throw error;
      data.skipped.push({ name, problem: error.message });
      return null;
    }
  };
  const good = data.train.filter(({ className }) => className === okClass);
  let okParts = 0;
  await using products = openProducts({ threads });
  const { model, anomaly } = await learnGoodParts({
    backbone,
    shas: good.map(({ sha }) => sha),
    partOf: async (i) => {
      const part = await partOf(good[i]!);
      if (part) okParts += 1;
      return part;
    },
    threads,
    products,
    ...(signal ? { signal } : {}),
    onProgress: (share) => onProgress?.(0.6 * share, 'anomaly.features'),
  });
  await using line = await openSession(model, { threads, name: 'anomaly' });
  const scores = new Map<string, number[]>();
  const times: number[] = [];
  const tested: DatasetImage[] = [];
  for (const [i, image] of data.test.entries()) {
    const part = await partOf(image);
    if (part === null) continue;
    tested.push(image);
    const started = performance.now();
    const outputs = await line.run({ image: { type: 'float32', dims: [1, 3, size, size], data: part.input } }, [
      anomalyOutputs.novelty,
    ]);
    times.push(performance.now() - started);
    const list = scores.get(image.className) ?? [];
    list.push(Number(outputs[anomalyOutputs.novelty]!.data[0]));
    scores.set(image.className, list);
    onProgress?.(0.6 + (0.4 * i) / data.test.length, 'anomaly.scores');
  }
  checkReadable([okClass], tested, 'test');
  const normal = scores.get(okClass) ?? [];
  const others = [...scores].filter(([name]) => name !== okClass);
  const bad = others.flatMap(([, list]) => list);
  if (bad.length === 0) {
    const problem = `of it only images of "${okClass}" can be read, and nothing that they could be told from`;
    throw new AppError('INVALID_INPUT', { what: path.join(dir, 'test'), problem });
  }
  const above = (list: readonly number[]) => list.filter((x) => x > anomaly.limit).length / Math.max(1, list.length);
  return {
    threads,
    auroc: areaUnderCurve(normal, bad),
    perClass: Object.fromEntries(others.map(([name, list]) => [name, areaUnderCurve(normal, list)])),
    falseAlarms: above(normal),
    found: above(bad),
    okParts,
    latencyMsP50: times.sort((a, b) => a - b)[times.length >> 1] ?? 0,
    skipped: data.skipped,
  };
}
