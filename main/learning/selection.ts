import { createHash } from 'node:crypto';
import { AppError } from '../contract/errors.ts';
import { cholesky, invertLower, matrix, slice, solveCholesky, type Matrix, type Products } from './dense.ts';
import { byCodeUnit } from './dataset.ts';
import { raisedLogits } from './few-parts.ts';
import { FOLDS, foldsOf, partOf, type LedgerRow } from './folds.ts';
import { classWeights } from './solve.ts';

/*
 * lambda and g from the ledger alone: cross-validation over the five folds. With G = (K + lambda I)^-1 of the weighted kernel
 * K = D^1/2 Z Z^T D^1/2 and alpha = G D^1/2 Y, the residual of a fold f under the fit WITHOUT that fold is G_ff^-1 alpha_f
 * (block form of the leave-one-out identity: Golub, Heath & Wahba 1979; Cawley & Talbot 2004), so five folds cost one
 * factorisation.
 */

export { FOLDS, type LedgerRow } from './folds.ts';

export interface Choice {
  lambda: number;
  balancing: number;
  /** Added to the logits of classes of few parts (few-parts.ts). */
  raised?: ReadonlyMap<string, number>;
}

export interface CrossValidation extends Choice {
  raised: ReadonlyMap<string, number>;
  /** Ledger rows that took part, by index. */
  rows: number[];
  /** Fold of each of them. */
  folds: number[];
  classIds: string[];
  /** Logits of each by the fit without its fold, row-major [rows, classes]; raised ones are. */
  logits: Matrix;
  /** Mean over classes of the share judged right; null: no class has images in two folds. */
  balancedAccuracy: number | null;
}

/** Half decades. Backbones differ a hundredfold in how far their features lie apart. */
const LAMBDAS = [1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3, 10];
/** Where the search starts, and what is used while nothing can be held out: this share of the variance of z. */
const LAMBDA_PER_VARIANCE = 0.25;
const LAMBDA_WITHOUT_ROWS = 0.01;
const FIRST_BALANCING = 1;
const HOPELESS = 0.03;
const BALANCINGS = [1, 0.5, 0];
/** Rows that take part: a factorisation takes their cube. */
const MAX_ROWS = 1200;
/** Of a recipe with tiles, those that models are judged by: with thirty of them some 400 parts. */
const MAX_TILES = 12_000;

/** A row of every part, then another of each, and so on; which of its tiles comes first is drawn, else a corner of all would stand for them. */
function inTurns(rows: readonly number[], ledger: readonly LedgerRow[]): number[] {
  const drawn = (row: number) => createHash('sha256').update(ledger[row]!.key!).update(ledger[row]!.sha).digest('hex');
  const turns = [...Map.groupBy(rows, (row) => partOf(ledger, row)).values()].flatMap((own) =>
    own.length === 1
      ? [{ row: own[0]!, turn: 0 }]
      : own
          .map((row) => ({ row, place: drawn(row) }))
          .sort((a, b) => byCodeUnit(a.place, b.place))
          .map(({ row }, turn) => ({ row, turn })),
  );
  return turns.sort((a, b) => a.turn - b.turn).map(({ row }) => row);
}

/** @param orderOf rows of a class by content hash, in the order in which they are taken */
function evenOverClasses(
  ledger: readonly LedgerRow[],
  limit: number,
  orderOf: (rows: readonly number[]) => readonly number[],
): number[] {
  const byClass = new Map<string, number[]>();
  ledger.forEach(({ classId }, i) => {
    const list = byClass.get(classId);
    if (list) list.push(i);
    else byClass.set(classId, [i]);
  });
  // Built once: a ledger has a hundred thousand rows, and a sort asks for each many times.
  const ids = ledger.map(({ sha, key = '', classId }) => `${sha}${key}\u0000${classId}`);
  const order = (a: number, b: number) => byCodeUnit(ids[a]!, ids[b]!);
  const groups = [...byClass].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, rows]) => rows.sort(order));
  // Small classes first: what they leave unused goes to the larger ones.
  let left = limit;
  let open = groups.length;
  const chosen: number[] = [];
  for (const rows of [...groups].sort((a, b) => a.length - b.length)) {
    const take = Math.min(rows.length, Math.floor(left / open));
    chosen.push(...orderOf(rows).slice(0, take));
    left -= take;
    open -= 1;
  }
  return chosen.sort(order);
}

/**
 * At most MAX_ROWS, as even over the classes as can be, by content hash: independent of order, and stable while the ledger
 * grows.
 */
