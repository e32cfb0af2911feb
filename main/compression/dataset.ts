import { join } from 'node:path';
import { isOkFolder } from '../contract/class-name.ts';
import { criteriaSchema, type Criteria } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { openProducts, type Products } from '../learning/dense.ts';
import { normalisationOf } from '../onnx/index.ts';
import { sweepBundles } from './bundle-files.ts';
import { cancellable } from './cancellable.ts';
import type { CompressDatasetOptions } from './dataset-options.ts';
import { whyNothing, type CompressReport } from './dataset-report.ts';
import { readDataset, searchDataset, type ReadDataset, type SearchedDataset } from './dataset-search.ts';
import { describeEnvironment } from './environment.ts';
import { measureInterleaved } from './evidence/latency.ts';
import { operationsScore } from './evidence/operations-score.ts';
import { finishVariant, holdsFinished, type Finished } from './finish.ts';
import { judgeFinished } from './judge-finished.ts';
import { openLabelledImages } from './labelled-images.ts';
import { floatOf } from './parity-stages.ts';
import type { Measure } from './plan/contender.ts';
import { chooseFinalists, finishFinalists } from './plan/finalists.ts';
import { paretoFront, recommend, type OfferLimits } from './plan/offers.ts';
import type { TrialRecord } from './plan/trials.ts';
import { describeVariant, type Variant } from './plan/variant.ts';
import { taskSimilarity } from './tasks.ts';
import { testOffers, type FinishedTrial } from './test-offers.ts';
import { timeFinished } from './time-finished.ts';

export type { CompressDatasetOptions } from './dataset-options.ts';

/** Of timing what is finished. */
const TIMED_ROUNDS = 300;
const TIMING_MS = 20_000;

/**
 * Compresses a backbone for a data set and reports what it costs and brings. Everything is chosen on training folds; test
 * images are opened when all choices are made.
 * @param measure replaces the clock in tests
 * @throws what readDataset throws, BACKBONE_UNSUITABLE, MODEL_UNREADABLE, SINGULAR_STATISTICS, CANCELLED, HOME_NOT_WRITABLE, DISK_FULL
 */
export const compressDataset = (
  options: CompressDatasetOptions,
  measure: Measure = measureInterleaved,
): Promise<CompressReport> => cancellable(options.signal, () => compress(options, measure));

async function compress(options: CompressDatasetOptions, measure: Measure): Promise<CompressReport> {
  const startedAt = performance.now();
  const { backbone, threads, signal } = options;
  const say = (line: string) => options.onProgress?.(line);
  const read = await readDataset(options);
  const { dataset, tasks, training } = read;
  const criteria = criteriaSchema.parse({ maxDropPp: options.maxDropPp });
  await using products = openProducts({ threads });
  if (options.out !== undefined) await sweepBundles(options.out);
  const searched = await searchDataset(options, read, { products, measure, startedAt });
  const { bench, adaptation, checkpoint } = searched;
  const done = await finish(options, read, searched, { criteria, products });
  const { reference } = done;
  // Offers and the recommendation: validation and time only. No test image has been opened so far.
  const { offers, limits, referenceTimes, energy } = await offer(options, read, searched, done, measure);
  const best = recommend(offers);
  const front = frontOf(referenceTimes.latency.p50, reference, offers);

  say(`judging ${dataset.test.length} test images`);
  const test = await openLabelledImages(dataset.test, backbone, signal);
  if (test.images.length === 0) throw new AppError('DATASET_EMPTY', { path: join(options.dir, 'test') });
  const adapted = adaptation?.backbone != null;
  const environment = describeEnvironment(threads);
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
    outOfTime: searched.outOfTime,
    resumedTrials: bench.taken,
    environment,
    energy,
    images: { train: training.images.length, test: test.images.length },
    seconds: (performance.now() - startedAt) / 1000,
  };
}

/** The uncompressed model and the finalists, each with its head solved anew. */
async function finish(
  options: CompressDatasetOptions,
  { dataset, training }: ReadDataset,
  { bench }: SearchedDataset,
  { criteria, products }: { criteria: Criteria; products: Products },
) {
  const { backbone, strategy, maxDropPp, threads, signal } = options;
  const say = (line: string) => options.onProgress?.(line);
  const records = [...bench.records.values()];
  const finalists = chooseFinalists(records, { maxDropPp, all: strategy !== 'auto' });
  const finishOptions = {
    backbone,
    source: training.source,
    images: training.images,
    ledger: training.ledger,
    classes: dataset.classes.map((name) => ({ id: name, names: { en: name, ja: name }, isOk: isOkFolder(name) })),
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
    strategy === 'auto' ? records : [],
    { maxDropPp, places: Infinity },
    {
      async finish(record) {
        say(`finishing ${record.id}`);
        const { variant, made } = record;
        return { record, finished: await finishVariant(record.id, variant, made.model, made.bytes, finishOptions) };
      },
      holds: ({ record, finished: item }) => holdsFinished(reference, item, record.unseen, maxDropPp),
    },
  );
  return { reference, finished };
}

/** Times what is finished and judges it, by validation and time. */
async function offer(
  options: CompressDatasetOptions,
  { training }: ReadDataset,
  { bench }: SearchedDataset,
  { reference, finished }: { reference: Finished; finished: readonly { record: TrialRecord; finished: Finished }[] },
  measure: Measure,
) {
  options.onProgress?.('timing all of them against each other');
  const { models: timed, energy } = await timeFinished([reference, ...finished.map((entry) => entry.finished)], {
    source: training.source,
    image: training.images[0]!,
    threads: options.threads,
    measure,
    rounds: TIMED_ROUNDS,
    budgetMs: TIMING_MS,
    signal: options.signal,
  });
  const limits: OfferLimits = { maxDropPp: options.maxDropPp, latencyMs: options.latencyMs ?? null };
  const offers = finished.map(({ record, finished: item }): FinishedTrial => {
    const times = timed.get(record.id)!;
    const float = floatOf(record, bench.records);
    return { record, finished: item, float, times, ...judgeFinished(reference, item, times, record.unseen, limits) };
  });
  return { offers, limits, referenceTimes: timed.get('reference')!, energy };
}

/** Ids of the offers that neither another nor the uncompressed model beats in both accuracy and time. */
function frontOf(referenceMs: number, reference: Finished, offers: readonly FinishedTrial[]): ReadonlySet<string> {
  const { balancedAccuracy } = reference.compared;
  const front = paretoFront<{ id: string | null; latencyMs: number; balancedAccuracy: number }>([
    { id: null, latencyMs: referenceMs, balancedAccuracy },
    ...offers.map((each) => ({ ...each, id: each.record.id })),
  ]);
  return new Set(front.flatMap(({ id }) => (id === null ? [] : [id])));
}
