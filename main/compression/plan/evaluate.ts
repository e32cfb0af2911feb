import type { Backbone } from '../../contract/domain.ts';
import { AppError, assert } from '../../contract/errors.ts';
import type { Products } from '../../learning/dense.ts';
import { embed } from '../../learning/embedding.ts';
import { argmax } from '../../learning/evaluation.ts';
import { meansOfParts, partOf } from '../../learning/folds.ts';
import { openExtractor } from '../../learning/extract.ts';
import type { NoveltyLoss } from '../../learning/held-out-novelty.ts';
import {
  judgedRows,
  rowsOfManyParts,
  type Choice,
  type CrossValidation,
  type LedgerRow,
} from '../../learning/selection.ts';
import { isBlind } from '../evidence/blindness.ts';
import { balancedDropBounds, type ClassCount, type Discordant } from '../evidence/statistics.ts';
import type { ImageSource } from '../image-source.ts';
import { heldOutRepeatedly } from './repeated-folds.ts';

export const stagesOf = (backbone: Backbone): number[] => backbone.featureOutputs.map(({ channels }) => channels);

/**
 * Raw features of images by a (compressed) backbone at its input size, through the learner's own extractor.
 * @returns row-major [indices.length, backbone.features]
 * @throws CANCELLED, BACKBONE_UNSUITABLE, what reading a picture does, PART_NOT_FOUND
 */
export async function featuresOf(
  backbone: Backbone,
  model: Uint8Array,
  inputSize: number,
  source: Pick<ImageSource, 'view'>,
  indices: readonly number[],
  options: { threads: number; signal?: AbortSignal | undefined; onProgress?: ((share: number) => void) | undefined },
): Promise<Float32Array> {
  await using extractor = await openExtractor(backbone, { threads: options.threads, inputSize, model });
  const out = new Float32Array(indices.length * extractor.features);
  const STEP = 16;
  for (let start = 0; start < indices.length; start += STEP) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const some = indices.slice(start, start + STEP);
    const images = await Promise.all(some.map((index) => source.view(index)));
    out.set(await extractor.run(images), start * extractor.features);
    options.onProgress?.(Math.min(1, (start + STEP) / indices.length));
  }
  return out;
}

/** Pictures that tell the time of all. */
const TIMED = 16;

/** Time of one picture through the backbone at its own size, decoding included, ms: the mean over the first few of `indices`. */
export async function forwardMsOf(
  backbone: Backbone,
  bytes: Uint8Array,
  source: ImageSource,
  indices: readonly number[],
  options: Parameters<typeof featuresOf>[5],
): Promise<number> {
  const some = indices.slice(0, TIMED);
  const before = performance.now();
  await featuresOf(backbone, bytes, backbone.inputSize, source, some, options);
  return (performance.now() - before) / some.length;
}

/** Who was right: per ledger row that was judged, the class given. */
export interface Judged {
  classIds: string[];
  /** Ledger rows, in the order of `truth` and `given`. */
  rows: number[];
  truth: Int32Array;
  given: Int32Array;
  /** What each row is a tile of; default: each row is a part. */
  parts?: readonly string[];
}

/** Held-out scores. */
type HeldOut = Pick<CrossValidation, 'rows' | 'folds' | 'classIds' | 'logits'>;

/** @param places where the judged ones stand among the rows that were held out */
const judgedAt = (
  { rows, classIds, logits }: HeldOut,
  ledger: readonly LedgerRow[],
  places: readonly number[],
): Judged => {
  const column = new Map(classIds.map((id, c) => [id, c]));
  return {
    classIds,
    rows: places.map((i) => rows[i]!),
    truth: Int32Array.from(places, (i) => column.get(ledger[rows[i]!]!.classId)!),
    given: Int32Array.from(places, (i) => argmax(logits.data, i * classIds.length, classIds.length)),
    parts: places.map((i) => partOf(ledger, rows[i]!)),
  };
};

/**
 * Images of a class that is in one fold alone (one part, shot again and again) are left out: whoever is taught without them is wrong about them all, so any two models would seem to lose
 * nothing of each other there.
 * @param elsewhere classes that are taught whatever is held out here
 */
const placesJudged = (
  validation: HeldOut,
  ledger: readonly LedgerRow[],
  elsewhere: ReadonlySet<string> = new Set(),
): number[] => {
  const taught = new Set(judgedRows(validation, ledger));
  return validation.rows.flatMap((row, i) => (taught.has(i) || elsewhere.has(ledger[row]!.classId) ? [i] : []));
};

