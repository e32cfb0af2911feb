import { AppError } from '../../contract/errors.ts';
import { quantile } from './statistics.ts';

/** One thing to be timed: a whole inference as the line does it, resize included. */
export interface Contender {
  name: string;
  run(): Promise<void>;
}

export interface Latency {
  p50: number;
  p99: number;
  /** ms of each timed run, in order. */
  samples: number[];
}

/**
 * Times contenders against each other in one run: every round runs each once, in an order that rotates, so a busy neighbour or
 * a falling clock meets all of them alike. Ratios of medians from one call are comparable; numbers of two calls are not.
 */
export async function measureInterleaved(
  contenders: readonly Contender[],
  options: { rounds: number; warmUp: number; signal?: AbortSignal | undefined; budgetMs?: number | undefined },
): Promise<Map<string, Latency>> {
  const samples = contenders.map((): number[] => []);
  const startedAt = performance.now();
  for (let round = -options.warmUp; round < options.rounds; round++) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    // At least five timed rounds, whatever the budget: a median of fewer says nothing.
    if (round > 5 && options.budgetMs !== undefined && performance.now() - startedAt > options.budgetMs) break;
    for (let i = 0; i < contenders.length; i++) {
      const index = (i + Math.max(0, round)) % contenders.length;
      const before = performance.now();
      await contenders[index]!.run();
      const elapsed = performance.now() - before;
      if (round >= 0) samples[index]!.push(elapsed);
    }
  }
  return new Map(
    contenders.map(({ name }, i) => [
      name,
      { p50: quantile(samples[i]!, 0.5), p99: quantile(samples[i]!, 0.99), samples: samples[i]! },
    ]),
  );
}
