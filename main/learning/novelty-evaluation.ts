import type { Backbone } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { scanDataset } from './dataset.ts';
import { openProducts } from './dense.ts';
import { embed } from './embedding.ts';
import { extractFeatures, openExtractor } from './extract.ts';
import { logitsOf, solveKnowledge } from './knowledge.ts';
import { areaUnderCurve, scoreNovelty } from './novelty-score.ts';

export interface NoveltyResult {
  threads: number;
  /** Per class that was held out of training: its test images against those of all other classes. */
  auroc: Record<string, number>;
  mean: number;
  /** Of the test images: known ones that are called novel, and those of the held-out class that are (means over the classes). */
  falseAlarms: number;
  found: number;
}

/** Features of a data set's two halves; pictures that cannot be read are left out. */
async function featuresOfDataset(options: {
  dir: string;
  backbone: Backbone;
  threads: number;
  signal?: AbortSignal;
  onProgress?: (progress: number, step: string) => void;
}) {
  const { dir, backbone, threads, signal, onProgress } = options;
  const data = await scanDataset(dir);
  await using extractor = await openExtractor(backbone, { threads });
  const images = [...data.train, ...data.test];
  const { features, failed, looks } = await extractFeatures(
    extractor,
    images.map(({ file, name }) => ({ file, name, region: null })),
    { onProgress: (done, total) => onProgress?.((0.5 * done) / total, 'features'), ...(signal ? { signal } : {}) },
  );
  const bad = new Set(failed.map(({ index }) => index));
  const rows = images.flatMap((image, index) => (bad.has(index) ? [] : [{ image, index, look: looks[index]! }]));
  return {
    features,
    stages: backbone.featureOutputs.map(({ channels }) => channels),
    classes: data.classes,
    train: rows.filter(({ index }) => index < data.train.length),
    test: rows.filter(({ index }) => index >= data.train.length),
  };
}

/**
 * Each class held out of training in turn. @throws DATASET_*, TOO_FEW_CLASSES with fewer than three, CANCELLED
 */
export async function evaluateNovelty(options: Parameters<typeof featuresOfDataset>[0]): Promise<NoveltyResult> {
  const { threads, signal, onProgress } = options;
  const { features, stages, classes, train, test } = await featuresOfDataset(options);
  if (classes.length < 3) throw new AppError('TOO_FEW_CLASSES', { found: classes.length, needed: 3 });
  await using products = openProducts({ threads });
  const width = stages.reduce((sum, n) => sum + n, 0);
  const zTest = embed(
    features,
    stages,
    test.map(({ index }) => index),
  );
  const auroc: Record<string, number> = {};
  let [falseAlarms, found] = [0, 0];
  const judged = classes.filter((name) => test.some(({ image }) => image.className === name));
  for (const [turn, name] of judged.entries()) {
    const known = train.filter(({ image }) => image.className !== name);
    const kept = new Float32Array(known.length * width);
    known.forEach(({ index }, i) => kept.set(features.subarray(index * width, (index + 1) * width), i * width));
    const { knowledge } = await solveKnowledge(
      {
        features: kept,
        stages,
        ledger: known.map(({ image, look }) => ({ classId: image.className, sha: image.sha, look })),
        okIds: new Set(),
        criteria: { maxEscape: 1, maxOverkill: 1 },
      },
      { products, ...(signal ? { signal } : {}) },
    );
    const logits = await logitsOf(knowledge, zTest, products);
    const score = await scoreNovelty(knowledge.novelty, zTest, logits, products);
    const limit = knowledge.thresholds.novelty;
    const isNew = test.map(({ image }) => image.className === name);
    auroc[name] = areaUnderCurve(
      score.filter((_, i) => !isNew[i]),
      score.filter((_, i) => isNew[i]!),
    );
    const shareNovel = (of: boolean) =>
      score.filter((b, i) => isNew[i] === of && b > limit).length / isNew.filter((each) => each === of).length;
    falseAlarms += shareNovel(false) / judged.length;
    found += shareNovel(true) / judged.length;
    onProgress?.(0.5 + (0.5 * (turn + 1)) / judged.length, 'novelty.class');
  }
  const values = Object.values(auroc);
  return { threads, auroc, mean: values.reduce((a, b) => a + b, 0) / values.length, falseAlarms, found };
}
