import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { Products } from '../../learning/dense.ts';
import { embed } from '../../learning/embedding.ts';
import { openExtractor } from '../../learning/extract.ts';
import { crossValidate, type CrossValidation, type LedgerRow } from '../../learning/selection.ts';
import { balancedDropBounds, type ClassCount, type Discordant } from '../evidence/statistics.ts';
import type { ImageSource } from '../image-source.ts';

export const stagesOf = (backbone: Backbone): number[] => backbone.featureOutputs.map(({ channels }) => channels);

/**
 * Raw features of images by a (compressed) backbone at its input size, through the learner's own extractor.
 * @returns row-major [indices.length, backbone.features]
 */
export async function featuresOf(
  backbone: Backbone,
  model: Uint8Array,
  inputSize: number,
  source: ImageSource,
  indices: readonly number[],
  options: { threads: number; signal?: AbortSignal | undefined; onProgress?: ((share: number) => void) | undefined },
): Promise<Float32Array> {
  await using extractor = await openExtractor(backbone, { threads: options.threads, inputSize, model });
  const out = new Float32Array(indices.length * extractor.features);
  const STEP = 16;
  for (let start = 0; start < indices.length; start += STEP) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const some = indices.slice(start, start + STEP);
    const images = await Promise.all(
      some.map(async (index) => ({ image: await source.pixels(index), region: source.region(index) })),
    );
    out.set(await extractor.run(images), start * extractor.features);
    options.onProgress?.(Math.min(1, (start + STEP) / indices.length));
  }
  return out;
}

/** Who was right: per ledger row that was judged, the class given. */
export interface Judged {
  classIds: string[];
  /** Ledger rows, in the order of `truth` and `given`. */
  rows: number[];
  truth: Int32Array;
  given: Int32Array;
}

export const argmax = (data: ArrayLike<number>, from: number, length: number): number => {
  let best = 0;
  for (let c = 1; c < length; c++) if (data[from + c]! > data[from + best]!) best = c;
  return best;
};

/** Held-out verdicts on the training folds. */
export const judgedOf = (validation: CrossValidation, ledger: readonly LedgerRow[]): Judged => {
  const { rows, classIds, logits } = validation;
  const column = new Map(classIds.map((id, c) => [id, c]));
  return {
    classIds,
    rows,
    truth: Int32Array.from(rows, (row) => column.get(ledger[row]!.classId)!),
    given: Int32Array.from(rows, (_, i) => argmax(logits.data, i * classIds.length, classIds.length)),
  };
};

export const validate = (
  features: Float32Array,
  backbone: Backbone,
  ledger: readonly LedgerRow[],
  products: Products,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<CrossValidation> =>
  crossValidate(
    embed(features, stagesOf(backbone)),
    ledger,
    products,
    options.signal ? { signal: options.signal } : {},
  );

/**
 * Squared error of the held-out scores against the truth, mean over classes of their mean (balanced Brier score; scores aim at
 * 1 for the class and 0 for the others). It moves with every image, where accuracy moves only with those that change sides: of
 * two models with the same few errors it tells which is closer to more.
 */
export const balancedLoss = ({ rows, classIds, logits }: CrossValidation, ledger: readonly LedgerRow[]): number => {
  const width = classIds.length;
  const column = new Map(classIds.map((id, c) => [id, c]));
  const loss = new Float64Array(width);
  const n = new Float64Array(width);
  rows.forEach((row, i) => {
    const truth = column.get(ledger[row]!.classId)!;
    n[truth]! += 1;
    for (let c = 0; c < width; c++) loss[truth]! += (logits.data[i * width + c]! - (c === truth ? 1 : 0)) ** 2;
  });
  return loss.reduce((sum, value, c) => sum + value / n[c]!, 0) / width;
};

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
}

export const lossBetween = (reference: Quality & { judged: Judged }, other: Quality & { judged: Judged }): Loss => ({
  accuracyPp: 100 * (reference.balancedAccuracy - other.balancedAccuracy),
  accuracyUpperPp: 100 * balancedDropBounds(discordantOf(reference.judged, other.judged)).upper,
  certaintyPp: 100 * (other.loss - reference.loss),
});

/** Up to this multiple of the allowed drop its upper bound counts as shown. */
const SHOWN = 2;

/**
 * The loss to be compared with what is allowed: of accuracy where the images are enough to tell; where they are not, the scores
 * must keep within it too.
 */
export const decisiveLossPp = ({ accuracyPp, accuracyUpperPp, certaintyPp }: Loss, maxDropPp: number): number =>
  accuracyUpperPp <= SHOWN * maxDropPp ? accuracyPp : Math.max(accuracyPp, certaintyPp);

/** Images and right ones per class. */
export const classCounts = ({ classIds, truth, given }: Judged): ClassCount[] => {
  const counts = classIds.map(() => ({ n: 0, right: 0 }));
  truth.forEach((c, i) => {
    counts[c]!.n += 1;
    if (given[i] === c) counts[c]!.right += 1;
  });
  return counts;
};

export const accuracyOf = ({ truth, given }: Judged): number => {
  let right = 0;
  truth.forEach((c, i) => (right += given[i] === c ? 1 : 0));
  return truth.length === 0 ? 0 : right / truth.length;
};

/** confusion[truth][given]. */
export const confusionOf = ({ classIds, truth, given }: Judged): number[][] => {
  const table = classIds.map(() => classIds.map(() => 0));
  truth.forEach((c, i) => (table[c]![given[i]!]! += 1));
  return table;
};

/** Discordant pairs per class of two judgements of the same rows. */
export const discordantOf = (first: Judged, second: Judged): Discordant[] => {
  const pairs = first.classIds.map(() => ({ n: 0, lost: 0, won: 0 }));
  first.truth.forEach((c, i) => {
    const a = first.given[i] === c;
    const b = second.given[i] === c;
    pairs[c]!.n += 1;
    if (a && !b) pairs[c]!.lost += 1;
    if (!a && b) pairs[c]!.won += 1;
  });
  return pairs;
};