/** Held-out verdicts on the training folds. */
export const judgedOf = (validation: HeldOut, ledger: readonly LedgerRow[]): Judged =>
  judgedAt(validation, ledger, placesJudged(validation, ledger));

/**
 * Held out with whole groups of near-duplicates (repeated-folds.ts). lambda and g are chosen anew on these folds unless `fixed`: scores of two models compare only where each has those that are best for it. With
 * the head's own, chosen on folds of single pictures, they do not: of the shipped backbone at 224 px on magnetic_tile they alone move the balanced Brier score by 1.2 points.
 */
export const validate = (
  features: Float32Array,
  backbone: Backbone,
  ledger: readonly LedgerRow[],
  products: Products,
  options: { fixed?: Choice; drawings?: number; signal?: AbortSignal | undefined } = {},
): Promise<CrossValidation> =>
  heldOutRepeatedly(embed(features, stagesOf(backbone)), rowsOfManyParts(ledger), ledger, products, options);

/** Held-out quality of a model on the training folds. */
export interface Quality {
  balancedAccuracy: number;
  /** Balanced Brier score. */
  loss: number;
}

/** What a model loses against the reference, percentage points. */
export interface Loss {
  /** Of balanced accuracy. */
  accuracyPp: number;
  /** 95 % upper bound of that, from the paired counts. */
  accuracyUpperPp: number;
  /** Of the balanced Brier score. */
  certaintyPp: number;
  /** Of balanced accuracy, as far as accuracy and scores together tell: what is compared with the allowed drop. */
  expectedPp: number;
}

/** Held-out scores of one view of the images (views.ts), per judged row. */
export interface Scored {
  /** 1: the right class. Of several views: the share of them. */
  right: Float64Array;
  /** Squared error of the scores. Of several views: the mean. */
  errors: Float64Array;
}

/** What models are compared by. */
export interface Compared extends Quality {
  /** On the images as they are. */
  judged: Judged;
  /** At least one. */
  views: readonly Scored[];
}

const rightOf = ({ truth, given }: Pick<Judged, 'truth' | 'given'>): Float64Array =>
  Float64Array.from(truth, (c, i) => (given[i] === c ? 1 : 0));

const meanOver = (views: readonly Scored[]): Scored => {
  const mean = (of: (view: Scored) => Float64Array) =>
    of(views[0]!).map((_, i) => views.reduce((sum, view) => sum + of(view)[i]!, 0) / views.length);
  return { right: mean(({ right }) => right), errors: mean(({ errors }) => errors) };
};

/** Mean over the classes that have rows of the mean within them. */
const meanOfClasses = ({ truth, classIds }: Judged, values: Float64Array): number => {
  const sums = classIds.map(() => ({ sum: 0, n: 0 }));
  truth.forEach((c, i) => {
    sums[c]!.sum += values[i]!;
    sums[c]!.n += 1;
  });
  const seen = sums.filter(({ n }) => n > 0);
  return seen.reduce((total, { sum, n }) => total + sum / n, 0) / Math.max(1, seen.length);
};

const comparedIn = (judged: Judged, views: readonly Scored[]): Compared => {
  const { right, errors } = meanOver(views);
  return { balancedAccuracy: meanOfClasses(judged, right), loss: meanOfClasses(judged, errors), judged, views };
};

/**
 * Accuracy and squared error of the held-out scores against the truth, mean over classes of their mean (balanced Brier score; scores aim at
 * 1 for the class and 0 for the others). The error moves with every image, where accuracy moves only with those that change sides: of
 * two models with the same few mistakes it tells which is closer to more.
 * @param elsewhere classes that are taught whatever is held out here; default: none
 */
export const comparedOf = (
  validation: HeldOut,
  ledger: readonly LedgerRow[],
  elsewhere?: ReadonlySet<string>,
): Compared => {
  const { classIds, logits } = validation;
  const width = classIds.length;
  const places = placesJudged(validation, ledger, elsewhere);
  const judged = judgedAt(validation, ledger, places);
  const errors = Float64Array.from(judged.truth, (truth, i) => {
    const at = places[i]! * width;
    let sum = 0;
    for (let c = 0; c < width; c++) sum += (logits.data[at + c]! - (c === truth ? 1 : 0)) ** 2;
    return sum;
  });
  return comparedIn(judged, [{ right: rightOf(judged), errors }]);
};

/** One model on several views of the same images, those as they are first. */
export const inViews = (each: readonly Compared[]): Compared => {
  const [{ judged }] = each as [Compared];
  const same = each.every((other) => other.judged.rows.every((row, i) => row === judged.rows[i]));
  assert(same, 'rows are in one order, whatever the features');
  return comparedIn(
    judged,
    each.flatMap(({ views }) => views),
  );
};

