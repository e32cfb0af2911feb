/* When good parts alone are enough to inspect with. No imports: the core asks before it starts anything. */

/** Good parts needed before it can be said what is unlike them. */
export const LEAST_OK_PARTS = 10;

/** What labels make: nothing yet, a model of good parts alone, or the classifier, which takes over with the second class. */
export type Learnable = 'nothing' | 'good-parts' | 'classifier';

/** @param labelled parts per class id */
export function learnableFrom(labelled: ReadonlyMap<string, number>, okIds: ReadonlySet<string>): Learnable {
  const classes = [...labelled].filter(([, count]) => count > 0);
  if (classes.length >= 2) return 'classifier';
  const [only] = classes;
  return only && okIds.has(only[0]) && only[1] >= LEAST_OK_PARTS ? 'good-parts' : 'nothing';
}
