import { createHash } from 'node:crypto';
import { byCodeUnit } from './dataset.ts';
import { nearDuplicateGroups, type Picture } from './near-duplicates.ts';

/*
 * Which newly labelled pictures judge instead of teaching. The share is drawn by content hash, so nobody picks easy ones, and the same labels give the same set; look-alikes of one shot go together or not at all, and nothing
 * that looks like a learnt picture goes.
 */

/** Parts below which a class gives nothing away: it needs all of them to be learnt, and leave-one-out tells how well that went. */
export const FEW_PARTS = 10;
/** Share of the newly labelled parts of a class. */
const SHARE = 0.3;
/** Parts of a class in the golden set below which it says next to nothing. */
const LEAST = 5;

export interface ClassCount {
  /** Newly labelled pictures that no update has learnt. */
  fresh: number;
  learnt: number;
  /** In the golden set. */
  golden: number;
}

/** How many newly labelled pictures of a class go to the golden set at most: 30 %, or what makes them five there, but never more than half of them. */
export function goldenShare({ fresh, learnt, golden }: ClassCount): number {
  if (fresh + learnt < FEW_PARTS) return 0;
  return Math.min(Math.max(Math.round(SHARE * fresh), LEAST - golden), Math.floor(fresh / 2));
}

export interface SharedPictures {
  fresh: readonly (Picture & { classId: string })[];
  /** Learnt ones, and what will teach whatever it is called: none of their look-alikes can judge. */
  taught: readonly Picture[];
  /** In the set already: their look-alikes come first, because learning them would make these leak. */
  golden: readonly (Picture & { classId: string })[];
  /** `goldenShare` of each class; others give nothing. */
  most: ReadonlyMap<string, number>;
}

const lotOf = (group: string): string => createHash('sha256').update(`golden ${group}`).digest('hex');

/** Hashes of the fresh pictures that go to the golden set, sorted; a function of the sets, in any order. */
export function drawGolden({ fresh, taught, golden, most }: SharedPictures): string[] {
  const names = nearDuplicateGroups([...fresh, ...taught, ...golden]);
  const withTaught = new Set(names.slice(fresh.length, fresh.length + taught.length));
  const goldenClasses = new Map<string, Set<string>>();
  golden.forEach(({ classId }, i) => {
    const name = names[fresh.length + taught.length + i]!;
    goldenClasses.set(name, (goldenClasses.get(name) ?? new Set()).add(classId));
  });
  const groups = [...Map.groupBy(fresh.keys(), (i) => names[i]!)]
    .map(([name, members]) => ({
      name,
      shas: members.map((i) => fresh[i]!.sha),
      classIds: new Set([...members.map((i) => fresh[i]!.classId), ...(goldenClasses.get(name) ?? [])]),
      joins: goldenClasses.has(name),
      lot: lotOf(name),
    }))
    // Look-alikes under two classes: one of the labels is wrong, and nothing is judged by it.
    .filter(({ name, classIds }) => !withTaught.has(name) && classIds.size === 1)
    .sort((a, b) => Number(b.joins) - Number(a.joins) || byCodeUnit(a.lot, b.lot));
  const left = new Map(most);
  const drawn: string[] = [];
  for (const { shas, classIds } of groups) {
    const [classId] = classIds;
    const room = left.get(classId!) ?? 0;
    if (shas.length > room) continue;
    left.set(classId!, room - shas.length);
    drawn.push(...shas);
  }
  return drawn.sort(byCodeUnit);
}
