import { AppError } from '../../contract/errors.ts';
import { randomSource } from '../../onnx/architectures/random.ts';
import { quantile } from './statistics.ts';

/** One thing to be timed: a whole inference as the line does it, resize included. */
export interface Contender {
  name: string;
  run(): Promise<void>;
}

export interface Latency {
  /** Of the counted runs. */
  p50: number;
  p99: number;
  /** ms of each counted run, in order. */
  samples: number[];
  /** Median of the first run of each turn, ms: another model has just used the processor's caches. */
  coldP50: number;
}

/** Runs of a turn before those that count: so many, or as many as begin within that time. */
const SETTLING_RUNS = 8;
const SETTLING_MS = 20;
/** Runs of a turn that count: as many of the slowest contender as fit in that time, the same for all. */
const COUNTED_MS = 40;
const FEWEST_COUNTED = 2;
const MOST_COUNTED = 6;

/**
 * Times contenders against each other in one run: every round gives each a turn, in an order that rotates, so a busy neighbour or
 * a falling clock meets all of them alike. Ratios of medians from one call are comparable; numbers of two calls are not.
 *
 * A turn begins with runs that do not count. On a line no other model runs between two parts, and one of many megabytes leaves caches and predictors of the processor to itself: a
 * network of 1.5 ms takes 2.1 in its first run after it, 1.8 in the next and 1.6 from the fifth on, while one of 5.3 ms takes 5.4 at most, so few runs would tell small ones slower than they are.
 * @param options.rounds counted runs of each contender
 * @throws CANCELLED
 */
export async function measureInterleaved(
  contenders: readonly Contender[],
  options: { rounds: number; warmUp: number; signal?: AbortSignal | undefined; budgetMs?: number | undefined },
): Promise<Map<string, Latency>> {
  const samples = contenders.map((): number[] => []);
  const cold = contenders.map((): number[] => []);
  /** The order rotates, so at a change of rounds a contender may follow itself. */
  let previous = -1;
  /** Last run of the slowest while warming up. */
  let slowestMs = 0;
  const startedAt = performance.now();
  const timed = async (index: number): Promise<number> => {
    const before = performance.now();
    await contenders[index]!.run();
    return performance.now() - before;
  };
  for (let round = -options.warmUp; ; round++) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const counted = Math.max(FEWEST_COUNTED, Math.min(MOST_COUNTED, Math.round(COUNTED_MS / slowestMs)));
    if (round >= options.rounds / counted) break;
    // At least five timed rounds, whatever the budget: a median of fewer says nothing.
    if (round > 5 && options.budgetMs !== undefined && performance.now() - startedAt > options.budgetMs) break;
    for (let i = 0; i < contenders.length; i++) {
      const index = (i + Math.max(0, round)) % contenders.length;
      const begun = performance.now();
      for (let run = 0; run < SETTLING_RUNS && (run === 0 || performance.now() - begun < SETTLING_MS); run++) {
        const ms = await timed(index);
        if (round >= 0 && run === 0 && (index !== previous || contenders.length === 1)) cold[index]!.push(ms);
      }
      for (let run = 0; run < counted; run++) {
        const ms = await timed(index);
        if (round >= 0) samples[index]!.push(ms);
        else if (round === -1) slowestMs = Math.max(slowestMs, ms);
      }
      previous = index;
    }
  }
  return new Map(
    contenders.map(({ name }, i) => [
      name,
      {
        p50: quantile(samples[i]!, 0.5),
        p99: quantile(samples[i]!, 0.99),
        samples: samples[i]!,
        coldP50: quantile(cold[i]!, 0.5),
      },
    ]),
  );
}

/**
 * Time of a run that nothing disturbed, ms. A neighbour on the processor only ever adds time, and to a small network, whose threads wait for each other after every layer, many
 * times what it adds to a large one: medians of a few runs on a busy PC then order variants by chance. For choosing what to look at next; what is told of a model is its median.
 */
export const undisturbedMs = ({ samples }: Pick<Latency, 'samples'>): number => quantile(samples, 0.1);

const RESAMPLES = 1000;
/** Of fewer rounds the resampled medians say nothing. */
const FEWEST_ROUNDS = 10;

/**
 * Percentile bootstrap of how many times as fast one contender is as another, over blocks of whole rounds: what slows one of a round down slows its neighbours too, so single runs
 * are not independent (circular block bootstrap, Politis and Romano 1992).
 * @param reference, other of one call of measureInterleaved
 * @returns 95 % interval of the ratio of medians; null: fewer than ten rounds
 */
export function speedupInterval(reference: Latency, other: Latency): [lo: number, hi: number] | null {
  const rounds = Math.min(reference.samples.length, other.samples.length);
  if (rounds < FEWEST_ROUNDS) return null;
  const block = Math.round(Math.sqrt(rounds));
  // The same samples give the same interval.
  const chance = randomSource(rounds, 'speed-up');
  const before = new Float64Array(rounds);
  const after = new Float64Array(rounds);
  const ratios = Array.from({ length: RESAMPLES }, () => {
    for (let i = 0; i < rounds; i += block) {
      const start = Math.floor(chance() * rounds);
      for (let j = 0; j < block && i + j < rounds; j++) {
        const from = (start + j) % rounds;
        before[i + j] = reference.samples[from]!;
        after[i + j] = other.samples[from]!;
      }
    }
    return medianOf(before) / medianOf(after);
  });
  return [quantile(ratios, 0.025), quantile(ratios, 0.975)];
}

/** Sorts in place. */
const medianOf = (values: Float64Array): number => {
  values.sort();
  const half = values.length >> 1;
  return values.length % 2 === 1 ? values[half]! : (values[half - 1]! + values[half]!) / 2;
};
