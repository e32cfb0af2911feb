import { AppError } from '../contract/errors.ts';
import { probabilities } from './calibration.ts';
import { byCodeUnit } from './dataset.ts';
import { matrix, type Matrix, type Products } from './dense.ts';
import { gather } from './knowledge.ts';
import { nearDuplicateGroups } from './near-duplicates.ts';
import { judgedRows, type CrossValidation, type LedgerRow } from './selection.ts';
import { solveHead } from './solve.ts';

/*
 * Labels that are perhaps wrong, by two signs. A part that a model without it takes for another class, and as surely as that model takes
 * the parts of that other class for theirs (confident learning: Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in
 * Dataset Labels", JAIR 2021; ranked by normalized margin). And copies of one shot under different labels: one of them at least is wrong,
 * whatever any model says.
 *
 * Nothing is changed here: a person decides.
 */

export interface Suspect {
  /** Row of the ledger. */
  index: number;
  classId: string;
  /** What the held-out model gives instead, or the label of the copies. */
  suggestedClassId: string;
  /** Held-out probabilities of the two; null: the part could not be held out. */
  given: number | null;
  suggested: number | null;
  /** Rows of the ledger that are copies of it under other labels. */
  contradicting: number[];
}

/** Class probabilities of ledger rows by models that did not learn them; rows that no such model judges are NaN. */
export interface HeldOut {
  classIds: readonly string[];
  /** [rows of the ledger, classes] */
  probabilities: Matrix;
}

export interface HeldOutInput {
  ledger: readonly LedgerRow[];
  /** Of the sample; its choice and logits are used again. */
  validation: CrossValidation;
  temperature: number;
  /** Embedded rows of the sample, in its order. */
  picked: Matrix;
  /** Rows outside the sample that are judged too, by the model of the sample: that has not learnt them either. */
  others: readonly number[];
  /** Embedded rows of the ledger by index. */
  readRows: (indices: readonly number[]) => Promise<Matrix>;
}

/** Rows that are read at once. */
const PIECE = 512;

/** @throws FEATURES_NOT_FINITE, SINGULAR_STATISTICS, CANCELLED */
export async function heldOutProbabilities(
  { ledger, validation, temperature, picked, others, readRows }: HeldOutInput,
  { products, signal }: { products: Products; signal?: AbortSignal },
): Promise<HeldOut> {
  const { classIds, rows, logits } = validation;
  const k = classIds.length;
  const out = matrix(ledger.length, k);
  out.data.fill(Number.NaN);
  // A class that is in one fold alone is unknown to the model without it.
  for (const i of judgedRows(validation, ledger)) {
    out.data.set(probabilities(logits.data, i * k, k, temperature), rows[i]! * k);
  }
  if (others.length > 0) {
    const part = rows.map((row) => ledger[row]!);
    const { weights } = await solveHead(gather(picked, part), validation, products);
    for (let from = 0; from < others.length; from += PIECE) {
      if (signal?.aborted) throw new AppError('CANCELLED');
      const piece = others.slice(from, from + PIECE);
      const scores = await products.multiply(await readRows(piece), weights);
      piece.forEach((row, i) => out.data.set(probabilities(scores.data, i * k, k, temperature), row * k));
    }
  }
  return { classIds, probabilities: out };
}

/**
 * Share of the labels that may be doubted by disagreement. Where classes can hardly be told apart, disagreement says nothing: of ir_solar's labels, clean as
 * they are, two fifths are doubted, of three other sets none to four hundredths (test/bench/results/label-errors.json).
 */
const MOST_DOUBTED = 0.2;

/** Name of a row that does not depend on the order of the ledger. */
const nameOf = ({ sha, key = '' }: LedgerRow): string => `${sha}${key}`;

