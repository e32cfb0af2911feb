import type { Candidate, Knowledge, LineStatus } from '../../main/contract/domain.ts';
import type { Area } from './areas.ts';

/* The guided first round in a demo: what a newcomer has done already, and what comes next. Pure. */

export const roundSteps = ['watch', 'label', 'learn', 'compress', 'approve', 'activate'] as const;
export type RoundStep = (typeof roundSteps)[number];

export const areaOfStep: Record<RoundStep, Area> = {
  watch: 'live',
  label: 'label',
  learn: 'learn',
  compress: 'learn',
  approve: 'approve',
  activate: 'approve',
};

export interface RoundFacts {
  line: Pick<LineStatus, 'parts'> | null;
  /** Labels that no knowledge has learnt. */
  fresh: number;
  /** Oldest first; the demo brings the first one. */
  knowledge: readonly Pick<Knowledge, 'id'>[];
  candidates: readonly Pick<Candidate, 'knowledgeId' | 'state'>[];
}

/** The step that is due; null: the round is complete. What came later counts: whoever labels without watching has watched. */
export function roundStep({ line, fresh, knowledge, candidates }: RoundFacts): RoundStep | null {
  const [first] = knowledge;
  const own = candidates.filter(({ knowledgeId }) => first !== undefined && knowledgeId !== first.id);
  const reached = (...states: Candidate['state'][]) => own.some(({ state }) => states.includes(state));
  if (reached('active', 'retired')) return null;
  if (reached('approved')) return 'activate';
  if (reached('submitted')) return 'approve';
  if (knowledge.length > 1) return 'compress';
  if (fresh > 0) return 'learn';
  return (line?.parts ?? 0) > 0 ? 'label' : 'watch';
}
