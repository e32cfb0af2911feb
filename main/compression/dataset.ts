import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { criteriaSchema } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { scanDataset } from '../learning/dataset.ts';
import { openProducts } from '../learning/dense.ts';
import { splitTasks } from '../learning/protocol.ts';
import { normalisationOf } from '../onnx/index.ts';
import { createOrtEngine } from '../training/ort/engine.ts';
import { adaptForPruning, adaptModeOf } from './adapt.ts';
import { sweepBundles } from './bundle-files.ts';
import { cancellable } from './cancellable.ts';
import { measureLayers } from './cost/cost-model.ts';
import { studentsOf, type CompressDatasetOptions } from './dataset-options.ts';
import { whyNothing, type CompressReport } from './dataset-report.ts';
import { checkEnoughImages } from './enough-images.ts';
import { describeEnvironment, integerWeightBits } from './environment.ts';
import { measureInterleaved } from './evidence/latency.ts';
import { operationsScore } from './evidence/operations-score.ts';
import { finishVariant, holdsFinished } from './finish.ts';
import { judgeFinished } from './judge-finished.ts';
import { openLabelledImages } from './labelled-images.ts';
import { floatOf } from './parity-stages.ts';
import { teachingMsWithin } from './plan/budget.ts';
import { openCheckpoint } from './plan/checkpoint.ts';
import type { Measure } from './plan/contender.ts';
import { forwardMsOf } from './plan/evaluate.ts';
import { chooseFinalists, finishFinalists, inputSizesOf } from './plan/finalists.ts';
import { paretoFront, recommend, type OfferLimits } from './plan/offers.ts';
import { searchPlan, type SearchRequest } from './plan/search.ts';
import { openTrials } from './plan/trials.ts';
import { describeVariant, type Variant } from './plan/variant.ts';
import { firstTaskOf, taskSimilarity } from './tasks.ts';
import { testOffers, type FinishedTrial } from './test-offers.ts';
import { timeFinished } from './time-finished.ts';

export type { CompressDatasetOptions } from './dataset-options.ts';

/** Share of the time budget for fine-tuning the backbone on the first task, the trial included. */
const ADAPTATION_SHARE = 0.25;
/** Share of the time budget for the search; the rest finishes, times and reports what it found. */
const SEARCH_SHARE = 0.75;

/**
 * Compresses a backbone for a data set and reports what it costs and brings. Everything is chosen on training folds; test
 * images are opened when all choices are made.
 * @param measure replaces the clock in tests
 * @throws INVALID_INPUT, DATASET_*, TOO_FEW_CLASSES, CANCELLED, HOME_NOT_WRITABLE …
 */
export const compressDataset = (
  options: CompressDatasetOptions,
  measure: Measure = measureInterleaved,
): Promise<CompressReport> => cancellable(options.signal, () => compress(options, measure));