/** Confident disagreement, the surest first. */
function confidentDisagreement(ledger: readonly LedgerRow[], { classIds, probabilities: held }: HeldOut): Suspect[] {
  const k = classIds.length;
  const column = new Map(classIds.map((id, c) => [id, c]));
  // Threshold of a class: how sure of it the model is, on average, where it is the label.
  const sure = new Float64Array(k);
  const seen = new Float64Array(k);
  ledger.forEach(({ classId }, i) => {
    const c = column.get(classId)!;
    const p = held.data[i * k + c]!;
    if (Number.isNaN(p)) return;
    sure[c]! += p;
    seen[c]! += 1;
  });
  for (let c = 0; c < k; c += 1) sure[c] = seen[c]! > 0 ? sure[c]! / seen[c]! : Number.POSITIVE_INFINITY;
  const found = ledger.flatMap(({ classId }, index) => {
    const own = column.get(classId)!;
    const given = held.data[index * k + own]!;
    let best = -1;
    for (let c = 0; c < k; c += 1) {
      const p = held.data[index * k + c]!;
      if (c === own || !(p >= sure[c]!) || !(p > given)) continue;
      if (best < 0 || p > held.data[index * k + best]!) best = c;
    }
    if (best < 0) return [];
    const suggested = held.data[index * k + best]!;
    return [{ index, classId, suggestedClassId: classIds[best]!, given, suggested, contradicting: [] }];
  });
  // A model that is at odds with so many labels is not the one to doubt them.
  if (found.length > MOST_DOUBTED * seen.reduce((sum, n) => sum + n, 0)) return [];
  return found.sort(
    (a, b) =>
      a.given - a.suggested - (b.given - b.suggested) || byCodeUnit(nameOf(ledger[a.index]!), nameOf(ledger[b.index]!)),
  );
}

/** Groups of rows that are copies of one shot under more than one label. Regions of one picture are not copies of each other. */
export function contradictions(ledger: readonly LedgerRow[]): number[][] {
  // Equal hashes only: a few bits apart are also two parts of one kind before a fixed camera.
  const names = nearDuplicateGroups(ledger, [0]);
  return [...Map.groupBy(ledger.keys(), (i) => names[i]!).values()].filter(
    (rows) =>
      new Set(rows.map((i) => ledger[i]!.sha)).size > 1 && new Set(rows.map((i) => ledger[i]!.classId)).size > 1,
  );
}

/** Suspect labels of a ledger: contradicting copies first, then confident disagreement, the surest first. */
export function findSuspects(ledger: readonly LedgerRow[], held: HeldOut): Suspect[] {
  const { classIds } = held;
  const column = new Map(classIds.map((id, c) => [id, c]));
  const sureOf = (index: number, classId: string): number | null => {
    const p = held.probabilities.data[index * classIds.length + column.get(classId)!]!;
    return Number.isNaN(p) ? null : p;
  };
  const doubt = ({ given, suggested }: Suspect) => (suggested ?? 0) - (given ?? 0);
  const ofCopies = new Set<number>();
  const certain: Suspect[] = [];
  for (const group of contradictions(ledger)) {
    const doubted = group.map((index) => {
      const { classId } = ledger[index]!;
      const contradicting = group.filter((other) => ledger[other]!.classId !== classId);
      // The label that most of the others have; of equals the one that the held-out model takes for likelier.
      const votes = new Map<string, number>();
      for (const other of contradicting) {
        const id = ledger[other]!.classId;
        votes.set(id, (votes.get(id) ?? 0) + 1);
      }
      const [first] = [...votes].sort(
        ([a, x], [b, y]) => y - x || (sureOf(index, b) ?? 0) - (sureOf(index, a) ?? 0) || byCodeUnit(a, b),
      );
      const suggestedClassId = first![0];
      const [given, suggested] = [sureOf(index, classId), sureOf(index, suggestedClassId)];
      return { index, classId, suggestedClassId, given, suggested, contradicting };
    });
    // Where the model takes a side, the copies on it need not be looked at.
    const against = doubted.filter((suspect) => doubt(suspect) > 0);
    certain.push(...(against.length > 0 ? against : doubted));
    for (const index of group) ofCopies.add(index);
  }
  certain.sort((a, b) => doubt(b) - doubt(a) || byCodeUnit(nameOf(ledger[a.index]!), nameOf(ledger[b.index]!)));
  return [...certain, ...confidentDisagreement(ledger, held).filter(({ index }) => !ofCopies.has(index))];
}
