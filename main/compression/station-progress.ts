import type { TrainerOptions } from '../learning/update.ts';

/** How far a station's compression is. */
export interface StationProgress {
  /** @param done 0 to 1; never falls */
  report(done: number, key: string, details?: Record<string, string | number>): void;
  /** Of this run alone, ms. */
  elapsedMs(): number;
  /** What is left is told by this clock from now on: one that counts what a run before this one took. */
  countBy(now: () => number): void;
}

/** @param budgetS null: somebody has enough, what is left is not told */
export function openProgress(budgetS: number | null, onProgress: TrainerOptions['onProgress']): StationProgress {
  const startedAt = performance.now();
  let clock = () => performance.now();
  let last = 0;
  return {
    report(done, key, details = {}) {
      last = Math.max(last, Math.min(1, done));
      const secondsLeft = budgetS === null ? null : Math.max(0, budgetS - (clock() - startedAt) / 1000);
      onProgress?.({ progress: last, secondsLeft, step: { key, details } });
    },
    elapsedMs: () => performance.now() - startedAt,
    countBy(now) {
      clock = now;
    },
  };
}