/** The scores of the parts that some rows are of, mean over their tiles and the first views. */
type Scores = Pick<Judged, 'truth' | 'classIds'> & Scored;

/**
 * Where the rows of each part stand among the judged ones: models are compared by parts.
 * @param some ledger rows; null: all
 */
const placesOfParts = (
  { rows, parts }: Pick<Judged, 'rows' | 'parts'>,
  some: ReadonlySet<number> | null,
): number[][] => {
  const kept = rows.flatMap((row, i) => (some === null || some.has(row) ? [i] : []));
  return [...Map.groupBy(kept, (i) => parts?.[i] ?? i).values()];
};

const scoresOf = ({ judged, views }: Compared, count: number, rows: ReadonlySet<number> | null): Scores => {
  const { right, errors } = meanOver(views.slice(0, count));
  const { truth, classIds } = judged;
  const parts = placesOfParts(judged, rows);
  return {
    classIds,
    truth: Int32Array.from(parts, ([first]) => truth[first!]!),
    right: meansOfParts(parts, right),
    errors: meansOfParts(parts, errors),
  };
};

/** How far what is lost of accuracy lies from what is lost of the balanced Brier score, and what images flatter that a model was fitted to: standard deviations in percentage points. */
const ACCURACY_BESIDE_SCORES_PP = 1;
const FLATTERED_PP = 1;
/** Standard deviation, percentage points, of what one image loses where no class has two that tell it: the squared error of its scores is some 0 to 2 before and after, so this excludes next to nothing. */
const UNKNOWN_SPREAD_PP = 100;
/** Standard errors from a value to its one-sided 95 % bound. */
const BOUND = 1.645;

/** A value in percentage points with the variance of its error. */
interface Estimate {
  pp: number;
  variance: number;
}

/** Two views of one value, each by its precision. */
const together = (a: Estimate, b: Estimate): Estimate => {
  const weight = b.variance / (a.variance + b.variance);
  return {
    pp: weight * a.pp + (1 - weight) * b.pp,
    variance: (a.variance * b.variance) / (a.variance + b.variance),
  };
};

/** Difference of two balanced Brier scores with its variance, from the paired errors within each class. */
function certaintyLost({ truth, classIds, errors }: Scores, after: Scores): Estimate {
  const sums = classIds.map(() => ({ n: 0, sum: 0, squares: 0 }));
  truth.forEach((c, i) => {
    const difference = 100 * (after.errors[i]! - errors[i]!);
    const of = sums[c]!;
    of.n += 1;
    of.sum += difference;
    of.squares += difference ** 2;
  });
  const seen = sums.filter(({ n }) => n > 0);
  const classes = Math.max(1, seen.length);
  const within = ({ n, sum, squares }: (typeof sums)[number]) => Math.max(0, squares - sum ** 2 / n);
  const freedom = seen.reduce((total, { n }) => total + n - 1, 0);
  // A single image does not tell how its class spreads: as the others do, on the whole.
  const pooled = freedom > 0 ? seen.reduce((total, each) => total + within(each), 0) / freedom : UNKNOWN_SPREAD_PP ** 2;
  const ofMeans = seen.map((each) => (each.n > 1 ? within(each) / (each.n - 1) / each.n : pooled));
  return {
    pp: seen.reduce((total, { n, sum }) => total + sum / n, 0) / classes,
    variance: ofMeans.reduce((total, each) => total + each, 0) / classes ** 2,
  };
}

/** Pairs by class; one that changes sides in some views, or some tiles, counts as that share of a pair. */
const changedOf = ({ truth, classIds, right }: Omit<Scores, 'errors'>, after: Pick<Scores, 'right'>): Discordant[] => {
  const pairs = classIds.map(() => ({ n: 0, lost: 0, won: 0 }));
  truth.forEach((c, i) => {
    const change = right[i]! - after.right[i]!;
    pairs[c]!.n += 1;
    if (change > 0) pairs[c]!.lost += change;
    else pairs[c]!.won -= change;
  });
  return pairs;
};

/**
 * Normal estimate of the lost accuracy: what is seen, with its own error, and what the scores say, give or take a point, each by its precision. The error of the scores moves
 * with every image, where accuracy moves with those that change sides: in a class of 20 images among six, one of them is 0.8 pp.
 */
