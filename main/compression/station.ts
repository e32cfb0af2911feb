import type { z } from 'zod';
import type { Recipe } from '../contract/domain.ts';
import type { trainerMethods } from '../contract/trainer.ts';
import { openProducts, type Products } from '../learning/dense.ts';
import { isPoor } from '../learning/statistics-map.ts';
import type { TrainerOptions } from '../learning/update.ts';
import { tilesOf } from '../vision/tiles.ts';
import { cancellable } from './cancellable.ts';
import { leftAloneOf } from './evidence/evidence.ts';
import { hasFailed } from './evidence/gates.ts';
import { measureInterleaved } from './evidence/latency.ts';
import { makeGoodPartsCandidate } from './good-parts.ts';
import { finishVariant, holdsFinished, type Finished } from './finish.ts';
import { judgeFinished } from './judge-finished.ts';
import { floatOf } from './parity-stages.ts';
import type { Measure } from './plan/contender.ts';
import { keepsLimits } from './plan/evaluate.ts';
import { chooseFinalists, finishFinalists } from './plan/finalists.ts';
import { recommend } from './plan/offers.ts';
import type { TrialBench, TrialRecord } from './plan/trials.ts';
import { describeVariant, variantId, type Variant } from './plan/variant.ts';
import { writeCandidates, type StationOffer } from './station-evidence.ts';
import { readStationImages, type StationImages } from './station-images.ts';
import { openProgress, type StationProgress } from './station-progress.ts';
import { isComparable, searchForStation } from './station-search.ts';
import { timeFinished } from './time-finished.ts';

export type CompressStationInput = z.infer<(typeof trainerMethods)['trainer.compress']['input']>;
export type CompressStationOutput = z.infer<(typeof trainerMethods)['trainer.compress']['output']>;

export interface CompressStationOptions extends TrainerOptions {
  /** Told once when what is measured cannot be kept: the search goes on without. */
  onProblem?: ((problem: string) => void) | undefined;
  /** Replaces the clock in tests. */
  measure?: Measure | undefined;
}

/** 300 runs give a bound of the 99th percentile. */
const TIMED_ROUNDS = 310;
/** A part of many tiles takes longer, and the bound needs its runs all the same: time for timing, ms, and as many times that at most. */
const TIMING_MS = 30_000;
const MOST_TIMES = 4;

/**
 * Makes, measures and judges compressed models of a station from its labelled images. All accuracies are held out over the
 * five folds of the labels. The uncompressed model is among the candidates, last, so that there is always one to approve.
 * @throws what readStationImages and searchForStation throw, BUNDLE_ALTERED of the active model, CANCELLED, HOME_NOT_WRITABLE, DISK_FULL
 */
export const compressStation = (
  input: CompressStationInput,
  options: CompressStationOptions = {},
): Promise<CompressStationOutput> => cancellable(options.signal, () => compress(input, options));

/** What all steps after the search work with. */
interface Run {
  input: CompressStationInput;
  read: StationImages;
  /** Whether its pictures tell what compressing costs. */
  comparable: boolean;
  bench: TrialBench;
  products: Products;
  progress: StationProgress;
  measure: Measure;
  signal: AbortSignal | undefined;
}

async function compress(
  input: CompressStationInput,
  { onProgress, signal, onProblem, measure = measureInterleaved }: CompressStationOptions,
): Promise<CompressStationOutput> {
  const progress = openProgress(input.enough ? null : input.timeBudgetS, onProgress);
  const { report } = progress;
  const read = await readStationImages(input, { signal, onCount: (images) => report(0, 'compress.read', { images }) });
  if ('onlyGood' in read) return makeGoodPartsCandidate(input, read.onlyGood, { measure, signal, report });
  await using products = openProducts({ threads: input.threads });
  report(0.05, 'compress.reference');
  const comparable = isComparable(read);
  const bench = await searchForStation(input, read, { comparable, products, progress, measure, onProblem, signal });
  const run = { input, read, comparable, bench, products, progress, measure, signal };
  const done = await finish(run);
  report(0.87, 'compress.time');
  const { offers, referenceLatency, anyFaster } = await offer(run, done);
  report(0.93, 'compress.compare');
  const made = await writeCandidates(offers, {
    ...done.options,
    reference: done.reference,
    referenceLatency,
    activeBundleDir: input.activeBundleDir,
    successors: input.successors ?? [],
    outDir: input.outDir,
    nameOf: read.nameOf,
  });
  report(1, 'compress.done', { candidates: made.length });
  // What no supervisor could approve is not recommended, however good it is beside the others; nor what is uncertain of classes that others know.
  const approvable = offers.filter(
    ({ finished }, i) => !hasFailed(made[i]!.evidence.gates) && !isPoor(finished.mapFit),
  );
  const faster = approvable.filter(({ id }) => id !== done.referenceId);
  const best = recommend(faster);
  const chosen = best === null ? approvable.find(({ id }) => id === done.referenceId) : faster[best]!;
  return {
    candidates: made.map((each) => ({ ...each, recommended: each.card.id === chosen?.id })),
    why:
      chosen && chosen.id !== done.referenceId
        ? `${describeVariant(chosen.finished.variant, input.backbone.inputSize)}: ${chosen.reason}`
        : whyUncompressed(run, { chosen: chosen !== undefined, anyFaster }),
  };
}