export const representativeRows = (ledger: readonly LedgerRow[], limit = MAX_ROWS): number[] =>
  evenOverClasses(ledger, limit, (rows) => rows);

/** The same, but a tile each of as many parts as can be rather than all tiles of some: those of one part are seen in one light. */
export const rowsOfManyParts = (ledger: readonly LedgerRow[], limit = MAX_ROWS): number[] =>
  evenOverClasses(ledger, limit, (rows) => inTurns(rows, ledger));

/** What the choice is made on: ledger rows by index, with the fold of each, in the order of the folds. */
export interface Sample {
  rows: number[];
  folds: number[];
}

/**
 * Rows with their folds, one fold after the other: a fold is then a block. Groups are formed among these rows: no other is held out. A function of their set.
 * @param radii and @param drawing as in folds.ts
 */
export function inFolds(
  rows: readonly number[],
  ledger: readonly LedgerRow[],
  radii?: readonly number[],
  drawing?: number,
): Sample {
  const folds = foldsOf(
    rows.map((row) => ledger[row]!),
    radii,
    drawing,
  );
  const order = rows.map((_, i) => i).sort((a, b) => folds[a]! - folds[b]! || a - b);
  return { rows: order.map((i) => rows[i]!), folds: order.map((i) => folds[i]!) };
}

/** The rows by which lambda and g are chosen, in folds. */
export const sampleOf = (ledger: readonly LedgerRow[]): Sample => inFolds(representativeRows(ledger), ledger);

/**
 * Rows of a recipe with tiles by which a model is judged: a good part teaches all its tiles, and MAX_ROWS of them are a few dozen parts. As many whole parts as fit, even over the classes as
 * representativeRows are; a head for each fold (held-out-heads.ts) takes them, a kernel could not.
 * @returns null: without tiles, or where sampleOf has all rows
 */
export function sampleOfParts(ledger: readonly LedgerRow[], limit = MAX_TILES): Sample | null {
  if (ledger.length <= MAX_ROWS) return null;
  const tilesOf = Map.groupBy(ledger.keys(), (row) => partOf(ledger, row));
  if (tilesOf.size === ledger.length) return null;
  const rows = representativeRows(ledger, limit);
  const taken = Map.groupBy(rows, (row) => partOf(ledger, row));
  const whole = rows.filter(
    (row) => taken.get(partOf(ledger, row))!.length === tilesOf.get(partOf(ledger, row))!.length,
  );
  // A class whose first part alone has too many tiles is better told by some of them than not at all.
  const known = new Set(whole.map((row) => ledger[row]!.classId));
  return inFolds([...whole, ...rows.filter((row) => !known.has(ledger[row]!.classId))], ledger);
}

/** Some rows of a matrix, in the order given. */
export function pick(z: Matrix, rows: readonly number[]): Matrix {
  const picked = matrix(rows.length, z.columns);
  rows.forEach((row, i) => picked.data.set(z.data.subarray(row * z.columns, (row + 1) * z.columns), i * z.columns));
  return picked;
}

export interface Problem {
  classIds: string[];
  rows: readonly number[];
  /** Class of each row as a column. */
  truth: Int32Array;
  /** First row of each fold, and the end; rows beyond it are in none. */
  foldStart: number[];
  /** Z Z^T. */
  kernel: Matrix;
  /** Images per class in the whole ledger, and among the rows. */
  counts: Map<string, number>;
  taken: number[];
  /** Rows whose class is seen in another fold too: the others cannot be right. */
  judged: Uint8Array;
}

