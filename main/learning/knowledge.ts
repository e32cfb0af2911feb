import type { Criteria } from '../contract/domain.ts';
import { AppError, assert } from '../contract/errors.ts';
import { fitTemperature, fitThresholds, type HeldOut } from './calibration.ts';
import type { Matrix, Products } from './dense.ts';
import { embed, embeddingSize, type Stages } from './embedding.ts';
import { partOf } from './folds.ts';
import { fitNoveltyScale, fitSpace, heldOutSigns, type NoveltyInput, type NoveltyModel } from './novelty-score.ts';
import { countsOf, countsWith, heldOutByHeads, type OtherSums } from './held-out-heads.ts';
import {
  crossValidateSample,
  judgedRows,
  pick,
  sampleOf,
  type Choice,
  type CrossValidation,
  type LedgerRow,
  type Sample,
} from './selection.ts';
import { classWeights, solveWeighted } from './solve.ts';
import { Statistics } from './statistics.ts';

/** All that was learnt: what an inspector needs beside the backbone. */
export interface SolvedKnowledge {
  stages: number[];
  /** In the order of the logits. */
  classes: { classId: string; labelled: number }[];
  lambda: number;
  balancing: number;
  /** Probabilities are softmax(logits / temperature). */
  temperature: number;
  thresholds: { ok: number; ng: number; novelty: number };
  /** Share of known parts that the novelty limit promises not to exceed: more than `FALSE_ALARMS` where parts are few; null: nothing held out. */
  noveltyRate: number | null;
  /** Over the folds; null while no class has images in two folds. */
  balancedAccuracy: number | null;
  /** W [d, classes], bias last: logits = z W. */
  weights: Matrix;
  novelty: NoveltyModel;
}

export interface KnowledgeInput {
  /** Raw pooled features, row-major [n, sum of stages]. */
  features: Float32Array;
  stages: Stages;
  /** One per row. */
  ledger: readonly LedgerRow[];
  /** Classes of good parts. */
  okIds: ReadonlySet<string>;
  criteria: Pick<Criteria, 'maxEscape' | 'maxOverkill'>;
  /** Takes this lambda and g instead of choosing them. */
  fixed?: Choice;
  /** What other stations gave, on these features: parts that are held out are judged beside it. */
  others?: OtherSums | null;
  /** Rows that temperature, thresholds and the limit of novelty are told by; null: those that lambda and g are chosen on. */
  judged?: Sample | null;
}

/** Statistics of embedded rows. */
export function gather(z: Matrix, ledger: readonly LedgerRow[], rows?: readonly number[]): Statistics {
  const statistics = new Statistics(z.columns);
  for (const i of rows ?? ledger.keys()) {
    statistics.add(ledger[i]!.classId, z.data.subarray(i * z.columns, (i + 1) * z.columns));
  }
  return statistics;
}

/** Logits of the rows of a cross-validation that can be judged: each by the fit without its fold. */
export function heldOutOf(validation: CrossValidation, ledger: readonly LedgerRow[]): HeldOut {
  const { classIds, rows } = validation;
  const judged = judgedRows(validation, ledger);
  const k = classIds.length;
  const logits = new Float64Array(judged.length * k);
  judged.forEach((i, at) => logits.set(validation.logits.data.subarray(i * k, (i + 1) * k), at * k));
  return {
    classIds,
    logits,
    truth: judged.map((i) => ledger[rows[i]!]!.classId),
    parts: judged.map((i) => partOf(ledger, rows[i]!)),
  };
}

export interface SolveOptions {
  products: Products;
  onProgress?: (progress: number) => void;
  signal?: AbortSignal;
}

export interface Solved {
  knowledge: SolvedKnowledge;
  crossValidation: CrossValidation;
  /** Of the ledger, without `others`; from statistics: those. */
  statistics: Statistics;
}

/**
 * Solves the knowledge of a whole ledger; a pure function of it, in any order.
 * @throws TOO_FEW_CLASSES without any row, FEATURES_NOT_FINITE, SINGULAR_STATISTICS, CANCELLED
 */
export async function solveKnowledge(
  { features, ledger, judged, ...rest }: KnowledgeInput,
  options: SolveOptions,
): Promise<Solved> {
  const { stages } = rest;
  if (ledger.length === 0) throw new AppError('TOO_FEW_CLASSES', { found: 0, needed: 1 });
  assert(features.length === ledger.length * (embeddingSize(stages) - 1), 'every ledger row has its features');
  const z = embed(features, stages);
  const sample = sampleOf(ledger);
  return solveStatistics(
    {
      ...rest,
      ledger,
      statistics: gather(z, ledger),
      sample,
      picked: pick(z, sample.rows),
      judged: judged ? { sample: judged, picked: pick(z, judged.rows) } : null,
    },
    options,
  );
}

interface Picked {
  sample: Sample;
  /** Embedded rows of the sample, in its order. */
  picked: Matrix;
}

export interface StatisticsInput extends Omit<KnowledgeInput, 'features' | 'judged'>, Picked {
  /** Of the ledger, and of what other stations gave on these features, unless that is in `others`. */
  statistics: Statistics;
  judged?: Picked | null;
}

