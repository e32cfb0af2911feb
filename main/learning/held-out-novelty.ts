import { AppError } from '../contract/errors.ts';
import { byCodeUnit } from './dataset.ts';
import { cholesky, matrix, type Matrix, type Products } from './dense.ts';
import { gather } from './knowledge.ts';
import {
  areaUnderCurve,
  combine,
  fitNoveltyScale,
  fitSpace,
  fitSpaceWithout,
  joinSigns,
  signsOf,
  type NoveltyInput,
} from './novelty-score.ts';
import { pick, rowsOfManyParts, type Choice, type LedgerRow } from './selection.ts';
import { foldsOf, FOLDS, meansOfParts, partOf } from './folds.ts';
import { classWeights, solveHead } from './solve.ts';

/*
 * How well new kinds of parts would be told from known ones, from labelled parts alone: each class held out as if it were new, and a fold
 * of the others as the known parts that the model has not seen. Only inner products matter to head and novelty, so all of it is done in
 * as many dimensions as there are rows, whatever the width of the features.
 */

/** Rows that take part, even over the classes: a fit per class and fold has to stay cheap. */
export const MOST_ROWS = 300;
/** Fits in all; with many classes each is judged on fewer folds. */
const MOST_FITS = 24;
/** With fewer, one known class would be all that is left. */
const LEAST_CLASSES = 3;

export interface HeldOutNovelty {
  /** Area under the curve of each class against the others, and for each part how often it is on the right side: its place among the other kind, mean over its tiles. */
  classes: { classId: string; auroc: number; known: Float64Array; fresh: Float64Array }[];
  /** Mean over the classes. */
  auroc: number;
}

/** Rows of Z in as many dimensions as there are rows, with the same inner products and a constant at the end. */
async function condense(z: Matrix, products: Products): Promise<Matrix> {
  const n = z.rows;
  const kernel = await products.multiply(z, z, { transposeB: true });
  // Equal pictures have equal rows.
  for (let i = 0; i < n; i += 1) kernel.data[i * n + i]! += 1e-9;
  const factor = await cholesky(kernel, products);
  const out = matrix(n, n + 1);
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) out.data[i * (n + 1) + j] = factor.lower.data[i * n + j]!;
    out.data[i * (n + 1) + n] = 1;
  }
  return out;
}

/** Where the rows of each part stand among some rows. */
const partsAmong = (some: readonly number[], rows: readonly LedgerRow[]): number[][] => [
  ...Map.groupBy(some.keys(), (i) => partOf(rows, some[i]!)).values(),
];

/** Place of each value: share of `others` below it, ties half. */
const places = (values: Float64Array, others: Float64Array): Float64Array =>
  values.map((value) => areaUnderCurve(others, [value]));

/**
 * @param z embedded ledger, one row per ledger row
 * @param choice of the head
 * @returns null with fewer than three classes of parts in two folds each
 * @throws CANCELLED, SINGULAR_STATISTICS
 */
