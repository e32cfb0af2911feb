import { lossOf, type LogitRange, type Objective } from '../../learning/learners/network/methods.ts';

/*
 * The paper's losses of a student that learns task after task from a large teacher that learns them too. Classes are in the order of the tasks; a teacher's
 * logits after task t are those of its own closed-form head over the classes seen by then.
 */

/** Softening of both sides' logits (Hinton et al. 2015); as LwF and its kin have it. */
const TEMPERATURE = 2;

/** One training of the student. */
export interface Stage {
  /** Task whose pictures are shown, from 0. */
  task: number;
  /** The teacher as it was after this task; null: its logits are not looked at. */
  teacherAfter: number | null;
  objectives: readonly Objective[];
}

const sum = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b, 0);

/**
 * Task 1: class loss and KL on softened logits at once. Later tasks: first the teacher before this task, restricted to the logits of old classes, on the new pictures; then
 * the new classes.
 * @param sizes classes of each task
 */
export function stagesOf(sizes: readonly number[]): Stage[] {
  const labels = (range: LogitRange): Objective => ({ range, target: 'labels', temperature: 1, weight: 1 });
  const teacher = (range: LogitRange): Objective => ({ range, target: 'teacher', temperature: TEMPERATURE, weight: 1 });
  return sizes.flatMap((count, task): Stage[] => {
    const before = sum(sizes.slice(0, task));
    const all: LogitRange = { name: 'all', from: 0, count: before + count };
    if (task === 0) {
      // One class has nothing to be told from, by label or by teacher: its pictures serve the features alone.
      const objectives = count > 1 ? [labels(all), teacher(all)] : [];
      return [{ task, teacherAfter: count > 1 ? 0 : null, objectives }];
    }
    const old: LogitRange = { name: 'old', from: 0, count: before };
    const fresh: LogitRange = count > 1 ? { name: 'new', from: before, count } : all;
    return [
      // KL over a single logit is nothing.
      ...(before > 1 ? [{ task, teacherAfter: task - 1, objectives: [teacher(old)] }] : []),
      { task, teacherAfter: null, objectives: [labels(fresh)] },
    ];
  });
}

export { lossOf, type LogitRange, type Objective };
