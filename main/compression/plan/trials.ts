import { createHash } from 'node:crypto';
import type { Backbone } from '../../contract/domain.ts';
import { isAppError, type ErrorCode } from '../../contract/errors.ts';
import type { Products } from '../../learning/dense.ts';
import { embed } from '../../learning/embedding.ts';
import { heldOutNovelty, noveltyLossOf } from '../../learning/held-out-novelty.ts';
import { solveKnowledge } from '../../learning/knowledge.ts';
import { rowsOfManyParts, type Choice, type LedgerRow } from '../../learning/selection.ts';
import { encodeModel, type Model } from '../../onnx/index.ts';
import { createOrtEngine } from '../../training/ort/engine.ts';
import { costModelOf, type measureLayers } from '../cost/cost-model.ts';
import { keptLayerTable } from '../cost/layer-table.ts';
import { epochsWithin } from '../distill/epochs.ts';
import { taskLessons } from '../distill/task-lessons.ts';
import type { Teaching } from '../distill/teach-student.ts';
import { describeEnvironment, integerWeightBits } from '../environment.ts';
import type { ImageSource } from '../image-source.ts';
import { linearHead } from '../prune/linear-head.ts';
import type { ImportanceOptions } from '../prune/measures.ts';
import { affordableRows, teachingMsWithin, viewMs } from './budget.ts';
import { floatsWhereNeeded } from './careful.ts';
import type { Checkpoint, Outcome } from './checkpoint.ts';
import { openContender, resizeMs, timePair, type Measure } from './contender.ts';
import { comparedOf, featuresOf, lossBetween, stagesOf, validate, type Compared } from './evaluate.ts';
import { apartImages, groupedFolds, untaughtImages } from './held-apart.ts';
import { inputSizesOf } from './finalists.ts';
import { SLACK_PP, type Trial } from './search.ts';
import { variantId, type Variant } from './variant.ts';
import { affordableViews, seenAgain } from './views.ts';
import { openWorkshop, type AdaptedBackbone, type Made } from './workshop.ts';

/** What is kept of a trial for the report. */
export interface TrialRecord extends Trial {
  id: string;
  made: Made;
  /** Ledger rows whose images the model was not taught with; null: all. */
  unseen: ReadonlySet<number> | null;
  /** Speed-up that the cost model would have told; null: it could not. */
  predictedSpeedup: number | null;
}

export interface TrialBench {
  /** The uncompressed backbone at its own size. */
  readonly reference: Compared & { latencyMs: number; bytes: Uint8Array };
  /** In how many views models are compared (views.ts). */
  readonly views: number;
  /** The uncompressed backbone, its feature outputs only. */
  readonly base: Model;
  readonly records: ReadonlyMap<string, TrialRecord>;
  /** How well layers measured alone tell the time of whole networks: median over the trials; null: nothing was profiled or tried. */
  costModel(): { medianErrorPct: number; layers: number; networks: number } | null;
  /** Variants that could not be made or run, with the reason. */
  readonly skipped: readonly { id: string; variant: Variant; problem: string }[];
  /** Trials that a run before this one had measured. */
  readonly taken: number;
  /** Clock of the search, ms: what the run before took counts too. */
  now(): number;
  evaluate(variant: Variant): Promise<Trial | null>;
  /** A run before this one has, and what it found can be read. */
  isMeasured(variant: Variant): Promise<boolean>;
}