async function compress(options: CompressDatasetOptions, measure: Measure): Promise<CompressReport> {
  const { strategy } = options;
  const startedAt = performance.now();
  const { backbone, threads, signal } = options;
  const say = (line: string) => options.onProgress?.(line);
  const dataset = await scanDataset(options.dir, signal ? { signal } : {});
  if (dataset.classes.length < 2) throw new AppError('TOO_FEW_CLASSES', { found: dataset.classes.length, needed: 2 });
  const tasks = splitTasks(dataset.classes, options.tasks ?? dataset.classes.length);
  say(`reading ${dataset.train.length} training images`);
  const training = await openLabelledImages(dataset.train, backbone, signal);
  const { source, images, ledger } = training;
  const firstTask = firstTaskOf(tasks, images, ledger);
  if (images.length === 0) throw new AppError('DATASET_EMPTY', { path: join(options.dir, 'train') });
  const perClass = Map.groupBy(ledger, ({ classId }) => classId);
  checkEnoughImages(new Map(dataset.classes.map((name) => [name, perClass.get(name)?.length ?? 0])));
  await using products = openProducts({ threads });
  const criteria = criteriaSchema.parse({ maxDropPp: options.maxDropPp });

  if (options.out !== undefined) await sweepBundles(options.out);
  say('measuring the uncompressed backbone');
  const bytes = await readFile(backbone.file);
  const students = studentsOf(options);
  const adaptFirstTask = adaptModeOf(options);
  const adaptation = adaptFirstTask === 'off' ? null : await adapt(adaptFirstTask);
  const environment = describeEnvironment(threads);
  const checkpoint =
    options.work === undefined
      ? null
      : await openCheckpoint({
          work: options.work,
          // The time budget is not among it: a search that ran out of time may go on with more.
          key: {
            environment,
            weightBits: integerWeightBits(),
            backbone: [backbone.sha256, backbone.mean, backbone.std],
            images: ledger.map(({ sha, classId }) => [sha, classId]),
            tasks,
            strategy,
            precision: options.precision,
            ratio: options.ratio ?? null,
            maxDropPp: options.maxDropPp,
            importance: options.importance ?? null,
            seed: options.seed,
            // Made anew when it goes on: how long it may train depends on the clock. Trials that were kept say themselves what they learnt from.
            adaptFirstTask,
            students,
          },
          resume: options.resume ?? false,
          onProblem: (problem) => say(`going on without keeping what is measured: ${problem}`),
        });
  const budgetMs = SEARCH_SHARE * 1000 * options.timeBudgetS;
  const bench = await openTrials({
    backbone,
    bytes,
    source,
    images,
    ledger,
    firstTask,
    adapted: adaptation?.backbone ?? null,
    students,
    tasks,
    products,
    threads,
    importance: options.importance,
    seed: options.seed,
    signal,
    measure,
    // A clock that was replaced has no profile either.
    costs: measure === measureInterleaved ? { measure: measureLayers, folder: options.costs ?? null } : null,
    maxDropPp: options.maxDropPp,
    budgetMs,
    checkpoint,
  });
  const request: SearchRequest = {
    strategy,
    precision: options.precision,
    ratio: options.ratio ?? null,
    nativeSize: backbone.inputSize,
    sizes: inputSizesOf(backbone),
    maxDropPp: options.maxDropPp,
    timeBudgetMs: Math.max(0, budgetMs - (performance.now() - startedAt)),
    teachingMs: teachingMsWithin(budgetMs),
  };
  const { outOfTime } = await searchPlan(request, {
    evaluate: (variant) => {
      const left = Math.max(0, options.timeBudgetS - (performance.now() - startedAt) / 1000);
      say(`trying ${describeVariant(variant, backbone.inputSize)} (at most ${Math.ceil(left)} s left)`);
      return bench.evaluate(variant);
    },
    now: () => bench.now(),
    signal,
  });
  if (bench.taken > 0) say(`${bench.taken} trials were taken from the run before`);

  const finalists = chooseFinalists([...bench.records.values()], {
    maxDropPp: options.maxDropPp,
    all: strategy !== 'auto',
  });
  const classes = dataset.classes.map((name) => ({ id: name, names: { en: name, ja: name }, isOk: false }));
  const finishOptions = {
    backbone,
    source,
    images,
    ledger,
    classes,
    criteria,
    recipe: null,
    identity: { demo: false, stationId: null, knowledgeId: null },
    products,
    threads,
    views: bench.views,
    now: () => new Date(),
    signal,
  };
  const native: Variant = { strategy: 'none', ratio: 0, inputSize: backbone.inputSize, precision: 'fp32' };
  say('finishing the uncompressed model');
  const reference = await finishVariant('reference', native, bench.base, bench.reference.bytes, finishOptions);
  const finished = await finishFinalists(
    finalists,
    strategy === 'auto' ? [...bench.records.values()] : [],
    { maxDropPp: options.maxDropPp, places: Infinity },
    {
      async finish(record) {
        say(`finishing ${record.id}`);
        const { variant, made } = record;
        return { record, finished: await finishVariant(record.id, variant, made.model, made.bytes, finishOptions) };
      },
      holds: ({ record, finished: item }) => holdsFinished(reference, item, record.unseen, options.maxDropPp),
    },
  );

  say('timing all of them against each other');
  const { models: timed, energy } = await timeFinished([reference, ...finished.map((entry) => entry.finished)], {
    source,
    image: images[0]!,
    threads,
    measure,
    rounds: 300,
    budgetMs: 20_000,
    signal,
  });
  const referenceTimes = timed.get('reference')!;
  const limits: OfferLimits = { maxDropPp: options.maxDropPp, latencyMs: options.latencyMs ?? null };
  // Offers and the recommendation: validation and time only. No test image has been opened so far.
  const offers = finished.map(({ record, finished: item }): FinishedTrial => {
    const times = timed.get(record.id)!;
    const float = floatOf(record, bench.records);
    return { record, finished: item, float, times, ...judgeFinished(reference, item, times, record.unseen, limits) };
  });
  const best = recommend(offers);
  const front = new Set(
    paretoFront([
      { id: 'reference', latencyMs: referenceTimes.latency.p50, balancedAccuracy: reference.compared.balancedAccuracy },
      ...offers.map(({ record, latencyMs, balancedAccuracy: accuracy }) => ({
        id: record.id,
        latencyMs,
        balancedAccuracy: accuracy,
      })),
    ]).map(({ id }) => id),
  );
  front.delete('reference');

  say(`judging ${dataset.test.length} test images`);
  const test = await openLabelledImages(dataset.test, backbone, signal);
  if (test.images.length === 0) throw new AppError('DATASET_EMPTY', { path: join(options.dir, 'test') });
  const adapted = adaptation?.backbone != null;
  const tested = await testOffers(reference, referenceTimes, offers, {
    backbone,
    base: bench.base,
    adapted,
    tasks,
    training,
    test,
    criteria,
    environment,
    products,
    threads,
    out: options.out,
    residentBytes: options.residentBytes,
    signal,
  });

  await checkpoint?.remove();
  const chosen = best === null ? null : offers[best]!;
  return {
    normalisation: normalisationOf(backbone),
    ...tested,
    pareto: tested.candidates.map(({ id }) => id).filter((id) => front.has(id)),
    recommended: chosen?.record.id ?? null,
    why: chosen
      ? `${describeVariant(chosen.record.variant, backbone.inputSize)}: ${chosen.reason} Nothing faster kept the accuracy within ${options.maxDropPp} pp on the training folds.`
      : whyNothing(offers, bench.skipped, limits),
    tasks,
    similarity: taskSimilarity(reference, tasks),
    adapted,
    ...(adaptation ? { adaptation: { reason: adaptation.reason, validation: adaptation.validation } } : {}),
    costModel: bench.costModel(),
    operationsScore:
      chosen &&
      operationsScore({
        balancedAccuracy: chosen.balancedAccuracy,
        latencyMs: chosen.latencyMs,
        latencyLimitMs: options.latencyMs ?? referenceTimes.latency.p50,
        minutes: (performance.now() - startedAt) / 60_000,
      }),
    tried: [...bench.records.values()].map(({ id, balancedAccuracy: accuracy, speedup }) => ({
      id,
      balancedAccuracy: accuracy,
      speedup,
    })),
    skipped: bench.skipped.map(({ id, problem }) => ({ id, problem })),
    unreadable: [...training.unreadable, ...test.unreadable],
    outOfTime,
    resumedTrials: bench.taken,
    environment,
    energy,
    images: { train: images.length, test: test.images.length },
    seconds: (performance.now() - startedAt) / 1000,
  };

  async function adapt(mode: 'auto' | 'on') {
    const adapted = await adaptForPruning({
      backbone,
      mode,
      ledger,
      images,
      firstTask,
      describe: (image) => dataset.train[image]!,
      engine: createOrtEngine(),
      products,
      seconds: ADAPTATION_SHARE * options.timeBudgetS,
      forwardMs: await forwardMsOf(backbone, bytes, source, images, { threads, signal }),
      threads,
      seed: options.seed,
      onProgress: say,
      signal,
    });
    say(`adaptation to the first task: ${adapted.reason}`);
    return adapted;
  }
}
