import { heldOutOf } from '../../learning/knowledge.ts';
import { fitTemperature } from '../../learning/calibration.ts';
import type { Products } from '../../learning/dense.ts';
import { embed, type Stages } from '../../learning/embedding.ts';
import { gather, logitsOf } from '../../learning/knowledge.ts';
import type { CrossValidation, LedgerRow } from '../../learning/selection.ts';
import { solveHead, type Head } from '../../learning/solve.ts';
import type { TaskLessons } from './teach-tasks.ts';

/**
 * The teacher's side of a student's lessons: after each task its closed-form head over the classes seen by then, from the same images as the student's. Ridge logits are small
 * numbers: they are divided by the temperature that fits held-out images, so that their softmax are probabilities.
 */
export async function taskLessons(options: {
  tasks: readonly (readonly string[])[];
  /** Raw features of the teacher, a row for each entry of the ledger. */
  features: Float32Array;
  stages: Stages;
  ledger: readonly LedgerRow[];
  /** Rows that may teach. */
  taught: readonly number[];
  classOf: (image: number) => string;
  /** Of the teacher over that ledger. */
  validation: CrossValidation;
  products: Products;
}): Promise<TaskLessons> {
  const { tasks, features, stages, ledger, taught, classOf, validation, products } = options;
  const temperature = fitTemperature(heldOutOf(validation, ledger));
  const z = embed(features, stages);
  const heads = new Map<number, Head>();
  const headAfter = async (task: number): Promise<Head> => {
    const known = heads.get(task);
    if (known) return known;
    const seen = new Set(tasks.slice(0, task + 1).flat());
    const statistics = gather(
      z,
      ledger,
      taught.filter((row) => seen.has(ledger[row]!.classId)),
    );
    const head = await solveHead(statistics, validation, products);
    heads.set(task, head);
    return head;
  };
  return {
    tasks,
    classOf,
    async teacherLogits(after, of, count) {
      const head = await headAfter(after);
      const { data } = await logitsOf(head, embed(of, stages), products);
      // In the order of the tasks; a class without any image that teaches has no column, and no chance.
      const order = tasks.slice(0, after + 1).flat();
      const columns = order.map((id) => head.classIds.indexOf(id));
      const out = new Float32Array(count * order.length);
      for (let row = 0; row < count; row++) {
        columns.forEach((column, c) => {
          const score = column < 0 ? 0 : data[row * head.classIds.length + column]!;
          out[row * order.length + c] = score / temperature;
        });
      }
      return out;
    },
  };
}
