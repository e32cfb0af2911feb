const FIRST = 10;
const FACTOR = 10;

/** What the rule has to remember; part of a checkpoint. */
export interface LossMemory {
  first: number[];
  recent: number[];
}

export const newLossMemory = (): LossMemory => ({ first: [], recent: [] });

/**
 * The rule: training has diverged when a loss or gradient norm is no finite number, or when the mean of the last ten losses is more than ten times
 * that of the first ten (or ten, where the first ones were below 1). One bad batch alone stops nothing.
 * @returns what is wrong; null: go on.
 */
export function watchLoss(memory: LossMemory, loss: number, gradientNorm?: number): string | null {
  if (!Number.isFinite(loss)) return `the loss is ${loss}`;
  if (gradientNorm !== undefined && !Number.isFinite(gradientNorm)) return `the gradient's length is ${gradientNorm}`;
  if (memory.first.length < FIRST) memory.first.push(loss);
  memory.recent.push(loss);
  if (memory.recent.length > FIRST) memory.recent.shift();
  if (memory.recent.length < FIRST) return null;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [before, now] = [mean(memory.first), mean(memory.recent)];
  if (now <= FACTOR * Math.max(1, before)) return null;
  return `the loss rose from ${before.toPrecision(3)} to ${now.toPrecision(3)}`;
}
