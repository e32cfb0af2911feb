import type { LedgerRow } from '../learning/selection.ts';
import type { Finished } from './finish.ts';

/** Images of the first task's classes. */
export const firstTaskOf = (
  tasks: readonly (readonly string[])[],
  images: readonly number[],
  ledger: readonly LedgerRow[],
): number[] => {
  const first = new Set(tasks[0]);
  return images.filter((_, i) => first.has(ledger[i]!.classId));
};

/**
 * Correlation, over the feature channels, of the mean embedding of the first task's images with that of the later ones: near 1
 * the channels that the first task needs are those that later ones need, and pruning by the first task is safe.
 */
export function taskSimilarity(
  { statistics }: Pick<Finished, 'statistics'>,
  tasks: readonly (readonly string[])[],
): number | null {
  if (tasks.length < 2) return null;
  // Without the constant of the bias.
  const width = statistics.size - 1;
  const meanOf = (classIds: readonly string[]): Float64Array => {
    const mean = new Float64Array(width);
    let count = 0;
    for (const classId of classIds) {
      const entry = statistics.of(classId);
      if (!entry) continue;
      count += entry.count;
      for (let i = 0; i < width; i++) mean[i]! += entry.sum[i]!;
    }
    return count === 0 ? mean : mean.map((value) => value / count);
  };
  const first = meanOf(tasks[0]!);
  const later = meanOf(tasks.slice(1).flat());
  const average = (values: Float64Array) => values.reduce((a, b) => a + b, 0) / width;
  const [a, b] = [average(first), average(later)];
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < width; i++) {
    ab += (first[i]! - a) * (later[i]! - b);
    aa += (first[i]! - a) ** 2;
    bb += (later[i]! - b) ** 2;
  }
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}
