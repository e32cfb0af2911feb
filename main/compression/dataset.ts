import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { criteriaSchema, recipeSchema } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { scanDataset, type DatasetImage } from '../learning/dataset.ts';
import { openProducts } from '../learning/dense.ts';
import type { LedgerRow } from '../learning/selection.ts';
import { splitTasks } from '../learning/protocol.ts';
import { createOrtEngine } from '../training/ort/engine.ts';
import { adaptForPruning, adaptModeOf } from './adapt.ts';
import { replaceBundle, sweepBundles } from './bundle-files.ts';
import { cancellable } from './cancellable.ts';
import { measureLayers } from './cost/cost-model.ts';
import { whyNothing, type CompressReport, type ReportedCandidate, type ReportedMeasures } from './dataset-report.ts';
import { studentsOf, type CompressDatasetOptions } from './dataset-options.ts';
import { checkEnoughImages } from './enough-images.ts';
import { describeEnvironment, integerWeightBits } from './environment.ts';
import { buildEvidence, dataDigest, leftAloneOf, measuresOf } from './evidence/evidence.ts';
import { dropGate, parityGate } from './evidence/gates.ts';
import { measureInterleaved } from './evidence/latency.ts';
import { operationsScore } from './evidence/operations-score.ts';
import { finishVariant, holdsFinished, newDefectsLost, type Finished } from './finish.ts';
import { groupedMeasures, judgeGrouped } from './grouped-validation.ts';
import { createImageSource, readableImages, type SourceImage } from './image-source.ts';
import { teachingMsWithin } from './plan/budget.ts';
import { openCheckpoint } from './plan/checkpoint.ts';
import type { Measure } from './plan/contender.ts';
import { discordantOf, forwardMsOf, lossBetween, type Judged } from './plan/evaluate.ts';
import { judgeOffer, paretoFront, recommend, type OfferLimits } from './plan/offers.ts';
import { searchPlan, type SearchRequest } from './plan/search.ts';
import { openTrials } from './plan/trials.ts';
import { describeVariant, type Variant } from './plan/variant.ts';
import { chooseFinalists, finishFinalists, inputSizesOf } from './plan/finalists.ts';
import { firstTaskOf, taskSimilarity } from './tasks.ts';
import { timeFinished, type TimedModel } from './time-finished.ts';
import { testFinished, type TestResult } from './test-report.ts';

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
  const recipe = recipeSchema.parse({});
  const sourceOf = (images: readonly DatasetImage[]) =>
    createImageSource(
      images.map(({ file }): SourceImage => ({ file, region: null })),
      backbone,
      {
        rotation: recipe.rotation,
        maxPixels: recipe.maxPixels,
        signal,
      },
    );
  const source = sourceOf(dataset.train);
  say(`reading ${dataset.train.length} training images`);
  const readable = await readableImages(source);
  const unreadable = readable.failed.map(({ index }) => dataset.train[index]!.name);
  const images = readable.indices;
  const ledger = images.map((index, i) => {
    const { className, sha } = dataset.train[index]!;
    return { classId: className, sha, look: readable.looks[i]! };
  });
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
            backbone: backbone.sha256,
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
  const base = bench.base;
  const reference = await finishVariant('reference', native, base, bench.reference.bytes, finishOptions);
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
  const referenceLatency = referenceTimes.latency;
  const limits: OfferLimits = { maxDropPp: options.maxDropPp, latencyMs: options.latencyMs ?? null };
  // Offers and the recommendation: validation and time only. No test image has been opened so far.
  const offers = finished.map(({ record, finished: item }) => {
    const times = timed.get(record.id)!;
    const { latency, speedup, speedupInterval } = times;
    const lost = lossBetween(reference.compared, item.compared, record.unseen);
    const verdict = judgeOffer(
      {
        speedup,
        speedupInterval,
        lost,
        latencyMs: latency.p50,
        bytes: item.inspector.length,
        referenceBytes: reference.inspector.length,
        newDefects: newDefectsLost(reference, item),
      },
      limits,
    );
    return {
      record,
      item,
      times,
      latencyMs: latency.p50,
      // A student is compared on what it was not taught with: brought to one scale with the others.
      balancedAccuracy: reference.compared.balancedAccuracy - lost.accuracyPp / 100,
      ...verdict,
    };
  });
  const best = recommend(offers);
  const front = new Set(
    paretoFront([
      { id: 'reference', latencyMs: referenceLatency.p50, balancedAccuracy: reference.compared.balancedAccuracy },
      ...offers.map(({ record, latencyMs, balancedAccuracy: accuracy }) => ({
        id: record.id,
        latencyMs,
        balancedAccuracy: accuracy,
      })),
    ]).map(({ id }) => id),
  );
  front.delete('reference');

  say(`judging ${dataset.test.length} test images`);
  const testSource = sourceOf(dataset.test);
  const readableTest = await readableImages(testSource);
  unreadable.push(...readableTest.failed.map(({ index }) => dataset.test[index]!.name));
  if (readableTest.indices.length === 0) throw new AppError('DATASET_EMPTY', { path: join(options.dir, 'test') });
  const testOptions = {
    backbone,
    source: testSource,
    images: readableTest.indices,
    truth: readableTest.indices.map((index) => dataset.test[index]!.className),
    tasks,
    products,
    threads,
    signal,
  };
  const referenceTest = await testFinished(reference, testOptions);
  const testLedger = readableTest.indices.map((index, i): LedgerRow => {
    const { className, sha } = dataset.test[index]!;
    return { classId: className, sha, look: readableTest.looks[i]! };
  });
  const grouped = (item: Finished, test: TestResult) =>
    judgeGrouped(
      item,
      [
        { features: item.features, ledger },
        { features: test.features, ledger: testLedger },
      ],
      products,
      { signal },
    );
  const referenceGrouped = await grouped(reference, referenceTest);
  const groupedOf = (judged: Judged | null) =>
    referenceGrouped && judged ? groupedMeasures(referenceGrouped, judged) : null;
  const report = async (
    item: Finished,
    test: TestResult,
    { latency, energyMj }: TimedModel,
    validated: number,
  ): Promise<ReportedMeasures> => ({
    ...measuresOf(item, test.judged, latency),
    energyMj,
    latencyMsCold: latency.coldP50,
    validation: { balancedAccuracy: validated },
    rssBytes: (await options.residentBytes?.(item.inspector, item.card.inputSize)) ?? null,
  });
  const candidates: ReportedCandidate[] = [];
  const digest = dataDigest(
    readableTest.indices.map((i) => ({ sha: dataset.test[i]!.sha, classId: dataset.test[i]!.className })),
  );
  for (const offer of offers) {
    const test = await testFinished(offer.item, testOptions);
    const gates = [dropGate(discordantOf(referenceTest.judged, test.judged), criteria), parityGate(offer.item.parity)];
    const adapted = offer.record.variant.strategy === 'pre-prune' && adaptation?.backbone != null;
    const { student } = offer.record.made;
    const leftAlone = leftAloneOf(base, offer.record);
    const evidence = buildEvidence({
      reference: { finished: reference, judged: referenceTest.judged, latency: referenceLatency },
      candidate: { finished: offer.item, judged: test.judged, ...offer.times },
      active: null,
      basis: `${readableTest.indices.length} test images, opened after every choice was made`,
      gates,
      changed: [],
      environment,
      dataSha256: digest,
      leftAlone,
    });
    candidates.push({
      id: offer.record.id,
      strategy: offer.record.variant.strategy,
      precision: offer.record.variant.precision,
      ratio: offer.record.made.ratio,
      inputSize: offer.record.variant.inputSize,
      ...(await report(offer.item, test, offer.times, offer.balancedAccuracy)),
      speedup: offer.times.speedup,
      speedupInterval: offer.times.speedupInterval,
      accuracyDropPp: evidence.accuracyDropPp,
      offered: offer.offered,
      reason: offer.reason,
      parity: offer.item.parity,
      perClass: test.perClass,
      bwt: test.bwt,
      gates,
      // Labels of its training images would be recognised.
      grouped: adapted || student?.curriculum === 'tasks' ? null : groupedOf(await grouped(offer.item, test)),
      adapted,
      student,
      untouched: [...(leftAlone?.untouched ?? [])],
      unknownOperators: { ...leftAlone?.unknownOperators },
    });
    if (options.out !== undefined) {
      await replaceBundle(options.out, offer.record.id, {
        model: offer.item.inspector,
        card: offer.item.card,
        evidence,
      });
    }
  }

  await checkpoint?.remove();
  const chosen = best === null ? null : offers[best]!;
  return {
    reference: {
      ...(await report(reference, referenceTest, referenceTimes, reference.compared.balancedAccuracy)),
      inputSize: backbone.inputSize,
      perClass: referenceTest.perClass,
      bwt: referenceTest.bwt,
      grouped: groupedOf(referenceGrouped),
    },
    candidates,
    pareto: candidates.map(({ id }) => id).filter((id) => front.has(id)),
    recommended: chosen?.record.id ?? null,
    why: chosen
      ? `${describeVariant(chosen.record.variant, backbone.inputSize)}: ${chosen.reason} Nothing faster kept the accuracy within ${options.maxDropPp} pp on the training folds.`
      : whyNothing(offers, bench.skipped, limits),
    tasks,
    similarity: taskSimilarity(reference, tasks),
    adapted: adaptation?.backbone != null,
    ...(adaptation ? { adaptation: { reason: adaptation.reason, validation: adaptation.validation } } : {}),
    costModel: bench.costModel(),
    operationsScore:
      chosen &&
      operationsScore({
        balancedAccuracy: chosen.balancedAccuracy,
        latencyMs: chosen.latencyMs,
        latencyLimitMs: options.latencyMs ?? referenceLatency.p50,
        minutes: (performance.now() - startedAt) / 60_000,
      }),
    tried: [...bench.records.values()].map(({ id, balancedAccuracy: accuracy, speedup }) => ({
      id,
      balancedAccuracy: accuracy,
      speedup,
    })),
    skipped: bench.skipped.map(({ id, problem }) => ({ id, problem })),
    unreadable,
    outOfTime,
    resumedTrials: bench.taken,
    environment,
    energy,
    images: { train: images.length, test: readableTest.indices.length },
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