/** The uncompressed model and the finalists, each with its head solved anew. */
interface Done {
  options: ReturnType<typeof finishOptionsOf>;
  reference: Finished;
  referenceId: string;
  entries: Pick<StationOffer, 'id' | 'ratio' | 'unseen' | 'leftAlone' | 'finished' | 'float'>[];
}

const finishOptionsOf = ({ input, read, bench, products, signal }: Run) => ({
  backbone: input.backbone,
  source: read.source,
  images: read.images,
  ledger: read.ledger,
  classes: input.classes,
  criteria: input.criteria,
  recipe: input.recipe satisfies Recipe,
  identity: { demo: input.demo, stationId: input.stationId, knowledgeId: input.knowledgeId },
  products,
  threads: input.threads,
  lineThreads: input.lineThreads,
  views: bench.views,
  others: read.others,
  now: () => new Date(),
  signal,
});

async function finish(run: Run): Promise<Done> {
  const { bench, progress } = run;
  const { backbone, criteria, candidateIds } = run.input;
  const { others } = run.read;
  const { maxDropPp } = criteria;
  const wanted = candidateIds.length;
  const records = [...bench.records.values()];
  const within = (record: TrialRecord) => keepsLimits(record, maxDropPp);
  const found = chooseFinalists(records, { maxDropPp, all: false });
  // Those within the bound first. The last place is the uncompressed model's; a single place goes to it if nothing else holds.
  const ordered = [...found.filter(within), ...(wanted > 1 ? found.filter((record) => !within(record)) : [])];
  const places = Math.max(1, wanted - 1);
  const finalists = ordered.slice(0, places);

  const options = finishOptionsOf(run);
  const tell = (done: number, variant: Variant) =>
    progress.report(done, 'compress.finish', { variant: describeVariant(variant, backbone.inputSize) });
  const native: Variant = { strategy: 'none', ratio: 0, inputSize: backbone.inputSize, precision: 'fp32' };
  // The last id is nobody else's.
  const referenceId = (wanted > 1 || finalists.length === 0 ? candidateIds.at(-1) : undefined) ?? 'reference';
  tell(0.62, native);
  const reference = await finishVariant(referenceId, native, bench.base, bench.reference.bytes, options);
  const entries = await finishFinalists(
    finalists,
    records,
    { maxDropPp, places },
    {
      async finish(record, place) {
        const { variant, made, unseen } = record;
        tell(0.65 + (0.2 * place) / finalists.length, variant);
        const id = candidateIds[place]!;
        // What changed nothing of the backbone has the features that the sums are of.
        const from = variantId(variant) === variantId(native) ? null : reference.features;
        const finished = await finishVariant(id, variant, made.model, made.bytes, {
          ...options,
          others: others && { ...others, from },
        });
        const leftAlone = leftAloneOf(bench.base, record);
        return { id, ratio: made.ratio, unseen, leftAlone, finished, float: floatOf(record, bench.records) };
      },
      holds: ({ unseen, finished }) => holdsFinished(reference, finished, unseen, maxDropPp),
    },
  );
  return { options, reference, referenceId, entries };
}

/** Times what is finished and judges it; the uncompressed model is the last offer where there is a place for it. */
async function offer(run: Run, done: Done) {
  const { input, read, measure, signal } = run;
  const { reference, referenceId, entries } = done;
  const { models: timed } = await timeFinished([reference, ...entries.map(({ finished }) => finished)], {
    source: read.source,
    image: read.images[0]!,
    threads: input.lineThreads,
    measure,
    rounds: TIMED_ROUNDS,
    budgetMs: TIMING_MS * Math.min(MOST_TIMES, tilesOf(input.recipe)),
    signal,
  });
  const referenceLatency = timed.get(referenceId)!.latency;
  const limits = { maxDropPp: input.criteria.maxDropPp, latencyMs: null };
  const offers = entries.map((entry): StationOffer => {
    const { id, unseen, finished } = entry;
    const times = timed.get(id)!;
    const { latency, speedupInterval } = times;
    return { ...entry, latency, speedupInterval, ...judgeFinished(reference, finished, times, unseen, limits) };
  });
  const anyFaster = offers.some(({ offered }) => offered);
  if (input.candidateIds.length > entries.length) {
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
      reason: uncompressedBecause(run, anyFaster),
    });
  }
  return { offers, referenceLatency, anyFaster };
}

function uncompressedBecause({ comparable }: Run, anyFaster: boolean): string {
  if (!comparable)
    return 'Not compressed: pictures of a single class, or of one part of each other class, do not show what compressing costs.';
  return anyFaster
    ? 'Not compressed: for comparison, or where the smaller one is not wanted.'
    : 'Not compressed: nothing faster kept the accuracy.';
}

function whyUncompressed(
  { input, read, comparable }: Run,
  { chosen, anyFaster }: { chosen: boolean; anyFaster: boolean },
): string {
  const nothing = !comparable
    ? 'pictures of a single class, or of one part of each other class, do not show what compressing costs'
    : anyFaster
      ? `each faster one on offer fails a gate${read.others ? ' or has a poor map of what other stations gave' : ''}`
      : `nothing faster kept the balanced accuracy within ${input.criteria.maxDropPp} pp`;
  return chosen ? `The uncompressed model: ${nothing}.` : `None: ${nothing}, and no uncompressed model passes.`;
}