/**
 * Sums of own parts with those of other stations.
 * @param own sum_c w_c S_c of the statistics
 * @param held ledger rows that what brought the others' sums here has not seen
 */
async function sumsBeside(
  statistics: Statistics,
  own: Matrix,
  weights: ReadonlyMap<string, number>,
  others: OtherSums,
  held?: ReadonlySet<number>,
): Promise<NoveltyInput> {
  const given = await others.weighted(weights, held);
  const { scatter } = given;
  for (let i = 0; i < scatter.data.length; i += 1) scatter.data[i]! += own.data[i]!;
  let { samples } = others;
  const classes = [...countsWith(countsOf(statistics), others)].map(([id, count]) => {
    const [mine, theirs] = [statistics.of(id), given.sums.get(id)];
    samples += mine?.count ?? 0;
    const sum = mine && theirs ? theirs.map((value, i) => value + mine.sum[i]!) : (mine?.sum ?? theirs!);
    return [id, { count, sum, weight: weights.get(id)! }] as const;
  });
  return { scatter, classes: new Map(classes), samples };
}

/**
 * The same from statistics: of all the images behind them only those of the sample are looked at again, so the cost does not
 * grow with what was learnt before.
 * @throws TOO_FEW_CLASSES, SINGULAR_STATISTICS, FEATURES_NOT_FINITE, CANCELLED
 */
export async function solveStatistics(
  {
    statistics,
    sample,
    picked: chosenOn,
    judged: judgedBy,
    stages,
    ledger,
    okIds,
    criteria,
    fixed,
    others,
  }: StatisticsInput,
  { products, onProgress, signal }: SolveOptions,
): Promise<Solved> {
  const counts = countsWith(countsOf(statistics), others ?? null);
  const classIds = [...counts.keys()];
  if (classIds.length === 0) throw new AppError('TOO_FEW_CLASSES', { found: 0, needed: 1 });
  // One number that is none spoils every weight; which image it came from is told where features are read.
  for (const id of statistics.classIds) {
    if (!statistics.of(id)!.sum.every(Number.isFinite))
      throw new AppError('FEATURES_NOT_FINITE', { file: `class ${id}` });
  }
  const checkpoint = (progress: number) => {
    if (signal?.aborted) throw new AppError('CANCELLED');
    onProgress?.(progress);
  };
  checkpoint(0.1);
  const alone = await crossValidateSample(chosenOn, sample, ledger, products, {
    known: counts,
    ...(fixed ? { fixed } : {}),
    ...(signal ? { signal } : {}),
  });
  const { sample: rows, picked } = judgedBy ?? { sample, picked: chosenOn };
  const validation =
    rows.rows.length > 0 && (others || judgedBy)
      ? await heldOutByHeads(alone, rows, picked, ledger, others ?? null, { products, signal })
      : alone;
  checkpoint(0.6);
  const weights = classWeights(counts, validation.balancing);
  const own = await statistics.weightedScatter(weights, products);
  checkpoint(0.7);
  const sums = others
    ? await sumsBeside(statistics, own, weights, others)
    : {
        scatter: own,
        classes: new Map(classIds.map((id) => [id, { ...statistics.of(id)!, weight: weights.get(id)! }])),
      };
  const space = await fitSpace(sums, products);
  checkpoint(0.75);
  const classOf = ledger.map(({ classId }) => classId);
  const { signs, judged } = await heldOutSigns(
    async (held) =>
      // Mapped parts are made of the rows that the map was fitted on: whatever is known of the whole knows those that are held out.
      others
        ? { input: await sumsBeside(statistics, own, weights, others, held), space: null }
        : { input: sums, space },
    picked,
    classOf,
    validation,
    products,
  );
  checkpoint(0.85);
  // Overwrites the scatter.
  const head = await solveWeighted(sums, validation, products);
  checkpoint(0.95);
  const heldOut = heldOutOf(validation, ledger);
  const temperature = fitTemperature(heldOut);
  const { scale, limit, rate } = fitNoveltyScale(
    signs,
    judged.map((i) => partOf(ledger, validation.rows[i]!)),
  );
  const knowledge: SolvedKnowledge = {
    stages: [...stages],
    classes: classIds.map((classId) => ({ classId, labelled: counts.get(classId)! })),
    lambda: validation.lambda,
    balancing: validation.balancing,
    temperature,
    thresholds: {
      ...fitThresholds(heldOut, temperature, okIds, criteria),
      novelty: limit,
    },
    noveltyRate: rate,
    balancedAccuracy: validation.balancedAccuracy,
    weights: head.weights,
    novelty: { ...space, scale },
  };
  checkpoint(1);
  return { knowledge, statistics, crossValidation: validation };
}

/** Logits of embedded parts, row-major [parts, classes], not divided by the temperature. */
export const logitsOf = (knowledge: Pick<SolvedKnowledge, 'weights'>, z: Matrix, products: Products): Promise<Matrix> =>
  products.multiply(z, knowledge.weights);
