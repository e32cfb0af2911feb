import { readFile } from 'node:fs/promises';
import type { Products } from '../learning/dense.ts';
import { nearDuplicateRadii } from '../learning/near-duplicates.ts';
import { inFolds, judgedRows, representativeRows } from '../learning/selection.ts';
import { measureLayers } from './cost/cost-model.ts';
import { describeEnvironment, integerWeightBits } from './environment.ts';
import { measureInterleaved } from './evidence/latency.ts';
import { teachingMsWithin } from './plan/budget.ts';
import { openCheckpoint } from './plan/checkpoint.ts';
import type { Measure } from './plan/contender.ts';
import { inputSizesOf } from './plan/finalists.ts';
import { searchPlan } from './plan/search.ts';
import { openTrials, type TrialBench } from './plan/trials.ts';
import { describeVariant } from './plan/variant.ts';
import type { StationImages } from './station-images.ts';
import type { StationProgress } from './station-progress.ts';
import type { CompressStationInput } from './station.ts';

/** Share of the time budget for the search; the rest finishes and times what it found. */
const SEARCH_SHARE = 0.6;

export interface StationSearchOptions {
  /** isComparable */
  comparable: boolean;
  products: Products;
  progress: StationProgress;
  measure: Measure;
  /** Told once when what is measured cannot be kept: the search goes on without. */
  onProblem?: ((problem: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Pictures of one class are all judged right by whatever is left of a model: nothing tells what compressing costs. Nor do they beside those of one part alone, which cannot be held out
 * from each other.
 */
export const isComparable = ({ ledger }: Pick<StationImages, 'ledger'>): boolean => {
  const sample = inFolds(representativeRows(ledger), ledger, nearDuplicateRadii);
  return new Set(judgedRows(sample, ledger).map((i) => ledger[sample.rows[i]!]!.classId)).size > 1;
};

/**
 * What was tried for a station, goes on where a run before this one was ended.
 * @throws CANCELLED, MODEL_UNREADABLE, BACKBONE_UNSUITABLE, SINGULAR_STATISTICS, HOME_NOT_WRITABLE where what was tried cannot be kept
 */
export async function searchForStation(
  input: CompressStationInput,
  read: StationImages,
  { comparable, products, progress, measure, onProblem, signal }: StationSearchOptions,
): Promise<TrialBench> {
  const { backbone, criteria, threads, lineThreads } = input;
  const { source, images, ledger } = read;
  const budgetMs = SEARCH_SHARE * 1000 * input.timeBudgetS;
  const bench = await openTrials({
    backbone,
    bytes: await readFile(backbone.file),
    source,
    images,
    ledger,
    // Labels of a station arrive in no tasks: pruning uses all classes.
    firstTask: images,
    products,
    threads,
    lineThreads,
    seed: 0,
    signal,
    measure,
    costs: measure === measureInterleaved ? { measure: measureLayers, folder: input.costsDir } : null,
    maxDropPp: criteria.maxDropPp,
    budgetMs,
    checkpoint: await checkpointOf(input, read, onProblem),
  });
  progress.countBy(() => bench.now());
  const searchMs = Math.max(0, budgetMs - progress.elapsedMs());
  const searchStart = bench.now();
  await searchPlan(
    {
      strategy: 'auto',
      precision: 'auto',
      ratio: null,
      nativeSize: backbone.inputSize,
      sizes: inputSizesOf(backbone),
      maxDropPp: criteria.maxDropPp,
      timeBudgetMs: searchMs,
      teachingMs: teachingMsWithin(budgetMs),
      enough: input.enough ?? false,
    },
    {
      // Without tasks both pruning strategies are one.
      evaluate: async (variant) => {
        if (!comparable || variant.strategy === 'pre-prune') return null;
        if (!input.enough) {
          const done = 0.1 + 0.5 * Math.min(1, (bench.now() - searchStart) / Math.max(1, searchMs));
          progress.report(done, 'compress.try', { variant: describeVariant(variant, backbone.inputSize) });
        }
        return bench.evaluate(variant);
      },
      isMeasured: (variant) => bench.isMeasured(variant),
      now: () => bench.now(),
      signal,
    },
  );
  return bench;
}

/** Null: nothing is to be kept. */
const checkpointOf = async (
  { workDir, backbone, recipe, criteria, threads, lineThreads }: CompressStationInput,
  { identity }: StationImages,
  onProblem: StationSearchOptions['onProblem'],
) =>
  workDir === null
    ? null
    : openCheckpoint({
        work: workDir,
        key: {
          environment: describeEnvironment(lineThreads),
          threads,
          weightBits: integerWeightBits(),
          backbone: [backbone.sha256, backbone.mean, backbone.std],
          images: identity,
          rotation: recipe.rotation,
          ...(recipe.finder.kind === 'fixed' ? {} : { finder: recipe.finder }),
          maxDropPp: criteria.maxDropPp,
        },
        resume: true,
        onProblem,
      });
