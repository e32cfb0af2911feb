import type { StudyReport } from '../../../main/contract/study.ts';

/** How a person or model stands; limits of AIAG, Measurement Systems Analysis, 4th ed., chapter III.C. */
export type Grade = 'good' | 'marginal' | 'bad';

const limits = {
  /** Parts called right in all rounds, at least. */
  right: [0.9, 0.8],
  /** Calls of NG parts that let them pass, at most. */
  escape: [0.02, 0.05],
  /** Calls of good parts that refuse them, at most. */
  overkill: [0.05, 0.1],
} as const;

type RaterReport = StudyReport['raters'][number];
const shareOf = ({ count, of }: { count: number; of: number }): number => (of === 0 ? 0 : count / of);

/** The worst of its three figures decides. */
export function gradeOf({ right, escape, overkill }: Pick<RaterReport, 'right' | 'escape' | 'overkill'>): Grade {
  const within = (step: 0 | 1) =>
    shareOf(right) >= limits.right[step] &&
    shareOf(escape) <= limits.escape[step] &&
    shareOf(overkill) <= limits.overkill[step];
  if (within(0)) return 'good';
  return within(1) ? 'marginal' : 'bad';
}
