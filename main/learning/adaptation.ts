import type { Backbone } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { encodeModel, selectOutputs } from '../onnx/index.ts';
import type { TrainingEngine } from '../training/engine.ts';
import { fineTune } from '../training/fine-tune.ts';
import { trainableBackbone } from '../training/head.ts';
import { progressLine } from '../training/progress.ts';
import type { DatasetImage } from './dataset.ts';
import type { Products } from './dense.ts';
import { argmax } from './evaluation.ts';
import { binomialCdf } from './exact-statistics.ts';
import { extractFeatures, featureRows, openExtractor } from './extract.ts';
import { foldsOf, type LedgerRow } from './folds.ts';
import { createAnalyticLearner } from './learners/analytic.ts';
import { nearDuplicateRadii } from './near-duplicates.ts';

/*
 * First-session adaptation: the backbone is fine-tuned on the first task's pictures and then frozen again (Panos et al., ICCV 2023). It makes
 * the knowledge depend on the split into tasks, so it has to win on held-out pictures of that task before it is used.
 */

export interface AdaptationOptions {
  backbone: Backbone;
  /** Training pictures of the first task. */
  images: readonly DatasetImage[];
  /** 'auto': only where it wins; 'on': whatever the comparison says. */
  mode: 'auto' | 'on';
  engine: TrainingEngine;
  products: Products;
  epochs: number;
  threads: number;
  seed: number;
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
}

export interface Adaptation {
  /** The adapted backbone with the outputs of the given one; null: refused, or not possible. */
  model: Uint8Array | null;
  /** One sentence. */
  reason: string;
  /** Held-out pictures that only the given and only the adapted backbone had right. */
  validation: { images: number; onlyBefore: number; onlyAfter: number; pValue: number } | null;
}

/** The adapted one must win so clearly that chance would do so in one case of twenty at most. */
const SIGNIFICANCE = 0.05;
/** Folds 1 to 4 train, fold 0 judges. */
const JUDGING_FOLD = 0;

/** One-sided sign test on the discordant pictures (exact McNemar): chance of so many or more wins when both are equally good. */
export const winsByChance = (wins: number, losses: number): number => binomialCdf(losses, wins + losses, 0.5);

/** @throws INVALID_INPUT with mode `on` for a task of one class; what fineTune throws */
export async function adaptToFirstTask(options: AdaptationOptions): Promise<Adaptation> {
  const { backbone, images, mode, engine, products, epochs, threads, seed, signal } = options;
  const classes = [...new Set(images.map(({ className }) => className))].sort((a, b) => (a < b ? -1 : 1));
  if (classes.length < 2) {
    const reason = 'the first task has one class only: there is nothing to tell apart';
    if (mode === 'on') throw new AppError('INVALID_INPUT', { what: 'adapt-first-task', problem: reason });
    return { model: null, reason, validation: null };
  }
  const labelled = (part: readonly DatasetImage[]) =>
    part.map(({ file, name, className }) => ({ file, name, label: classes.indexOf(className) }));
  const tune = async (train: readonly DatasetImage[], test: readonly DatasetImage[], what: string) => {
    const { model } = await fineTune({
      backbone: trainableBackbone(backbone),
      classes,
      train: labelled(train),
      test: labelled(test),
      engine,
      epochs,
      threads,
      seed,
      onProgress: (progress) => options.onProgress?.(`${what}: ${progressLine(progress)}`),
      ...(signal ? { signal } : {}),
    });
    return encodeModel(
      selectOutputs(
        model,
        backbone.featureOutputs.map(({ name }) => name),
      ),
    );
  };

  const extracted = async (model: Uint8Array | null) => {
    await using extractor = await openExtractor(backbone, { threads, ...(model ? { model } : {}) });
    const sources = images.map(({ file, name }) => ({ file, name, region: null }));
    const { failed, ...told } = await extractFeatures(extractor, sources, signal ? { signal } : {});
    if (failed[0]) throw failed[0].error;
    return told;
  };
  const given = await extracted(null);
  const ledger = images.map(({ sha, className }, i): LedgerRow => ({ sha, classId: className, look: given.looks[i]! }));
  // Whole groups of near-duplicates: what has a sibling in training flatters the one that was trained on it.
  const folds = foldsOf(ledger, nearDuplicateRadii);
  const rowsWhere = (isWanted: (fold: number) => boolean) =>
    folds.flatMap((fold, row) => (isWanted(fold) ? [row] : []));
  const [trainRows, judgedRows] = [
    rowsWhere((fold) => fold !== JUDGING_FOLD),
    rowsWhere((fold) => fold === JUDGING_FOLD),
  ];
  const imagesOf = (rows: readonly number[]) => rows.map((row) => images[row]!);
  const [train, judged] = [imagesOf(trainRows), imagesOf(judgedRows)];
  if (classes.some((name) => [train, judged].some((part) => part.every(({ className }) => className !== name)))) {
    const reason = 'a class of the first task has too few pictures to hold some out';
    if (mode === 'auto') return { model: null, reason, validation: null };
    return { model: await tune(images, images, 'adaptation'), reason: `${reason}: not compared`, validation: null };
  }

  const rightOf = async (features: Float32Array): Promise<boolean[]> => {
    const stages = backbone.featureOutputs.map(({ channels }) => channels);
    const learner = createAnalyticLearner({ products, stages, ...(signal ? { signal } : {}) });
    const featuresOf = (rows: readonly number[]) => featureRows(features, backbone.features, rows);
    await learner.learn(
      featuresOf(trainRows),
      trainRows.map((row) => ledger[row]!),
    );
    const { data, columns } = await learner.predict(featuresOf(judgedRows));
    return judged.map(({ className }, i) => learner.classIds[argmax(data, i * columns, columns)] === className);
  };
  const before = await rightOf(given.features);
  const after = await rightOf((await extracted(await tune(train, judged, 'trial adaptation'))).features);
  const onlyAfter = before.filter((right, i) => !right && after[i]).length;
  const onlyBefore = before.filter((right, i) => right && !after[i]).length;
  const pValue = winsByChance(onlyAfter, onlyBefore);
  const validation = { images: judged.length, onlyBefore, onlyAfter, pValue };
  const told = `${onlyAfter} held-out pictures won and ${onlyBefore} lost of ${judged.length} (p = ${pValue.toPrecision(2)})`;
  if (mode === 'auto' && pValue > SIGNIFICANCE) {
    return { model: null, reason: `refused: ${told}`, validation };
  }
  const reason = pValue > SIGNIFICANCE ? `asked for, though not shown to help: ${told}` : `it pays: ${told}`;
  return { model: await tune(images, judged, 'adaptation'), reason, validation };
}
