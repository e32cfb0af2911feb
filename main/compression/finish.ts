import { createHash } from 'node:crypto';
import type {
  Backbone,
  CandidateStrategy,
  Criteria,
  DefectClass,
  ModelCard,
  Parity,
  ParitySample,
  Recipe,
} from '../contract/domain.ts';
import { modelCardSchema } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { assembleInspector } from '../learning/assemble.ts';
import type { Matrix, Products } from '../learning/dense.ts';
import { embed } from '../learning/embedding.ts';
import { heldOutByHeads, type OtherSums } from '../learning/held-out-heads.ts';
import { heldOutNovelty, noveltyLossOf, type HeldOutNovelty, type NoveltyLoss } from '../learning/held-out-novelty.ts';
import { logitsOf, solveKnowledge, type SolvedKnowledge } from '../learning/knowledge.ts';
import { pick, sampleOfParts, type CrossValidation, type LedgerRow } from '../learning/selection.ts';
import type { Statistics } from '../learning/statistics.ts';
import type { MapFit } from '../learning/statistics-map.ts';
import { decodeModel, modelCost, type Model } from '../onnx/index.ts';
import { openSession } from '../runtime/session.ts';
import type { ImageSource } from './image-source.ts';
import { parityOf } from './evidence/parity.ts';
import { carryOver, type SumsOfOthers } from './sums-of-others.ts';
import { madeSample } from './parity-sample.ts';
import {
  comparedOf,
  featuresOf,
  keepsLimits,
  lossBetween,
  stagesOf,
  validate,
  type Compared,
} from './plan/evaluate.ts';
import { MANY_ROWS } from './plan/repeated-folds.ts';
import { type Variant } from './plan/variant.ts';
import { seenAgain } from './plan/views.ts';

/** A variant with its head solved anew on its own features, as the one file that the line would load. */
export interface Finished {
  variant: Variant;
  /** The compressed backbone alone. */
  backboneBytes: Uint8Array;
  inspector: Uint8Array;
  card: ModelCard;
  knowledge: SolvedKnowledge;
  /** Of the labelled images alone. */
  statistics: Statistics;
  /** Raw, of the labelled images in ledger order. */
  features: Float32Array;
  /** Held-out logits of the labelled images, of all classes that the head knows. */
  validation: CrossValidation;
  /** What models are compared by, and what evidence shows: held out with whole groups of near-duplicates (plan/evaluate.ts), in several views; or once, by heads that other stations' sums are in. */
  compared: Compared;
  macs: number;
  params: number;
  /** The file beside the pipeline that was measured. */
  parity: Parity;
  sample: ParitySample;
  /** How well classes that were held out are told from the others; null: too few classes. */
  newDefects: HeldOutNovelty | null;
  /** Of the map that brought other stations' sums to the model's features; null: there are none, or they were added as they are. */
  mapFit: MapFit | null;
}

/** Whether a finished model keeps the limits against the uncompressed one. @param rows ledger rows that are compared; null: all */
export const holdsFinished = (
  reference: Finished,
  other: Finished,
  rows: ReadonlySet<number> | null,
  maxDropPp: number,
): boolean =>
  keepsLimits(
    { lost: lossBetween(reference.compared, other.compared, rows), newDefects: newDefectsLost(reference, other) },
    maxDropPp,
  );

/** What a model loses of the uncompressed one's sense for new defects; null: it cannot be told. */
export const newDefectsLost = (reference: Finished, other: Finished): NoveltyLoss | null =>
  reference.newDefects && other.newDefects ? noveltyLossOf(reference.newDefects, other.newDefects) : null;

export interface FinishOptions {
  backbone: Backbone;
  source: ImageSource;
  /** Labelled images, in ledger order. */
  images: readonly number[];
  ledger: readonly LedgerRow[];
  classes: readonly Pick<DefectClass, 'id' | 'names' | 'isOk'>[];
  criteria: Criteria;
  recipe: Recipe | null;
  identity: Pick<ModelCard, 'demo' | 'stationId' | 'knowledgeId'>;
  products: Products;
  threads: number;
  /** Of the line that will inspect: what the file says is told with them, as its evidence states. Default: threads. */
  lineThreads?: number;
  /** What other stations gave; absent: nothing. */
  others?: SumsOfOthers | null;
  /** In how many views models are compared (plan/views.ts); default: 1. Of many images one is enough. */
  views?: number;
  now: () => Date;
  signal?: AbortSignal | undefined;
  onProgress?: ((share: number) => void) | undefined;
}

/** Images on which a model is compared with what it was before. */
const PARITY_IMAGES = 48;

/** Ledger rows that are compared, spread evenly over all. */
export const parityRows = (images: number): number[] => {
  const count = Math.min(PARITY_IMAGES, images);
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * images) / count));
};

/** Views of the rows. */
export const rowsOfMatrix = ({ rows, columns, data }: Matrix): Float64Array[] =>
  Array.from({ length: rows }, (_, row) => data.subarray(row * columns, (row + 1) * columns));

