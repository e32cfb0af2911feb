import type { ChangedVerdict } from '../../contract/domain.ts';
import type { Successors } from '../../contract/trainer.ts';
import type { TileJudgement } from '../../inspection/decide.ts';

/* Verdicts of models on the same parts, and what changed between two of them. */

export interface Verdict {
  truth: string;
  judgement: TileJudgement;
}

type Told = Pick<TileJudgement, 'verdict' | 'classId'>;

/** What classes that a model names are called today: one from before two of them were made one still names the one that is gone. */
export const classesToday = (successors: Successors) => {
  const into = new Map(successors);
  const classToday = (classId: string): string => into.get(classId) ?? classId;
  const today = <T extends Told>(told: T): T => ({ ...told, classId: told.classId && classToday(told.classId) });
  return { classToday, today };
};

/** The same verdict of the same class; unsure is unsure, whatever class was nearest. */
export const same = (a: Told, b: Told): boolean =>
  a.verdict === b.verdict && (a.classId === b.classId || a.verdict === 'unsure');

/** A verdict was given, and it names the part's class. */
export const isRight = ({ truth, judgement }: Verdict): boolean =>
  judgement.verdict !== 'unsure' && judgement.classId === truth;

/** Whether the best class is the part's, sure or not: what recall means. */
const names = ({ truth, judgement }: Verdict): boolean => judgement.classId === truth;

/** Per class, of the parts that both judged: how many only the one before named right (lost), and only the one after (won). */
export function pairsByClass(
  from: ReadonlyMap<number, Verdict>,
  to: ReadonlyMap<number, Verdict>,
): { classId: string; pairs: { n: number; lost: number; won: number } }[] {
  const byClass = new Map<string, { n: number; lost: number; won: number }>();
  for (const [row, after] of to) {
    const before = from.get(row);
    if (!before) continue;
    const pairs = byClass.get(after.truth) ?? { n: 0, lost: 0, won: 0 };
    pairs.n += 1;
    if (names(before) && !names(after)) pairs.lost += 1;
    if (!names(before) && names(after)) pairs.won += 1;
    byClass.set(after.truth, pairs);
  }
  return [...byClass].map(([classId, pairs]) => ({ classId, pairs }));
}

/** Share of the parts of each class whose class was named, sure or not. */
export function recallByClass(verdicts: ReadonlyMap<number, Verdict>): Map<string, number> {
  const seen = new Map<string, { n: number; right: number }>();
  for (const verdict of verdicts.values()) {
    const entry = seen.get(verdict.truth) ?? { n: 0, right: 0 };
    entry.n += 1;
    if (names(verdict)) entry.right += 1;
    seen.set(verdict.truth, entry);
  }
  return new Map([...seen].map(([classId, { n, right }]) => [classId, right / n]));
}

/** Defective parts, and those of them that were judged good. */
export function escapesOf(
  verdicts: ReadonlyMap<number, Verdict>,
  okIds: ReadonlySet<string>,
): { ng: number; escaped: number } {
  const ng = [...verdicts.values()].filter(({ truth }) => !okIds.has(truth));
  return { ng: ng.length, escaped: ng.filter(({ judgement }) => judgement.verdict === 'ok').length };
}

/** Good parts, and those of them that were judged defective. */
export function overkillsOf(
  verdicts: ReadonlyMap<number, Verdict>,
  okIds: ReadonlySet<string>,
): { ok: number; overkilled: number } {
  const ok = [...verdicts.values()].filter(({ truth }) => okIds.has(truth));
  return { ok: ok.length, overkilled: ok.filter(({ judgement }) => judgement.verdict === 'ng').length };
}

const kindOf = (before: Verdict, after: Verdict): ChangedVerdict['kind'] => {
  if (isRight(before) === isRight(after)) return 'both-wrong';
  return isRight(after) ? 'better' : 'worse';
};

/** Parts whose verdict changed, what became worse first. @param shaOf content hash of the image of a row */
export function changedBetween(
  from: ReadonlyMap<number, Verdict>,
  to: ReadonlyMap<number, Verdict>,
  shaOf: (row: number) => string,
): ChangedVerdict[] {
  const rank = { worse: 0, 'both-wrong': 1, better: 2 } as const;
  const told = ({ judgement: { verdict, classId } }: Verdict) => ({ verdict, classId });
  return [...to]
    .flatMap(([row, after]): ChangedVerdict[] => {
      const before = from.get(row);
      if (!before || same(before.judgement, after.judgement)) return [];
      const { truth } = after;
      return [
        {
          imageSha: shaOf(row),
          truthClassId: truth,
          from: told(before),
          to: told(after),
          kind: kindOf(before, after),
        },
      ];
    })
    .sort((a, b) => rank[a.kind] - rank[b.kind]);
}
