import type { Judgement, LineSettings } from '../contract/domain.ts';
import { assert } from '../contract/errors.ts';
import { worstOf } from './decide.ts';

export type FrameRule = LineSettings['frames']['rule'];

/** The verdict of a part of several frames, and which frame decides. */
export interface Vote {
  verdict: Judgement['verdict'];
  /** Place in the list: its class, reason and picture stand for the part. */
  deciding: number;
}

/**
 * `worst-of`: any ng frame makes the part ng, else any unsure one unsure. `majority`: ok if more than half of the frames are, ng if half of
 * them or more are, else unsure: a tie goes to the worse. (It is the median of ok < unsure < ng, the upper one of an even number.)
 * A frame that could not be judged counts as unsure. Among the frames of the part's verdict the one decides that would among tiles.
 */
export function vote(judgements: readonly Judgement[], rule: FrameRule): Vote {
  assert(judgements.length > 0, 'a part has at least one frame');
  const verdict = rule === 'worst-of' ? judgements[worstOf(judgements)]!.verdict : majorityOf(judgements);
  const places = judgements.flatMap((judgement, i) => (judgement.verdict === verdict ? [i] : []));
  return { verdict, deciding: places[worstOf(places.map((i) => judgements[i]!))]! };
}

function majorityOf(judgements: readonly Judgement[]): Judgement['verdict'] {
  const count = (verdict: Judgement['verdict']) =>
    judgements.filter((judgement) => judgement.verdict === verdict).length;
  if (2 * count('ng') >= judgements.length) return 'ng';
  return 2 * count('ok') > judgements.length ? 'ok' : 'unsure';
}