/** @throws CANCELLED, TOO_FEW_CLASSES, FEATURES_NOT_FINITE, SINGULAR_STATISTICS, MODEL_UNREADABLE */
export async function finishVariant(
  id: string,
  variant: Variant,
  model: Model,
  backboneBytes: Uint8Array,
  options: FinishOptions,
): Promise<Finished> {
  const { backbone, source, images, ledger, products, threads, signal } = options;
  const features = await featuresOf(backbone, backboneBytes, variant.inputSize, source, images, {
    threads,
    signal,
    onProgress: (share) => options.onProgress?.(0.7 * share),
  });
  const stages = stagesOf(backbone);
  const carried = options.others ? await carryOver(options.others, features, { ...options, stages }) : null;
  const { knowledge, crossValidation, statistics } = await solveKnowledge(
    {
      features,
      stages,
      ledger,
      okIds: new Set(options.classes.filter(({ isOk }) => isOk).map((item) => item.id)),
      criteria: options.criteria,
      others: carried?.others ?? null,
      judged: sampleOfParts(ledger),
    },
    { products, ...(signal ? { signal } : {}), onProgress: (share) => options.onProgress?.(0.7 + 0.2 * share) },
  );
  const choice = await validate(features, backbone, ledger, products, { signal });
  const compared = carried
    ? await comparedBeside(carried.others, choice, features, options)
    : await seenAgain(
        { bytes: backboneBytes, inputSize: variant.inputSize, compared: comparedOf(choice, ledger), choice },
        images.length > MANY_ROWS ? 1 : (options.views ?? 1),
        options,
      );
  const newDefects = await heldOutNovelty(embed(features, stages), ledger, knowledge, products, signal);
  const inspector = assembleInspector({ model, backbone, knowledge });
  const byId = new Map(options.classes.map((item) => [item.id, item]));
  const card = modelCardSchema.parse({
    format: 1,
    id,
    createdAt: options.now().toISOString(),
    ...options.identity,
    backboneId: backbone.id,
    backboneSha256: backbone.sha256,
    modelSha256: createHash('sha256').update(inspector).digest('hex'),
    inputSize: variant.inputSize,
    mean: backbone.mean,
    std: backbone.std,
    classes: knowledge.classes.map(({ classId }) => {
      const known = byId.get(classId);
      if (!known) throw new AppError('NOT_FOUND', { kind: 'class', id: classId });
      return { id: classId, names: known.names, isOk: known.isOk };
    }),
    temperature: knowledge.temperature,
    thresholds: knowledge.thresholds,
    strategy: (variant.strategy === 'none' && variant.inputSize !== backbone.inputSize
      ? 'size'
      : variant.strategy) satisfies CandidateStrategy,
    precision: variant.precision,
    recipe: options.recipe,
  } satisfies ModelCard);
  const cost = modelCost(decodeModel(inspector, id), [1, 3, variant.inputSize, variant.inputSize], {
    unknownOps: 'unknown',
  });
  const { parity, sample } = await measureParity(inspector, card, features, knowledge, options);
  options.onProgress?.(1);
  return {
    variant,
    backboneBytes,
    inspector,
    card,
    knowledge,
    statistics,
    features,
    validation: crossValidation,
    compared,
    macs: cost.macs,
    params: cost.params,
    parity,
    sample,
    newDefects,
    mapFit: carried?.fit ?? null,
  };
}

/** On the same folds by heads that other stations' sums are in: of one drawing and one view, since each fold is a map and a head of the full width. */
async function comparedBeside(
  others: OtherSums,
  choice: CrossValidation,
  features: Float32Array,
  { backbone, ledger, products, signal }: FinishOptions,
): Promise<Compared> {
  const picked = pick(embed(features, stagesOf(backbone)), choice.rows);
  const beside = await heldOutByHeads(choice, choice, picked, ledger, others, { products, signal });
  return comparedOf(beside, ledger, new Set(others.counts.keys()));
}

/** The file against features -> embedding -> head in float64, on the same images; and what it said, for other PCs. */
async function measureParity(
  inspector: Uint8Array,
  card: ModelCard,
  features: Float32Array,
  knowledge: SolvedKnowledge,
  options: FinishOptions,
): Promise<{ parity: Parity; sample: ParitySample }> {
  const { inputSize } = card;
  const { backbone, source, images, ledger, products, lineThreads = options.threads } = options;
  const rows = parityRows(images.length);
  const wanted = await logitsOf(knowledge, embed(features, stagesOf(backbone), rows), products);
  await using session = await openSession(inspector, { threads: lineThreads, name: 'parity' });
  const pictures: ParitySample['pictures'] = [];
  for (const row of rows) {
    const data = await source.tensor([images[row]!], inputSize);
    const result = await session.run(
      { [session.inputs[0]!]: { type: 'float32', dims: [1, 3, inputSize, inputSize], data } },
      ['logits'],
    );
    const logits = result['logits']!.data as Float32Array;
    pictures.push({ imageSha: ledger[row]!.sha, region: source.region(images[row]!), logits: [...logits] });
  }
  const said = rowsOfMatrix(wanted);
  const parity = parityOf(pictures.map(({ logits }, i) => [logits, said[i]!]));
  const sample = { rotation: options.recipe?.rotation ?? 0, pictures, made: await madeSample(session, card) };
  return { parity, sample };
}