export interface TrialOptions {
  backbone: Backbone;
  bytes: Uint8Array;
  source: ImageSource;
  /** Rows of the source that may be used: training images only, in ledger order. */
  images: readonly number[];
  /** One entry per image of `images`. */
  ledger: readonly LedgerRow[];
  /** Those of `images` that belong to the first task. */
  firstTask: readonly number[];
  /** How students begin and are taught; default: the pruned backbone, by its features alone. */
  students?: Pick<Teaching, 'starts' | 'curricula'>;
  /** Classes of each task: what a student that learns from labels goes through. */
  tasks?: readonly (readonly string[])[];
  /** What pre-pruning starts from; default: the backbone as it is. */
  adapted?: AdaptedBackbone | null;
  products: Products;
  /** Of all that is made and judged here. */
  threads: number;
  /** Of the line: what is timed and profiled runs with these; default: `threads`. */
  lineThreads?: number | undefined;
  /** What pruning goes by; default: reconstruction. */
  importance?: ImportanceOptions | undefined;
  seed: number;
  signal?: AbortSignal | undefined;
  measure: Measure;
  /** Profiles layers on this PC, and where the times are kept (null: nowhere); null: multiply-accumulates stand for time. */
  costs: { measure: typeof measureLayers; folder: string | null } | null;
  /** Greatest expected loss of balanced accuracy, percentage points; above it integers are tried with the worst layers kept float. */
  maxDropPp: number;
  /** Time for the whole search; decides how many images it looks at. */
  budgetMs: number;
  /** Where trials are kept; null or none: nowhere. */
  checkpoint?: Checkpoint | null;
  onProgress?: ((share: number) => void) | undefined;
}

/** In less time a profile (some seconds, most of them for the integer form) costs more trials than it is worth. */
const LEAST_PROFILED_MS = 40_000;

/** How a network that was made turns out to be none: refused by the runtime, its input too small for one of its layers, or not giving numbers. */
const CANNOT_RUN: ReadonlySet<ErrorCode> = new Set(['MODEL_UNREADABLE', 'BACKBONE_UNSUITABLE', 'SINGULAR_STATISTICS']);

/** Rows of some images. */
const rowsOf = (some: ReadonlySet<number>, images: readonly number[]): ReadonlySet<number> =>
  new Set(images.flatMap((image, row) => (some.has(image) ? [row] : [])));

