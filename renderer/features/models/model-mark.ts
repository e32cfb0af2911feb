import type { CandidateState } from '../../../main/contract/domain.ts';
import type { MarkKind } from '../../ui/Mark.svelte';

/** The mark beside a model's id; none while it is only a candidate. */
export function modelMark(state: CandidateState): MarkKind | null {
  if (state === 'active' || state === 'approved') return 'ok';
  if (state === 'rejected') return 'ng';
  return state === 'retired' ? 'wait' : null;
}

export const stateTag = (state: CandidateState): string =>
  ({ active: 'active', approved: 'active', submitted: 'wait', candidate: 'cand', rejected: 'rej', retired: '' })[state];
