import { AppError, assert } from '../../contract/errors.ts';
import { matrix, type Matrix } from '../dense.ts';
import { embed, embeddingSize } from '../embedding.ts';
import type { Learner, LearnerContext } from '../learner.ts';
import { crossValidate, type Choice, type LedgerRow } from '../selection.ts';
import { solveHead } from '../solve.ts';
import { Statistics } from '../statistics.ts';

/**
 * The closed-form learner (ACIL, RanPAC): an update adds the new images to the statistics of their classes and solves anew.
 * What was learnt before is in the statistics as a sum, so nothing can be forgotten and the split into tasks leaves no trace.
 */
export function createAnalyticLearner({ products, stages, signal }: LearnerContext): Learner {
  const size = embeddingSize(stages);
  const statistics = new Statistics(size);
  // The ledger keeps features, not pictures: the folds need them again to choose lambda and g.
  const ledger: LedgerRow[] = [];
  const rows: Float64Array[] = [];
  let head: Matrix | null = null;
  let choice: Choice | null = null;

  return {
    async learn(features, added) {
      const z = embed(features, stages);
      added.forEach((entry, i) => {
        const row = z.data.subarray(i * size, (i + 1) * size);
        statistics.add(entry.classId, row);
        ledger.push(entry);
        rows.push(row);
      });
      const all = matrix(rows.length, size);
      rows.forEach((row, i) => all.data.set(row, i * size));
      if (signal?.aborted) throw new AppError('CANCELLED');
      const { lambda, balancing, raised } = await crossValidate(all, ledger, products, signal ? { signal } : {});
      choice = { lambda, balancing, raised };
      head = (await solveHead(statistics, choice, products)).weights;
    },
    get classIds() {
      return statistics.classIds;
    },
    predict(features) {
      assert(head, 'a learner is asked after it has learnt');
      return products.multiply(embed(features, stages), head);
    },
    get weights() {
      assert(head, 'a learner is asked after it has learnt');
      return head;
    },
    get choice() {
      return choice;
    },
  };
}
