import { assert } from '../../contract/errors.ts';
import { matrix, type Matrix } from '../dense.ts';
import { embed, embeddingSize } from '../embedding.ts';
import type { Learner, LearnerContext } from '../learner.ts';

/**
 * Nearest class mean (SimpleCIL, Zhou et al., IJCV 2024): the class whose mean direction is closest by cosine. No choice to
 * make and nothing to solve; the baseline that a learner has to beat.
 */
export function createNcmLearner({ products, stages }: LearnerContext): Learner {
  const size = embeddingSize(stages);
  const classes = new Map<string, { sum: Float64Array; count: number }>();
  let head: Matrix | null = null;
  const classIds = () => [...classes.keys()].sort((a, b) => (a < b ? -1 : 1));

  return {
    async learn(features, ledger) {
      const z = embed(features, stages);
      ledger.forEach(({ classId }, i) => {
        const entry = classes.get(classId) ?? { sum: new Float64Array(size), count: 0 };
        // The constant of the bias is no direction: it stays 0.
        for (let j = 0; j < size - 1; j += 1) entry.sum[j]! += z.data[i * size + j]!;
        entry.count += 1;
        classes.set(classId, entry);
      });
      const ids = classIds();
      head = matrix(size, ids.length);
      for (const [c, id] of ids.entries()) {
        const { sum } = classes.get(id)!;
        const length = Math.sqrt(sum.reduce((total, v) => total + v * v, 0));
        for (let j = 0; j < size - 1; j += 1) head.data[j * ids.length + c] = length > 0 ? sum[j]! / length : 0;
      }
    },
    get classIds() {
      return classIds();
    },
    predict(features) {
      assert(head, 'a learner is asked after it has learnt');
      return products.multiply(embed(features, stages), head);
    },
    get weights() {
      assert(head, 'a learner is asked after it has learnt');
      return head;
    },
    choice: null,
  };
}
