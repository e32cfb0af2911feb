import type { NoveltyLoss } from '../../learning/held-out-novelty.ts';

/** Area under the curve of held-out classes that may be lost, where the parts are enough to show a loss at all. */
export const MOST_NOVELTY_LOSS = 0.03;

/** New kinds of parts would stand out less. @param newDefects null: there are too few classes to hold one out */
export const isBlind = (newDefects: NoveltyLoss | null): newDefects is NoveltyLoss =>
  newDefects !== null && newDefects.loss > MOST_NOVELTY_LOSS && newDefects.lower > 0;
