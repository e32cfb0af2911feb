import type { LossSpec } from '../../../autodiff/index.ts';

/** A run of neighbouring logits. */
export interface LogitRange {
  name: string;
  from: number;
  count: number;
}

/** One loss over a range of the logits. */
export interface Objective {
  range: LogitRange;
  /**
   * 'labels': cross-entropy within the range, of the rows whose class lies in it (the others count nothing). 'teacher': the range as the
   * network before this task saw the same batch.
   */
  target: 'labels' | 'teacher';
  temperature: number;
  weight: number;
}

/** A method of the paper's hosts: what it keeps, what it minimises and how it decides. One row each. */
export interface NetworkMethod {
  /** Pictures of earlier classes at hand: none, as many as the budget allows, or all. */
  memory: 'none' | 'exemplars' | 'all';
  /** Batches keep a fixed share of exemplars instead of what falls to them (SS-IL's ratio-preserving batches). */
  preserveRatio: boolean;
  /** Starts again from the backbone at every task. */
  restart: boolean;
  decide: 'logits' | 'nearest-mean';
  /** @param sizes classes of each task so far, the new one last. */
  objectives(sizes: readonly number[]): Objective[];
}

/** Of all methods that distil; Li & Hoiem 2017 and Rebuffi et al. 2017 as later comparisons run them. */
const TEMPERATURE = 2;
/** Weight of LwF's distillation against the new classes' cross-entropy. */
const LWF_WEIGHT = 3;

const sum = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b, 0);
const everything = (sizes: readonly number[]): LogitRange => ({ name: 'all', from: 0, count: sum(sizes) });
const older = (sizes: readonly number[]): LogitRange => ({ name: 'old', from: 0, count: sum(sizes.slice(0, -1)) });
/** A single new class has nothing beside it to be told from: then all classes. */
const newest = (sizes: readonly number[]): LogitRange =>
  sizes.at(-1)! > 1 ? { name: 'new', from: sum(sizes.slice(0, -1)), count: sizes.at(-1)! } : everything(sizes);
const labels = (range: LogitRange, weight = 1): Objective => ({ range, target: 'labels', temperature: 1, weight });
const teacher = (range: LogitRange, weight = 1): Objective => ({
  range,
  target: 'teacher',
  temperature: TEMPERATURE,
  weight,
});
const isFirst = (sizes: readonly number[]) => sizes.length === 1;
const plain = { preserveRatio: false, restart: false, decide: 'logits' } as const;

export type NetworkMethodName = 'finetune' | 'lwf' | 'icarl' | 'ss-il' | 'joint';

export const networkMethods: Record<NetworkMethodName, NetworkMethod> = {
  /** Naive: the new classes' pictures alone, cross-entropy over all classes. */
  finetune: { ...plain, memory: 'none', objectives: (sizes) => [labels(everything(sizes))] },
  /** Learning without Forgetting (Li & Hoiem, TPAMI 2017): new classes among themselves, old logits held by distillation. */
  lwf: {
    ...plain,
    memory: 'none',
    objectives: (sizes) =>
      isFirst(sizes) ? [labels(everything(sizes))] : [labels(newest(sizes)), teacher(older(sizes), LWF_WEIGHT)],
  },
  /** iCaRL (Rebuffi et al., CVPR 2017): herded exemplars, distillation, nearest mean of exemplars. */
  icarl: {
    ...plain,
    memory: 'exemplars',
    decide: 'nearest-mean',
    objectives: (sizes) => [labels(everything(sizes)), ...(isFirst(sizes) ? [] : [teacher(older(sizes))])],
  },
  /** SS-IL (Ahn et al., ICCV 2021): separated softmax, task-wise distillation, ratio-preserving batches. */
  'ss-il': {
    ...plain,
    memory: 'exemplars',
    preserveRatio: true,
    objectives: (sizes) =>
      isFirst(sizes)
        ? [labels(everything(sizes))]
        : [
            labels(newest(sizes)),
            labels(older(sizes)),
            ...sizes.slice(0, -1).map((count, t) => teacher({ name: `task${t}`, from: sum(sizes.slice(0, t)), count })),
          ],
  },
  /** All classes seen so far, all their pictures, from the backbone again: what the others are measured against. */
  joint: { ...plain, memory: 'all', restart: true, objectives: (sizes) => [labels(everything(sizes))] },
};

/** The loss of an objective; `logits` is the value of its range. */
export function lossOf({ range, target, temperature, weight }: Objective, logits: string): LossSpec {
  return target === 'labels'
    ? { kind: 'crossEntropy', logits, target: `labels/${range.name}`, targets: 'soft', weight }
    : { kind: 'kl', student: logits, teacher: `teacher/${range.name}`, temperature, weight };
}

/**
 * Targets of a range as shares [rows, count]: one-hot where the row's class lies in the range, else zeros.
 * @param into filled anew
 */
export function fillShares(labelsOfRows: Int32Array, { from, count }: LogitRange, into: Float32Array): void {
  into.fill(0);
  labelsOfRows.forEach((label, row) => {
    if (label >= from && label < from + count) into[row * count + label - from] = 1;
  });
}