function lossOf(before: Scores, after: Scores): Loss & { accuracyLowerPp: number; expected: Estimate } {
  const { drop, lower, upper } = balancedDropBounds(changedOf(before, after));
  const certainty = certaintyLost(before, after);
  const expected = together(
    { pp: 100 * drop, variance: ((100 * (upper - lower)) / (2 * BOUND)) ** 2 },
    { pp: certainty.pp, variance: ACCURACY_BESIDE_SCORES_PP ** 2 + certainty.variance },
  );
  return {
    accuracyPp: 100 * drop,
    accuracyLowerPp: 100 * lower,
    accuracyUpperPp: 100 * upper,
    certaintyPp: certainty.pp,
    expected,
    // What is shown to be lost is lost.
    expectedPp: Math.max(100 * lower, expected.pp),
  };
}

/**
 * What is lost against the reference, in the views that both were seen in. Of a model that some images were fitted to, accuracy is that on all images, for what it has seen can only flatter it, so that a loss with them is a loss; or what the
 * others show at the least (95 % bound), where that is more: they are few, of a rare class a handful, and their mean tells by chance. What is expected of all is raised by what the others are worse, as far as they
 * are enough to tell.
 * @param unseen ledger rows that nothing was fitted to; null: all
 */
export const lossBetween = (reference: Compared, other: Compared, unseen: ReadonlySet<number> | null = null): Loss => {
  const views = Math.min(reference.views.length, other.views.length);
  const lossOn = (rows: ReadonlySet<number> | null) =>
    lossOf(scoresOf(reference, views, rows), scoresOf(other, views, rows));
  const { accuracyPp, accuracyUpperPp, certaintyPp, expectedPp, expected } = lossOn(null);
  if (unseen === null) return { accuracyPp, accuracyUpperPp, certaintyPp, expectedPp };
  const apart = lossOn(unseen);
  const flattered = together(
    { pp: 0, variance: FLATTERED_PP ** 2 },
    { pp: apart.expected.pp - expected.pp, variance: apart.expected.variance },
  );
  return {
    accuracyPp: Math.max(accuracyPp, apart.accuracyLowerPp),
    accuracyUpperPp: Math.max(accuracyUpperPp, apart.accuracyUpperPp),
    certaintyPp: Math.max(certaintyPp, apart.certaintyPp),
    expectedPp: Math.max(expectedPp + Math.max(0, flattered.pp), apart.accuracyLowerPp),
  };
};

/** What the limits are held against. */
export interface Limited {
  lost: Loss;
  newDefects: NoveltyLoss | null;
}

/** Neither too inaccurate nor blind. */
export const keepsLimits = ({ lost, newDefects }: Limited, maxDropPp: number): boolean =>
  lost.expectedPp <= maxDropPp && !isBlind(newDefects);

/** By accuracy alone too: of what keeps the limits otherwise only its scores say so. */
export const isSeenToHold = ({ lost }: { lost: Loss }, maxDropPp: number): boolean => lost.accuracyPp <= maxDropPp;

/** Class of each part, and the share of its tiles that is right. */
const rightPartsOf = (judged: Judged, rows: ReadonlySet<number> | null) => {
  const parts = placesOfParts(judged, rows);
  const truth = Int32Array.from(parts, ([place]) => judged.truth[place!]!);
  return { classIds: judged.classIds, truth, right: meansOfParts(parts, rightOf(judged)) };
};

/** Parts and right ones per class; of a part of which some tiles are right, that share. */
export const classCounts = (judged: Judged): ClassCount[] => {
  const { classIds, truth, right } = rightPartsOf(judged, null);
  const counts = classIds.map(() => ({ n: 0, right: 0 }));
  truth.forEach((c, i) => {
    counts[c]!.n += 1;
    counts[c]!.right += right[i]!;
  });
  return counts;
};

/** Share of the parts that is right, 0 to 1; 0 of none. */
export const accuracyOf = (judged: Judged): number => {
  const { right } = rightPartsOf(judged, null);
  return right.reduce((sum, share) => sum + share, 0) / Math.max(1, right.length);
};

/** confusion[truth][given], of tiles. */
export const confusionOf = ({ classIds, truth, given }: Judged): number[][] => {
  const table = classIds.map(() => classIds.map(() => 0));
  truth.forEach((c, i) => (table[c]![given[i]!]! += 1));
  return table;
};

/** Discordant pairs per class of two judgements of the same rows, by parts. @param rows ledger rows that are compared; null: all */
export const discordantOf = (first: Judged, second: Judged, rows: ReadonlySet<number> | null = null): Discordant[] =>
  changedOf(rightPartsOf(first, rows), rightPartsOf({ ...first, given: second.given }, rows));
