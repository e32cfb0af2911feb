import { matrix, type Matrix, type Products } from '../../learning/dense.ts';
import { nearDuplicateRadii } from '../../learning/near-duplicates.ts';
import {
  crossValidateSample,
  inFolds,
  pick,
  type Choice,
  type CrossValidation,
  type LedgerRow,
} from '../../learning/selection.ts';

/**
 * Drawings of the folds. How the few images of a rare class are dealt out moves the difference of two models by chance (magnetic_tile, MobileNet-EdgeTPU at 224 and at 128 px: .2 points lost, give or
 * take 1.7 per drawing; deeppcb_crops 1.8 and .5; development figures), and a search that compares thirty of them finds the luckiest. Each further drawing costs one factorisation, where the
 * choice of lambda and g costs about ten.
 */
export const DRAWINGS = 9;
/** Of so many rows a drawing, or another view of the images, moves little, and a factorisation takes their cube. */
export const MANY_ROWS = 2000;
const DRAWINGS_OF_MANY = 3;

/**
 * Held-out logits as the mean over several drawings of five folds (repeated cross-validation), of whole groups of near-duplicates: where a fixed camera sees one kind of part, single
 * pictures held out have siblings among those that teach, and a model that has lost its eye for detail still recognises the sibling.
 * @param z embedded ledger, one row per ledger row
 * @param rows ledger rows that take part
 * @param options `fixed`: this lambda and g; default: chosen on the first drawing. `drawings`: at most so many; default: as many as the rows allow
 * @returns of the first drawing, rows in its order, with the mean logits
 * @throws CANCELLED, SINGULAR_STATISTICS
 */
export async function heldOutRepeatedly(
  z: Matrix,
  rows: readonly number[],
  ledger: readonly LedgerRow[],
  products: Products,
  options: { fixed?: Choice; drawings?: number; signal?: AbortSignal | undefined },
): Promise<CrossValidation> {
  const { signal } = options;
  const held = async (drawing: number, fixed: Choice | undefined): Promise<CrossValidation> => {
    const sample = inFolds(rows, ledger, nearDuplicateRadii, drawing);
    return crossValidateSample(pick(z, sample.rows), sample, ledger, products, {
      ...(fixed ? { fixed } : {}),
      ...(signal ? { signal } : {}),
    });
  };
  const drawings = Math.min(options.drawings ?? DRAWINGS, rows.length > MANY_ROWS ? DRAWINGS_OF_MANY : DRAWINGS);
  const first = await held(0, options.fixed);
  const width = first.classIds.length;
  const logits = matrix(first.logits.rows, width, first.logits.data.slice());
  const at = new Map(first.rows.map((row, i) => [row, i * width]));
  for (let drawing = 1; drawing < drawings; drawing++) {
    const again = await held(drawing, { lambda: first.lambda, balancing: first.balancing });
    again.rows.forEach((row, i) => {
      const to = at.get(row)!;
      for (let c = 0; c < width; c++) logits.data[to + c]! += again.logits.data[i * width + c]!;
    });
  }
  for (let i = 0; i < logits.data.length; i++) logits.data[i]! /= drawings;
  return { ...first, logits };
}