/** Logits of all rows for one choice, each by the fit without its fold; of rows in no fold zeros. */
export async function heldOut(
  problem: Omit<Problem, 'judged'>,
  { lambda, balancing }: Choice,
  products: Products,
): Promise<Matrix> {
  const { rows, truth, classIds, kernel, counts, taken, foldStart } = problem;
  const n = rows.length;
  const perClass = classWeights(counts, balancing);
  // A class of which only some rows take part keeps its whole weight.
  const weight = classIds.map((id, c) => (perClass.get(id)! * counts.get(id)!) / taken[c]!);
  let total = 0;
  for (const c of truth) total += weight[c]!;
  const root = Float64Array.from(truth, (c) => Math.sqrt((weight[c]! * n) / total));
  const a = matrix(n, n);
  const y = matrix(n, classIds.length);
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) a.data[i * n + j] = kernel.data[i * n + j]! * root[i]! * root[j]!;
    a.data[i * n + i]! += lambda;
    y.data[i * classIds.length + truth[i]!] = root[i]!;
  }
  const factor = await cholesky(a, products);
  const alpha = await solveCholesky(factor, y, products);
  const inverse = await invertLower(factor, products);
  const logits = matrix(n, classIds.length);
  for (let fold = 0; fold + 1 < foldStart.length; fold += 1) {
    const from = foldStart[fold]!;
    const count = foldStart[fold + 1]! - from;
    if (count === 0) continue;
    // Rows of L^-1 above the fold's first are zero in its columns.
    const columns = slice(inverse, from, n - from, from, count);
    const block = await products.multiply(columns, columns, { transposeA: true });
    const part = await solveCholesky(
      await cholesky(block, products),
      slice(alpha, from, count, 0, classIds.length),
      products,
    );
    for (let i = 0; i < count; i += 1) {
      for (let c = 0; c < classIds.length; c += 1) {
        const target = truth[from + i] === c ? 1 : 0;
        const at = (from + i) * classIds.length + c;
        logits.data[at] = target - part.data[i * classIds.length + c]! / root[from + i]!;
      }
    }
  }
  return logits;
}

/** Balanced accuracy, and the score of a choice: balanced accuracy less the balanced Brier loss. */
function scoreOf({ truth, classIds, judged }: Problem, logits: Matrix): { score: number; accuracy: number | null } {
  const k = classIds.length;
  const right = new Float64Array(k);
  const loss = new Float64Array(k);
  const seen = new Float64Array(k);
  for (let i = 0; i < truth.length; i += 1) {
    if (judged[i] === 0) continue;
    const t = truth[i]!;
    let best = 0;
    for (let c = 0; c < k; c += 1) {
      const value = logits.data[i * k + c]!;
      if (value > logits.data[i * k + best]!) best = c;
      loss[t]! += (value - (c === t ? 1 : 0)) ** 2;
    }
    if (best === t) right[t]! += 1;
    seen[t]! += 1;
  }
  let accuracy = 0;
  let brier = 0;
  let classes = 0;
  for (let c = 0; c < k; c += 1) {
    if (seen[c] === 0) continue;
    classes += 1;
    accuracy += right[c]! / seen[c]!;
    brier += loss[c]! / seen[c]!;
  }
  if (classes === 0) return { score: 0, accuracy: null };
  return { score: (accuracy - brier) / classes, accuracy: accuracy / classes };
}

/** Index of the lambda nearest to its usual share of the variance of z, told from Z Z^T alone; 1e-4 to 0.3. */
function startOf({ rows: n, data }: Matrix): number {
  let diagonal = 0;
  let all = 0;
  for (let i = 0; i < n; i += 1) diagonal += data[i * n + i]!;
  for (const value of data) all += value;
  const variance = diagonal / n - all / n ** 2;
  const wanted = Math.log(Math.min(0.3, Math.max(1e-4, LAMBDA_PER_VARIANCE * variance)));
  const distance = (lambda: number) => Math.abs(Math.log(lambda) - wanted);
  return LAMBDAS.reduce((best, lambda, i) => (distance(lambda) < distance(LAMBDAS[best]!) ? i : best), 0);
}

export interface ValidationOptions {
  /** Takes this lambda and g instead of searching. */
  fixed?: Choice;
  /** Parts per class with those of other stations; default: those of the ledger. */
  known?: ReadonlyMap<string, number>;
  signal?: AbortSignal;
}

/**
 * Chooses lambda and g and gives the held-out logits of that choice.
 * @param z embedded ledger, one row per ledger row
 * @throws CANCELLED, SINGULAR_STATISTICS
 */
export function crossValidate(
  z: Matrix,
  ledger: readonly LedgerRow[],
  products: Products,
  options: ValidationOptions = {},
): Promise<CrossValidation> {
  const sample = sampleOf(ledger);
  return crossValidateSample(pick(z, sample.rows), sample, ledger, products, options);
}

/**
 * The same, when only the rows that take part are at hand.
 * @param picked embedded rows of the sample, in its order
 * @throws CANCELLED, SINGULAR_STATISTICS
 */