export async function heldOutNovelty(
  z: Matrix,
  ledger: readonly LedgerRow[],
  { lambda, balancing }: Choice,
  products: Products,
  signal?: AbortSignal,
): Promise<HeldOutNovelty | null> {
  // The bounds are as wide as the parts are few: tiles of the same tell little more.
  const taken = rowsOfManyParts(ledger, MOST_ROWS);
  const rows = taken.map((row) => ledger[row]!);
  const folds = foldsOf(rows);
  const foldsOfClass = new Map<string, Set<number>>();
  rows.forEach(({ classId }, i) => foldsOfClass.set(classId, (foldsOfClass.get(classId) ?? new Set()).add(folds[i]!)));
  const judged = [...foldsOfClass].flatMap(([id, { size }]) => (size > 1 ? [id] : [])).sort(byCodeUnit);
  if (judged.length < LEAST_CLASSES) return null;
  const small = await condense(pick(z, taken), products);
  const statistics = gather(small, rows);
  const { classIds } = statistics;
  const counts = new Map(classIds.map((id) => [id, statistics.count(id)]));
  const weights = classWeights(counts, balancing);
  const input: NoveltyInput = {
    scatter: await statistics.weightedScatter(weights, products),
    classes: new Map(classIds.map((id) => [id, { ...statistics.of(id)!, weight: weights.get(id)! }])),
  };
  const whole = await fitSpace(input, products);
  const perClass = Math.max(1, Math.min(FOLDS, Math.floor(MOST_FITS / judged.length)));
  const classes: HeldOutNovelty['classes'] = [];
  for (const [turn, classId] of judged.entries()) {
    const fresh = rows.flatMap((row, i) => (row.classId === classId ? [i] : []));
    const fits = [];
    for (let step = 0; step < perClass; step += 1) {
      if (signal?.aborted) throw new AppError('CANCELLED');
      const fold = (turn + step) % FOLDS;
      const isOut = (i: number) => folds[i] === fold || rows[i]!.classId === classId;
      const all = rows.map((_, i) => i);
      const fitted = await fitSpaceWithout(input, whole, small, all.filter(isOut), (i) => rows[i]!.classId, products);
      const known = all.filter(
        (i) => folds[i] === fold && rows[i]!.classId !== classId && fitted?.known.has(rows[i]!.classId),
      );
      if (!fitted || known.length === 0) continue;
      const left = gather(
        small,
        rows,
        all.filter((i) => !isOut(i)),
      );
      const head = await solveHead(left, { lambda, balancing }, products);
      const signs = async (which: readonly number[]) => {
        const some = pick(small, which);
        return signsOf(fitted.space, some, await products.multiply(some, head.weights), products);
      };
      fits.push({ known: await signs(known), fresh: await signs(fresh), parts: partsAmong(known, rows) });
    }
    if (fits.length === 0) continue;
    const { scale } = fitNoveltyScale(joinSigns(fits.map((fit) => fit.known)));
    const knownPlaces: number[] = [];
    const freshOfRows = new Float64Array(fresh.length);
    for (const fit of fits) {
      const score = (of: typeof fit.known) => of.relative.map((_, i) => combine(of, scale, i));
      const [known, novel] = [score(fit.known), score(fit.fresh)];
      const knownOfRows = places(known, novel).map((share) => 1 - share);
      knownPlaces.push(...meansOfParts(fit.parts, knownOfRows));
      places(novel, known).forEach((share, i) => (freshOfRows[i]! += share / fits.length));
    }
    const freshPlaces = meansOfParts(partsAmong(fresh, rows), freshOfRows);
    const auroc = freshPlaces.reduce((a, b) => a + b, 0) / freshPlaces.length;
    classes.push({ classId, auroc, known: Float64Array.from(knownPlaces), fresh: freshPlaces });
  }
  if (classes.length < LEAST_CLASSES) return null;
  return { classes, auroc: classes.reduce((sum, { auroc }) => sum + auroc, 0) / classes.length };
}

export interface NoveltyLoss {
  /** Area under the curve that is lost, mean over the classes, with its 95 % bounds. */
  loss: number;
  lower: number;
  upper: number;
  /** The class that loses most. */
  worst: { classId: string; loss: number };
}

/** z of a one-sided 95 % bound. */
const Z = 1.645;

const variance = (values: Float64Array): number => {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return values.length < 2 ? 0 : values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
};

/**
 * What a model loses against another on the same rows: a paired comparison, part by part (DeLong, DeLong & Clarke-Pearson, 1988), so what is
 * hard for both cancels out.
 */
export function noveltyLossOf(reference: HeldOutNovelty, other: HeldOutNovelty): NoveltyLoss {
  const pairs = reference.classes.map((before, c) => {
    const after = other.classes[c]!;
    const known = before.known.map((place, i) => place - after.known[i]!);
    const fresh = before.fresh.map((place, i) => place - after.fresh[i]!);
    return {
      classId: before.classId,
      loss: before.auroc - after.auroc,
      variance: variance(known) / known.length + variance(fresh) / fresh.length,
    };
  });
  const loss = reference.auroc - other.auroc;
  const spread = (Z * Math.sqrt(pairs.reduce((sum, pair) => sum + pair.variance, 0))) / pairs.length;
  const worst = pairs.reduce((a, b) => (b.loss > a.loss ? b : a));
  return { loss, lower: loss - spread, upper: loss + spread, worst: { classId: worst.classId, loss: worst.loss } };
}
