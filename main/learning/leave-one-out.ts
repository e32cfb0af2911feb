import type { Matrix, Products } from './dense.ts';
import { argmax } from './evaluation.ts';
import { picturesPerClass } from './folds.ts';
import { FEW_PARTS } from './golden-share.ts';
import { nearDuplicateGroups } from './near-duplicates.ts';
import { heldOut, pick, type CrossValidation, type LedgerRow, type Sample } from './selection.ts';

/*
 * Classes of few parts: five folds leave out a fifth of them at a time, and that says little. Each part is left out alone (with the copies of the same shot), under the lambda, g and class weights of the whole; the same
 * identity as in selection.ts, with one part for a fold.
 */

export interface LeftOut {
  /** Parts whose every view was told right. */
  right: number;
  of: number;
}

/** Of each class of fewer than FEW_PARTS parts that has more than one shot; of other classes nothing. A function of the set of rows. */
export async function leaveOneOut(
  picked: Matrix,
  { rows }: Pick<Sample, 'rows'>,
  ledger: readonly LedgerRow[],
  { classIds, lambda, balancing, raised }: CrossValidation,
  products: Products,
): Promise<Map<string, LeftOut>> {
  const parts = picturesPerClass(ledger);
  const isFew = (classId: string) => parts.get(classId)! < FEW_PARTS;
  const entries = rows.map((row) => ledger[row]!);
  if (classIds.length < 2 || !entries.some(({ classId }) => isFew(classId))) return new Map();
  const names = nearDuplicateGroups(entries, [0]);
  const all = [...Map.groupBy(entries.keys(), (i) => names[i]!).values()];
  const shots = new Map<string, number>();
  for (const group of all) {
    for (const classId of new Set(group.map((i) => entries[i]!.classId))) {
      shots.set(classId, (shots.get(classId) ?? 0) + 1);
    }
  }
  const asked = (i: number) => isFew(entries[i]!.classId) && shots.get(entries[i]!.classId)! > 1;
  const groups = all.filter((group) => group.some(asked));
  const order = [...groups, ...all.filter((group) => !group.some(asked))].flat();
  const column = new Map(classIds.map((id, c) => [id, c]));
  const truth = Int32Array.from(order, (i) => column.get(entries[i]!.classId)!);
  const z = pick(picked, order);
  const countOf = (list: readonly LedgerRow[]) => {
    const counts = new Map(classIds.map((id) => [id, 0]));
    for (const { classId } of list) counts.set(classId, counts.get(classId)! + 1);
    return counts;
  };
  const taken = countOf(entries);
  const foldStart = groups.reduce((starts, group) => [...starts, starts.at(-1)! + group.length], [0]);
  const logits = await heldOut(
    {
      classIds,
      rows: order.map((i) => rows[i]!),
      truth,
      foldStart,
      kernel: await products.multiply(z, z, { transposeB: true }),
      counts: countOf(ledger),
      taken: classIds.map((id) => taken.get(id)!),
    },
    { lambda, balancing },
    products,
  );
  const more = classIds.map((id) => raised.get(id) ?? 0);
  const toldRight = (at: number) => {
    const own = more.map((raise, c) => logits.data[at * logits.columns + c]! + raise);
    return argmax(own, 0, own.length) === truth[at];
  };
  const found = new Map<string, LeftOut>();
  const pictures = Map.groupBy(
    Array.from({ length: foldStart.at(-1)! }, (_, at) => at),
    (at) => {
      const { sha, classId } = entries[order[at]!]!;
      return `${sha} ${classId}`;
    },
  );
  for (const views of pictures.values()) {
    const { classId } = entries[order[views[0]!]!]!;
    if (!asked(order[views[0]!]!)) continue;
    const left = found.get(classId) ?? { right: 0, of: 0 };
    found.set(classId, { right: left.right + Number(views.every(toldRight)), of: left.of + 1 });
  }
  return found;
}