export async function crossValidateSample(
  picked: Matrix,
  { rows, folds }: Sample,
  ledger: readonly LedgerRow[],
  products: Products,
  { fixed, known, signal }: ValidationOptions = {},
): Promise<CrossValidation> {
  const counts = new Map<string, number>();
  for (const { classId } of ledger) counts.set(classId, (counts.get(classId) ?? 0) + 1);
  const classIds = [...counts.keys()].sort(byCodeUnit);
  if (rows.length === 0) {
    // All that is known came from other stations, as sums: nothing can be held out.
    const choice = fixed ?? { lambda: LAMBDA_WITHOUT_ROWS, balancing: FIRST_BALANCING };
    return { ...choice, raised: new Map(), rows, folds, classIds, logits: matrix(0, 0), balancedAccuracy: null };
  }
  const column = new Map(classIds.map((id, c) => [id, c]));
  const truth = Int32Array.from(rows, (row) => column.get(ledger[row]!.classId)!);
  const perFold = Array.from({ length: FOLDS }, () => new Int32Array(classIds.length));
  const taken = classIds.map(() => 0);
  truth.forEach((c, i) => {
    perFold[folds[i]!]![c]! += 1;
    taken[c]! += 1;
  });
  const judged = Uint8Array.from(truth, (c, i) => (taken[c]! > perFold[folds[i]!]![c]! ? 1 : 0));
  const foldStart = Array.from({ length: FOLDS + 1 }, (_, f) => folds.filter((fold) => fold < f).length);
  const kernel = await products.multiply(picked, picked, { transposeB: true });
  const problem: Problem = { classIds, rows, truth, foldStart, kernel, counts, taken, judged };

  const tried = new Map<string, { choice: Choice; logits: Matrix; score: number; accuracy: number | null }>();
  const attempt = async (choice: Choice) => {
    const key = `${choice.lambda} ${choice.balancing}`;
    const before = tried.get(key);
    if (before) return before;
    if (signal?.aborted) throw new AppError('CANCELLED');
    const logits = await heldOut(problem, choice, products);
    const result = { choice, logits, ...scoreOf(problem, logits) };
    tried.set(key, result);
    return result;
  };

  const start = startOf(kernel);
  let best = await attempt(fixed ?? { lambda: LAMBDAS[start]!, balancing: FIRST_BALANCING });
  // Fewer rows than folds in the mean class: what is held out says so little that the best score goes to whoever says nothing, a lambda so large that the commonest class always wins.
  const tellsEnough = rows.length >= FOLDS * classIds.length;
  if (!fixed && tellsEnough && best.accuracy !== null && classIds.length > 1) {
    const climb = async (balancing: number, from: number) => {
      let at = from;
      let here = await attempt({ lambda: LAMBDAS[at]!, balancing });
      // Far behind the best so far: no lambda makes up for that, and each try is a factorisation.
      if (here.score < best.score - HOPELESS) return at;
      for (const step of [-1, 1]) {
        let moved = false;
        for (;;) {
          const next = LAMBDAS[at + step];
          if (next === undefined) break;
          const there = await attempt({ lambda: next, balancing });
          if (there.score <= here.score) break;
          here = there;
          at += step;
          moved = true;
        }
        if (moved) break;
      }
      if (here.score > best.score) best = here;
      return at;
    };
    let at = await climb(FIRST_BALANCING, start);
    const sizes = [...counts.values()];
    // Among classes of nearly one size g changes nothing.
    if (Math.max(...sizes) > 1.25 * Math.min(...sizes)) {
      for (const balancing of BALANCINGS) if (balancing !== FIRST_BALANCING) at = await climb(balancing, at);
    }
  }
  const parts = rows.map((row) => partOf(ledger, row));
  const raised = raisedLogits({ classIds, truth, folds, parts, logits: best.logits, counts: known ?? counts });
  const logits = matrix(best.logits.rows, classIds.length, best.logits.data.slice());
  for (const [id, more] of raised) {
    for (let at = column.get(id)!; at < logits.data.length; at += classIds.length) logits.data[at]! += more;
  }
  const { lambda, balancing } = best.choice;
  const balancedAccuracy = raised.size > 0 ? scoreOf(problem, logits).accuracy : best.accuracy;
  return { lambda, balancing, raised, rows, folds, classIds, logits, balancedAccuracy };
}

/** Rows of a cross-validation whose class was seen in another fold. */
export function judgedRows(
  { rows, folds }: Pick<CrossValidation, 'rows' | 'folds'>,
  ledger: readonly LedgerRow[],
): number[] {
  const foldsOfClass = new Map<string, Set<number>>();
  rows.forEach((row, i) => {
    const { classId } = ledger[row]!;
    foldsOfClass.set(classId, (foldsOfClass.get(classId) ?? new Set()).add(folds[i]!));
  });
  return rows.flatMap((row, i) => (foldsOfClass.get(ledger[row]!.classId)!.size > 1 ? [i] : []));
}
