import type { Matrix } from './dense.ts';

/*
 * What a class of few parts gets back. The head fits the few exactly, so that parts which were not learnt reach far less of their logit: with one
 * part of a new class about .3 in place of .7, while the order stays right (AUROC .98 on held-out training parts of a steel set). So its logit is
 * raised as far as held-out parts of the other classes allow: of them no more than FALSE_SHARE may fall to the class. Between classes
 * that look alike there is no such room, and nothing is raised. The constant is part of the bias: class maps and sums stay exact.
 */

/** Parts from which on a class stands alone; towards it the raise falls to nothing. */
const ENOUGH = 20;
/** Of the parts of other classes (each class alike), those that may be lost. Chosen on training images: a class held down to 1 to 10 parts, a fold held out; shares of 2, 5 and 10 in 1,000 were compared. */
const FALSE_SHARE = 0.003;
/** Held-out rows of other classes below which their tail says nothing. */
const LEAST_OTHERS = 100;

export interface HeldOutRows {
  classIds: readonly string[];
  /** Column of the class of each row, and its fold. */
  truth: ArrayLike<number>;
  folds: ArrayLike<number>;
  /** Part that each row is a tile of. */
  parts: ArrayLike<string>;
  /** Row-major [rows, classes], of models without the row's fold. */
  logits: Matrix;
  /** Parts per class in the whole ledger. */
  counts: ReadonlyMap<string, number>;
}

/** What is added to the logits of classes of few parts; classes that get nothing are not in it. A function of the set of rows. */
export function raisedLogits({ classIds, truth, folds, parts, logits, counts }: HeldOutRows): Map<string, number> {
  const k = classIds.length;
  const few = classIds.map((id) => counts.get(id)! < ENOUGH);
  const raised = new Map<string, number>();
  classIds.forEach((id, c) => {
    if (!few[c]) return;
    const own = new Map<number, number>();
    let rows = 0;
    for (let i = 0; i < truth.length; i += 1) {
      if (truth[i] !== c) continue;
      rows += 1;
      own.set(folds[i]!, (own.get(folds[i]!) ?? 0) + 1);
    }
    // A part is lost with the first of its tiles: three in a thousand tiles would be one good part in ten.
    const margins = new Map<string, { margin: number; class: number }>();
    let others = 0;
    for (let i = 0; i < truth.length; i += 1) {
      // A model without any part of the class says nothing of it; of other small classes the held-out logits are too low themselves.
      if (few[truth[i]!] || own.get(folds[i]!) === rows) continue;
      let best = Number.NEGATIVE_INFINITY;
      for (let j = 0; j < k; j += 1) if (j !== c) best = Math.max(best, logits.data[i * k + j]!);
      others += 1;
      const part = `${truth[i]!} ${parts[i]!}`;
      const margin = Math.max(logits.data[i * k + c]! - best, margins.get(part)?.margin ?? Number.NEGATIVE_INFINITY);
      margins.set(part, { margin, class: truth[i]! });
    }
    if (others < LEAST_OTHERS) return;
    const perClass = new Map<number, number>();
    for (const { class: other } of margins.values()) perClass.set(other, (perClass.get(other) ?? 0) + 1);
    let lost = 0;
    const tail = [...margins.values()]
      .sort((a, b) => b.margin - a.margin)
      .find(({ class: other }) => {
        lost += 1 / (perClass.get(other)! * perClass.size);
        return lost > FALSE_SHARE;
      });
    const raise = -(tail?.margin ?? 0) * (1 - counts.get(id)! / ENOUGH);
    if (raise > 0) raised.set(id, raise);
  });
  return raised;
}
