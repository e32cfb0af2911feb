import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import type { Recipe } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { trainerMethods } from '../contract/trainer.ts';
import { LEAST_OK_PARTS } from '../learning/anomaly/cold-start.ts';
import { openProducts } from '../learning/dense.ts';
import { keyOf, picturesPerClass, type LedgerRow } from '../learning/folds.ts';
import { isPoor } from '../learning/statistics-map.ts';
import type { TrainerOptions } from '../learning/update.ts';
import { tilesOf } from '../vision/tiles.ts';
import { cancellable } from './cancellable.ts';
import { measureLayers } from './cost/cost-model.ts';
import { checkEnoughImages, LEAST_PER_CLASS } from './enough-images.ts';
import { describeEnvironment, integerWeightBits } from './environment.ts';
import { leftAloneOf } from './evidence/evidence.ts';
import { hasFailed } from './evidence/gates.ts';
import { measureInterleaved } from './evidence/latency.ts';
import { makeGoodPartsCandidate } from './good-parts.ts';
import { finishVariant, holdsFinished } from './finish.ts';
import { createImageSource, readableImages } from './image-source.ts';
import { judgeFinished } from './judge-finished.ts';
import { floatOf } from './parity-stages.ts';
import { teachingMsWithin } from './plan/budget.ts';
import { openCheckpoint } from './plan/checkpoint.ts';
import type { Measure } from './plan/contender.ts';
import { keepsLimits } from './plan/evaluate.ts';
import { chooseFinalists, finishFinalists, inputSizesOf } from './plan/finalists.ts';
import { recommend } from './plan/offers.ts';
import { searchPlan } from './plan/search.ts';
import { openTrials, type TrialRecord } from './plan/trials.ts';
import { describeVariant, variantId, type Variant } from './plan/variant.ts';
import { writeCandidates } from './station-evidence.ts';
import { readSumsOfOthers } from './sums-of-others.ts';
import { timeFinished } from './time-finished.ts';

export type CompressStationInput = z.infer<(typeof trainerMethods)['trainer.compress']['input']>;
export type CompressStationOutput = z.infer<(typeof trainerMethods)['trainer.compress']['output']>;

export interface CompressStationOptions extends TrainerOptions {
  /** Told once when what is measured cannot be kept: the search goes on without. */
  onProblem?: ((problem: string) => void) | undefined;
  /** Replaces the clock in tests. */
  measure?: Measure | undefined;
}

/** Share of the time budget for the search; the rest finishes and times what it found. */
const SEARCH_SHARE = 0.6;

/**
 * Makes, measures and judges compressed models of a station from its labelled images. All accuracies are held out over the
 * five folds of the labels. The uncompressed model is among the candidates, last, so that there is always one to approve.
 * @throws TOO_FEW_CLASSES, TOO_FEW_IMAGES, CANCELLED, HOME_NOT_WRITABLE, MODEL_UNREADABLE
 */
export const compressStation = (
  input: CompressStationInput,
  options: CompressStationOptions = {},
): Promise<CompressStationOutput> => cancellable(options.signal, () => compress(input, options));

