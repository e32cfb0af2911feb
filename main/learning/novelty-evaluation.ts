import type { Backbone } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { scanDataset, type SkippedFile } from './dataset.ts';
import { openProducts } from './dense.ts';
import { embed } from './embedding.ts';
import { featureRows, featuresOfReadable, openExtractor } from './extract.ts';
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
  /** Files that were left out, and why. */
  skipped: SkippedFile[];
}

/** Features of a data set's two halves. */
async function featuresOfDataset(options: {
  dir: string;
  backbone: Backbone;
  threads: number;
  signal?: AbortSignal;
  onProgress?: (progress: number, step: string) => void;
}) {
  const { dir, backbone, threads, signal, onProgress } = options;
  const data = await scanDataset(dir, signal ? { signal } : {});
  await using extractor = await openExtractor(backbone, { threads });
  const read = (images: typeof data.train, before: number) =>
    featuresOfReadable(extractor, images, data.skipped, {
      onProgress: (done) => onProgress?.((0.5 * (before + done)) / (data.train.length + data.test.length), 'features'),
      ...(signal ? { signal } : {}),
    });
  const train = await read(data.train, 0);
  return {
    stages: backbone.featureOutputs.map(({ channels }) => channels),
    classes: data.classes,
    train,
    test: await read(data.test, data.train.length),
    skipped: data.skipped,
  };
}

/**
 * Each class held out of training in turn. @throws DATASET_*, BAD_CLASS_NAME, TOO_FEW_CLASSES with fewer than three, CANCELLED
 */
export async function evaluateNovelty(options: Parameters<typeof featuresOfDataset>[0]): Promise<NoveltyResult> {
  const { threads, signal, onProgress } = options;
  const { stages, classes, train, test, skipped } = await featuresOfDataset(options);
  if (classes.length < 3) throw new AppError('TOO_FEW_CLASSES', { found: classes.length, needed: 3 });
  await using products = openProducts({ threads });
  const width = stages.reduce((sum, n) => sum + n, 0);
  const zTest = embed(test.features, stages);
  const auroc: Record<string, number> = {};
  let [falseAlarms, found] = [0, 0];
  const judged = classes.filter((name) => test.images.some(({ className }) => className === name));
  for (const [turn, name] of judged.entries()) {
    const known = train.images.flatMap(({ className }, i) => (className === name ? [] : [i]));
    const { knowledge } = await solveKnowledge(
      {
        features: featureRows(train.features, width, known),
        stages,
        ledger: known.map((i) => {
          const { className, sha, look } = train.images[i]!;
          return { classId: className, sha, look };
        }),
        okIds: new Set(),
        criteria: { maxEscape: 1, maxOverkill: 1 },
      },
      { products, ...(signal ? { signal } : {}) },
    );
    const logits = await logitsOf(knowledge, zTest, products);
    const score = await scoreNovelty(knowledge.novelty, zTest, logits, products);
    const limit = knowledge.thresholds.novelty;
    const isNew = test.images.map(({ className }) => className === name);
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
  return { threads, auroc, mean: values.reduce((a, b) => a + b, 0) / values.length, falseAlarms, found, skipped };
}
