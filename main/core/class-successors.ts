import type { Successors } from '../contract/trainer.ts';
import type { Store } from '../store/open.ts';

/** The class itself, or, where it was merged away, the one that its labels went to, by the trail. */
export const mergedInto = ({ audit }: Pick<Store, 'audit'>, classId: string): string => {
  const into = audit.last('classes.merge', classId)?.details['into'];
  return typeof into === 'string' ? mergedInto({ audit }, into) : classId;
};

/**
 * What classes that were merged away or un-learnt mean now, by the trail: sums that other stations gave still name them. One that was only retired means what it did.
 * @param forgotten a class that is being un-learnt
 */
export const classSuccessors = (
  { audit, classes }: Pick<Store, 'audit' | 'classes'>,
  forgotten: string | null = null,
): Successors =>
  classes.list().flatMap(({ id, retired }): Successors => {
    if (!retired && id !== forgotten) return [];
    const into = mergedInto({ audit }, id);
    if (into === forgotten || audit.last('knowledge.forgetClass', into) !== null) return [[id, null]];
    return into === id ? [] : [[id, into]];
  });