async function compress(
  input: CompressStationInput,
  { onProgress, signal, onProblem, measure = measureInterleaved }: CompressStationOptions,
): Promise<CompressStationOutput> {
  const startedAt = performance.now();
  const { backbone, recipe, criteria, threads, lineThreads } = input;
  let last = 0;
  /** What a run before this one took, ms. */
  let earlierMs = () => 0;
  const report = (progress: number, key: string, details: Record<string, string | number> = {}) => {
    last = Math.max(last, Math.min(1, progress));
    const elapsed = (performance.now() - startedAt + earlierMs()) / 1000;
    const secondsLeft = input.enough ? null : Math.max(0, input.timeBudgetS - elapsed);
    onProgress?.({ progress: last, secondsLeft, step: { key, details } });
  };
  const known = new Set(input.classes.map(({ id }) => id));
  const labelled = input.images.filter(({ classId }) => known.has(classId));
  const source = createImageSource(labelled, backbone, {
    rotation: recipe.rotation,
    maxPixels: recipe.maxPixels,
    finder: recipe.finder,
    signal,
  });
  report(0, 'compress.read', { images: labelled.length });
  const { indices: images, looks } = await readableImages(source);
  const ledger = images.map((index, i): LedgerRow => {
    const { sha, classId, region } = labelled[index]!;
    return { sha, classId, look: looks[i]!, ...keyOf(region) };
  });
  const present = [...new Set(ledger.map(({ classId }) => classId))];
  const others = await readSumsOfOthers(input.exports, backbone, input.successors);
  const classIds = new Set([...present, ...(others?.statistics.classIds ?? [])]);
  const pictures = picturesPerClass(ledger);
  const [onlyId] = present;
  const okClass = input.classes.find(({ id, isOk }) => isOk && id === onlyId);
  if (classIds.size === 1 && okClass && pictures.get(okClass.id)! >= LEAST_OK_PARTS) {
    return makeGoodPartsCandidate(input, okClass, { measure, signal, report });
  }
  if (classIds.size < 2) throw new AppError('TOO_FEW_CLASSES', { found: classIds.size, needed: 2 });
  const shown = new Map(input.classes.map(({ id, names }) => [id, names.en]));
  const nameOf = (classId: string) => shown.get(classId) ?? classId;
  checkEnoughImages(
    new Map([...pictures].map(([id, count]) => [nameOf(id), count])),
    (others?.statistics.classIds ?? []).map(nameOf),
  );
  await using products = openProducts({ threads });

  report(0.05, 'compress.reference');
  const checkpoint =
    input.workDir === null
      ? null
      : await openCheckpoint({
          work: input.workDir,
          key: {
            environment: describeEnvironment(lineThreads),
            threads,
            weightBits: integerWeightBits(),
            backbone: [backbone.sha256, backbone.mean, backbone.std],
            images: images.map((index) => {
              const { sha, classId, region } = labelled[index]!;
              return [sha, classId, region];
            }),
            rotation: recipe.rotation,
            ...(recipe.finder.kind === 'fixed' ? {} : { finder: recipe.finder }),
            maxDropPp: criteria.maxDropPp,
          },
          resume: true,
          onProblem,
        });
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
    checkpoint,
  });
  earlierMs = () => bench.now() - performance.now();
  const searchMs = Math.max(0, budgetMs - (performance.now() - startedAt));
  const searchStart = bench.now();
  // Pictures of one class are all judged right by whatever is left of a model: nothing tells what compressing costs.
  const comparable = [...pictures.values()].filter((count) => count >= LEAST_PER_CLASS).length > 1;
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
          const progress = 0.1 + 0.5 * Math.min(1, (bench.now() - searchStart) / Math.max(1, searchMs));
          report(progress, 'compress.try', { variant: describeVariant(variant, backbone.inputSize) });
        }
        return bench.evaluate(variant);
      },
      isMeasured: (variant) => bench.isMeasured(variant),
      now: () => bench.now(),
      signal,
    },
  );
  const wanted = input.candidateIds.length;
  const within = (record: TrialRecord) => keepsLimits(record, criteria.maxDropPp);
  const found = chooseFinalists([...bench.records.values()], { maxDropPp: criteria.maxDropPp, all: false });
  // Those within the bound first. The last place is the uncompressed model's; a single place goes to it if nothing else holds.
  const ordered = [...found.filter(within), ...(wanted > 1 ? found.filter((record) => !within(record)) : [])];
  const finalists = ordered.slice(0, Math.max(1, wanted - 1));

  const finishOptions = {
    backbone,
    source,
    images,
    ledger,
    classes: input.classes,
    criteria,
    recipe: recipe as Recipe | null,
    identity: { demo: input.demo, stationId: input.stationId, knowledgeId: input.knowledgeId },
    products,
    threads,
    lineThreads,
    views: bench.views,
    others,
    now: () => new Date(),
    signal,
  };
  const native: Variant = { strategy: 'none', ratio: 0, inputSize: backbone.inputSize, precision: 'fp32' };
  // The last id is nobody else's.
  const referenceId = (wanted > 1 || finalists.length === 0 ? input.candidateIds.at(-1) : undefined) ?? 'reference';
  report(0.62, 'compress.finish', { variant: describeVariant(native, backbone.inputSize) });
  const reference = await finishVariant(referenceId, native, bench.base, bench.reference.bytes, finishOptions);
  const entries = await finishFinalists(
    finalists,
    [...bench.records.values()],
    { maxDropPp: criteria.maxDropPp, places: Math.max(1, wanted - 1) },
    {
      async finish(record, place) {
        const { variant, made, unseen } = record;
        report(0.65 + (0.2 * place) / finalists.length, 'compress.finish', {
          variant: describeVariant(variant, backbone.inputSize),
        });
        const id = input.candidateIds[place]!;
        // What changed nothing of the backbone has the features that the sums are of.
        const from = variantId(variant) === variantId(native) ? null : reference.features;
        const finished = await finishVariant(id, variant, made.model, made.bytes, {
          ...finishOptions,
          others: others && { ...others, from },
        });
        const leftAlone = leftAloneOf(bench.base, record);
        return { id, ratio: made.ratio, unseen, leftAlone, finished, float: floatOf(record, bench.records) };
      },
      holds: ({ unseen, finished }) => holdsFinished(reference, finished, unseen, criteria.maxDropPp),
    },
  );

  report(0.87, 'compress.time');
  // 300 runs give a bound of the 99th percentile.
  const { models: timed } = await timeFinished([reference, ...entries.map(({ finished }) => finished)], {
    source,
    image: images[0]!,
    threads: lineThreads,
    measure,
    rounds: 310,
    // A part of many tiles takes longer, and a bound of the 99th percentile needs its runs all the same.
    budgetMs: 30_000 * Math.min(4, tilesOf(recipe)),
    signal,
  });
  const referenceLatency = timed.get(referenceId)!.latency;
  const offers = entries.map((entry) => {
    const { id, unseen, finished } = entry;
    const times = timed.get(id)!;
    const { latency, speedupInterval } = times;
    const limits = { maxDropPp: criteria.maxDropPp, latencyMs: null };
    const judged = judgeFinished(reference, finished, times, unseen, limits);
    return { ...entry, latency, speedupInterval, ...judged };
  });
  const anyOffered = offers.some(({ offered }) => offered);
  if (wanted > entries.length) {
    offers.push({
      id: referenceId,
      ratio: 0,
      unseen: null,
      leftAlone: null,
      finished: reference,
      float: null,
      latency: referenceLatency,
      speedupInterval: null,
      latencyMs: referenceLatency.p50,
      balancedAccuracy: reference.compared.balancedAccuracy,
      offered: true,
      isSeen: true,
      broken: [],
      reason: uncompressedBecause(),
    });
  }

  report(0.93, 'compress.compare');
  const made = await writeCandidates(offers, {
    ...finishOptions,
    reference,
    referenceLatency,
    activeBundleDir: input.activeBundleDir,
    outDir: input.outDir,
    nameOf,
  });
  report(1, 'compress.done', { candidates: made.length });
  // What no supervisor could approve is not recommended, however good it is beside the others; nor what is uncertain of classes that others know.
  const approvable = offers.filter(
    ({ finished }, i) => !hasFailed(made[i]!.evidence.gates) && !isPoor(finished.mapFit),
  );
  const faster = approvable.filter(({ id }) => id !== referenceId);
  const best = recommend(faster);
  const chosen = best === null ? approvable.find(({ id }) => id === referenceId) : faster[best]!;
  return {
    candidates: made.map((each) => ({ ...each, recommended: each.card.id === chosen?.id })),
    why: whyOf(chosen ?? null),
  };

  function whyOf(chosen: (typeof offers)[number] | null): string {
    if (chosen !== null && chosen.id !== referenceId) {
      return `${describeVariant(chosen.finished.variant, backbone.inputSize)}: ${chosen.reason}`;
    }
    const nothing = anyOffered
      ? `each faster one on offer fails a gate${others ? ' or has a poor map of what other stations gave' : ''}`
      : `nothing faster kept the balanced accuracy within ${criteria.maxDropPp} pp`;
    return chosen ? `The uncompressed model: ${nothing}.` : `None: ${nothing}, and no uncompressed model passes.`;
  }

  function uncompressedBecause(): string {
    if (!comparable) return 'Not compressed: pictures of a single class do not show what compressing costs.';
    return anyOffered
      ? 'Not compressed: for comparison, or where the smaller one is not wanted.'
      : 'Not compressed: nothing faster kept the accuracy.';
  }
}