export async function openTrials(options: TrialOptions): Promise<TrialBench> {
  const { backbone, source, ledger, products, threads, lineThreads = threads, signal, measure } = options;
  const image = options.images[0]!;
  const contender = (name: string, model: Uint8Array, inputSize: number, ownThreads: number) =>
    openContender(name, model, {
      inputName: backbone.inputName,
      inputSize,
      backbone,
      source,
      image,
      threads: ownThreads,
    });
  const folds = groupedFolds(ledger);
  const untaught = untaughtImages(options.images, folds);
  const classOfImage = new Map(options.images.map((image, row) => [image, ledger[row]!.classId]));
  const classOf = (image: number): string => classOfImage.get(image)!;
  const workshop = openWorkshop({
    ...options,
    classOf,
    // What they learnt by heart would else be taken for what they can: magnetic_tile, held out over all training images: a student 3.0 pp above the
    // original, and 2.8 below it on all images in five folds.
    untaught,
    apart: apartImages(options.images, ledger, folds),
    teaching: {
      engine: createOrtEngine(),
      ...options.students,
      lessons: options.tasks && (() => lessonsOf(options.tasks!)),
      async judge(student, size) {
        const own = await featuresOf(backbone, student, size, source, images, { threads, signal });
        const held = comparedOf(await validate(own, backbone, part, products, { signal }), part);
        return lossBetween(reference, held, rowsOf(untaught, images)).certaintyPp;
      },
      async epochs(student, size) {
        // Teaching runs with the trainer's threads.
        await using taught = await contender('student', student, size, threads);
        await using whole = await contender('teacher', baseBytes, size, threads);
        const times = await measure([taught, whole], { rounds: 10, warmUp: 2, signal, budgetMs: 1000 });
        return epochsWithin(teachingMsWithin(options.budgetMs) / 1000, options.images.length, {
          student: times.get('student')!.p50,
          teacher: times.get('teacher')!.p50,
          view: await viewMs(options, size),
        });
      },
    },
  });
  const baseBytes = encodeModel(workshop.base);
  const checkpoint = options.checkpoint ?? null;
  const decided: Checkpoint['decided'] = async (what, decide) => checkpoint?.decided(what, decide) ?? decide();
  const rows = rowsOfManyParts(ledger, await decided('rows', () => affordableRows(baseBytes, options)));
  const images = rows.map((row) => options.images[row]!);
  const part = rows.map((row) => ledger[row]!);
  const run = { threads, signal, onProgress: options.onProgress };
  const passedAt = performance.now();
  const features = await featuresOf(backbone, baseBytes, backbone.inputSize, source, images, run);
  const passMs = performance.now() - passedAt;
  const views = await decided('views', () => affordableViews(options.budgetMs, passMs));
  const validation = await validate(features, backbone, part, products, { signal });
  const newDefectsOf = (raw: Float32Array, choice: Choice) =>
    heldOutNovelty(embed(raw, stagesOf(backbone)), part, choice, products, signal);
  const newDefects = await newDefectsOf(features, validation);
  if (options.importance?.measures.includes('head')) {
    const asked = { features, stages: stagesOf(backbone), ledger: part, okIds: new Set<string>() };
    const { knowledge } = await solveKnowledge({ ...asked, criteria: { maxEscape: 1, maxOverkill: 1 } }, { products });
    workshop.useHead(linearHead(backbone, features, knowledge.weights));
  }
  const records = new Map<string, TrialRecord>();
  const skipped: { id: string; variant: Variant; problem: string }[] = [];
  const again = { backbone, source, images, ledger: part, products, threads, signal };
  const referenceOnce = {
    bytes: baseBytes,
    inputSize: backbone.inputSize,
    compared: comparedOf(validation, part),
    choice: validation,
  };
  const reference = {
    ...(await seenAgain(referenceOnce, views, again)),
    latencyMs: Number.NaN,
    bytes: baseBytes,
  };

  const costs = options.costs && (await profileLayers(options.costs));
  if (costs) workshop.useCosts(costs);
  const preparing = new Map<number, number>();
  /** Time that a network should take, resize included. */
  const predictedMs = async (model: Model, size: number): Promise<number | null> => {
    const network = costs?.network(model, size) ?? null;
    if (network === null) return null;
    const known = preparing.get(size) ?? resizeMs((await source.view(image)).image, size, backbone);
    preparing.set(size, known);
    return network + known;
  };

  /**
   * Layers of the uncompressed backbone at two sizes, in floats and in integers. Null: it cannot be profiled, is no network of known layers, or nothing is
   * kept and the time is too short.
   */
  async function profileLayers({ measure: profile, folder }: NonNullable<TrialOptions['costs']>) {
    const size = backbone.inputSize;
    const small = inputSizesOf(backbone).findLast((each) => each >= size / 2) ?? size;
    const sizes = [...new Set([size, small])];
    const key = {
      ...describeEnvironment(lineThreads),
      weightBits: integerWeightBits(),
      graph: createHash('sha256').update(baseBytes).digest('hex'),
      sizes,
    };
    try {
      const table = await keptLayerTable(folder, key, async () => {
        if (options.budgetMs < LEAST_PROFILED_MS) return null;
        const integer = await workshop.make({ strategy: 'none', ratio: 0, inputSize: small, precision: 'int8' });
        const networks = sizes.map((at) => ({ model: workshop.base, size: at }));
        return profile([...networks, { model: integer.model, size: small }], { threads: lineThreads });
      });
      return table && costModelOf(table);
    } catch (error) {
      if (!isAppError(error) || error.code === 'CANCELLED') throw error;
      return null;
    }
  }

  /** The teacher's classifier after each task, from images that students are taught with. */
  const lessonsOf = (tasks: readonly (readonly string[])[]) =>
    taskLessons({
      tasks,
      features,
      stages: stagesOf(backbone),
      ledger: part,
      taught: part.flatMap((_, row) => (untaught.has(images[row]!) ? [] : [row])),
      classOf,
      validation,
      products,
    });

  const measureMade = async (id: string, variant: Variant, made: Made): Promise<TrialRecord> => {
    const own = await featuresOf(backbone, made.bytes, variant.inputSize, source, images, {
      ...run,
      onProgress: undefined,
    });
    const held = await validate(own, backbone, part, products, { signal });
    const { bytes } = made;
    const { inputSize } = variant;
    const unseen = made.untaught && rowsOf(made.untaught, images);
    const once = comparedOf(held, part);
    // A look at more views is for what may be kept.
    const hopeless = lossBetween(reference, once, unseen).expectedPp > options.maxDropPp + SLACK_PP;
    const compared = hopeless
      ? once
      : await seenAgain({ bytes, inputSize, compared: once, choice: held }, views, again);
    const lost = lossBetween(reference, compared, unseen);
    const others = newDefects && (await newDefectsOf(own, held));
    await using original = await contender('reference', baseBytes, backbone.inputSize, lineThreads);
    await using changed = await contender(id, made.bytes, variant.inputSize, lineThreads);
    const [predictedBefore, predictedAfter] = [
      await predictedMs(workshop.base, backbone.inputSize),
      await predictedMs(made.model, variant.inputSize),
    ];
    const predictedSpeedup = predictedBefore && predictedAfter ? predictedBefore / predictedAfter : null;
    const { beforeMs, afterMs } = await timePair(measure, [original, changed], predictedSpeedup, signal);
    if (Number.isNaN(reference.latencyMs)) reference.latencyMs = beforeMs;
    const speedup = beforeMs / afterMs;
    return {
      id,
      variant,
      // On one scale with models that are compared on all rows.
      balancedAccuracy: reference.balancedAccuracy - lost.accuracyPp / 100,
      loss: reference.loss + lost.certaintyPp / 100,
      lost,
      newDefects: newDefects && others && noveltyLossOf(newDefects, others),
      // Brought to one scale: the reference's time differs from one measurement to the next.
      latencyMs: reference.latencyMs / speedup,
      speedup,
      bytes: made.bytes.length,
      made,
      unseen: made.untaught && rowsOf(made.untaught, options.images),
      predictedSpeedup,
    };
  };

  const attempt = async (id: string, variant: Variant): Promise<Outcome> => {
    let made: Made | null = null;
    try {
      made = await workshop.make(variant);
      const { careful } = made;
      const measureCareful = careful && (async () => measureMade(id, variant, await careful()));
      return await floatsWhereNeeded(await measureMade(id, variant, made), measureCareful, options.maxDropPp);
    } catch (error) {
      // What this backbone does not allow is an answer, not a failure of the search; a bug is thrown on, and so is a picture that is gone by now.
      const isAnswer = isAppError(error) && error.code !== 'CANCELLED' && (made === null || CANNOT_RUN.has(error.code));
      if (!isAnswer) throw error;
      return { problem: error.message };
    }
  };

  /** Given up where the process has ended with it time and again. */
  const attemptOnce = async (id: string, variant: Variant): Promise<Outcome> => {
    const done = checkpoint ? await checkpoint.begin(id) : async () => {};
    if (done === null) return { problem: 'the program ended each time it was tried' };
    try {
      return await attempt(id, variant);
    } finally {
      await done();
    }
  };

  let taken = 0;
  let spentMs = 0;
  return {
    base: workshop.base,
    views,
    reference,
    records,
    skipped,
    get taken() {
      return taken;
    },
    now: () => performance.now() + spentMs,
    costModel() {
      const errors = [...records.values()].flatMap(({ predictedSpeedup, speedup }) =>
        predictedSpeedup === null ? [] : [Math.abs(predictedSpeedup / speedup - 1)],
      );
      errors.sort((a, b) => a - b);
      return costs && errors.length > 0
        ? { medianErrorPct: 100 * errors[errors.length >> 1]!, layers: costs.layers, networks: errors.length }
        : null;
    },
    isMeasured: async (variant) => ((await checkpoint?.take(variantId(variant))) ?? null) !== null,
    async evaluate(variant) {
      const id = variantId(variant);
      const kept = (await checkpoint?.take(id)) ?? null;
      const before = performance.now();
      const outcome = kept?.outcome ?? (await attemptOnce(id, variant));
      if (kept) {
        taken += 1;
        spentMs += kept.ms;
        if (Number.isNaN(reference.latencyMs)) reference.latencyMs = kept.referenceMs ?? Number.NaN;
      } else {
        const referenceMs = Number.isNaN(reference.latencyMs) ? null : reference.latencyMs;
        await checkpoint?.keep(id, { ms: performance.now() - before, referenceMs, outcome });
      }
      if ('problem' in outcome) {
        skipped.push({ id, variant, problem: outcome.problem });
        return null;
      }
      records.set(id, outcome);
      return outcome;
    },
  };
}
