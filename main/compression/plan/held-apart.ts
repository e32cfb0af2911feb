import { foldsOf, type LedgerRow } from '../../learning/folds.ts';
import { nearDuplicateRadii } from '../../learning/near-duplicates.ts';

/*
 * What is kept from a model so that it can be judged by it. Folds are of whole groups of near-duplicates: whoever has a sibling among those that a model learnt from, or
 * was fitted to, flatters it.
 */

/** Fold of each ledger row. */
export const groupedFolds = (ledger: readonly LedgerRow[]): number[] => foldsOf(ledger, nearDuplicateRadii);

/** Images of one fold, by which models that learnt from the others are judged. @param folds of the images, in their order */
export const untaughtImages = (images: readonly number[], folds: readonly number[]): ReadonlySet<number> =>
  new Set(images.filter((_, row) => folds[row] === 0));

/** Folds whose images nothing is fitted to; the first is the one that students do not see. */
const APART_FOLDS = 3;
const LEAST_FITTED = 64;
const LEAST_APART_OF_CLASS = 5;

/**
 * Images of three folds, by which models are compared whose weights were fitted to the others (reconstruction, compensated rounding). Null: there are too few images for two parts.
 * @param folds of the images, in their order, as the ledger's rows
 */
export function apartImages(
  images: readonly number[],
  ledger: readonly LedgerRow[],
  folds: readonly number[],
): ReadonlySet<number> | null {
  const apart = images.filter((_, row) => folds[row]! < APART_FOLDS);
  const perClass = new Map<string, number>(ledger.map(({ classId }) => [classId, 0]));
  ledger.forEach(({ classId }, row) => {
    if (folds[row]! < APART_FOLDS) perClass.set(classId, perClass.get(classId)! + 1);
  });
  const enough = images.length - apart.length >= LEAST_FITTED && Math.min(...perClass.values()) >= LEAST_APART_OF_CLASS;
  return enough ? new Set(apart) : null;
}
