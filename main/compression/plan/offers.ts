import type { NoveltyLoss } from '../../learning/held-out-novelty.ts';
import { isBlind, MOST_NOVELTY_LOSS } from '../evidence/blindness.ts';
import { isSeenToHold, type Loss } from './evaluate.ts';
import type { Broken } from './nearest.ts';
import type { Trial } from './search.ts';

/* What is offered of the variants that were made, why, and which of them is recommended. */

/** Trials that no other beats in both validation accuracy and time; fastest first. */
export const paretoFront = <T extends Pick<Trial, 'balancedAccuracy' | 'latencyMs'>>(trials: readonly T[]): T[] =>
  trials
    .filter(
      (trial) =>
        !trials.some(
          (other) =>
            other !== trial &&
            other.latencyMs <= trial.latencyMs &&
            other.balancedAccuracy >= trial.balancedAccuracy &&
            (other.latencyMs < trial.latencyMs || other.balancedAccuracy > trial.balancedAccuracy),
        ),
    )
    .sort((a, b) => a.latencyMs - b.latencyMs);

export interface OfferLimits {
  maxDropPp: number;
  /** null: none asked. */
  latencyMs: number | null;
}

/** Below this a speed-up is not told from noise. */
export const LEAST_SPEEDUP = 1.05;

export interface OfferFacts {
  speedup: number;
  /** 95 % of it; null: too few runs. */
  speedupInterval: readonly [number, number] | null;
  lost: Loss;
  latencyMs: number;
  bytes: number;
  referenceBytes: number;
  /** Against the uncompressed model; null: there are too few classes to hold one out. */
  newDefects: NoveltyLoss | null;
}

/** Limits that are broken, each with the reason in words; the first is the one to tell. */
const brokenLimits = (facts: OfferFacts, limits: OfferLimits): (Broken & { reason: string })[] => {
  const { speedup, speedupInterval, lost, latencyMs, bytes, referenceBytes, newDefects } = facts;
  const change = changeWords(facts);
  const broken: (Broken & { reason: string })[] = [];
  if (speedup < LEAST_SPEEDUP) {
    broken.push({ limit: 'speed', needs: null, reason: `Not faster on this PC (${speedup.toFixed(2)} times).` });
  } else if (speedupInterval && speedupInterval[0] <= 1) {
    const [low, high] = speedupInterval.map((times) => times.toFixed(2));
    broken.push({
      limit: 'speed',
      needs: null,
      reason: `Not shown to be faster on this PC (${low} to ${high} times).`,
    });
  }
  // A lower input size alone leaves the weights as they are: not larger is enough; what its head adds is a few hundred bytes.
  if (bytes > referenceBytes * 1.01) {
    broken.push({
      limit: 'size',
      needs: null,
      reason: `Larger than the original (${bytes} against ${referenceBytes} bytes).`,
    });
  }
  if (lost.expectedPp > limits.maxDropPp) {
    const reason =
      lost.accuracyPp > limits.maxDropPp
        ? `Too inaccurate: ${change}; allowed are ${limits.maxDropPp} pp.`
        : `Too uncertain: ${change}, but so few images do not show that; its scores counted in, it is ${dropWords(lost.expectedPp)} (allowed: ${limits.maxDropPp} pp).`;
    broken.push({ limit: 'drop', needs: lost.expectedPp, reason });
  }
  if (isBlind(newDefects)) {
    broken.push({
      limit: 'novelty',
      needs: null,
      reason: `Blind to new defects: ${change}, but with one class held out as if it were new, ${(100 * newDefects.loss).toFixed(1)} % fewer of its parts stand out from known ones (area under the curve; allowed: ${100 * MOST_NOVELTY_LOSS} %).`,
    });
  }
  if (limits.latencyMs !== null && latencyMs > limits.latencyMs) {
    broken.push({
      limit: 'latency',
      needs: latencyMs,
      reason: `Too slow: ${latencyMs.toFixed(2)} ms; allowed are ${limits.latencyMs} ms.`,
    });
  }
  return broken;
};

/** Whether a variant is offered, and why or why not, in words for a supervisor. `isSeen`: its accuracy alone keeps the drop, too. */
export const judgeOffer = (
  facts: OfferFacts,
  limits: OfferLimits,
): { offered: boolean; isSeen: boolean; reason: string; broken: Broken[] } => {
  const broken = brokenLimits(facts, limits);
  const isSeen = isSeenToHold(facts, limits.maxDropPp);
  // More is lost than is allowed, and offered all the same: that has to be said.
  const beside = isSeen
    ? ''
    : `; so few images leave that open: its scores counted in, it is ${dropWords(facts.lost.expectedPp)}`;
  return {
    offered: broken.length === 0,
    isSeen,
    reason: broken[0]?.reason ?? `${changeWords(facts)}${beside}.`,
    broken: broken.map(({ limit, needs }) => ({ limit, needs })),
  };
};

const changeWords = ({ speedup, lost }: OfferFacts): string =>
  `${speedup.toFixed(2)} times as fast, ${dropWords(lost.accuracyPp)} in cross-validation`;

const dropWords = (pp: number): string =>
  pp > 0.005
    ? `${pp.toFixed(2)} pp less accurate`
    : pp < -0.005
      ? `${(-pp).toFixed(2)} pp more accurate`
      : 'equally accurate';

/** What is seen to keep the drop may take this many times as long as what keeps it by its scores alone, and is recommended all the same. */
const SEEN_TIMES = 1.5;
/** Of two that differ by less in time the more accurate one is recommended. */
const NEARLY_AS_FAST = 1.1;

/**
 * The fastest offered variant, of those that are seen to keep the drop where one of them takes at most half as long again as the fastest of all; among those within a tenth of its time the most accurate (ties: the first).
 * @returns index into `offers`, or null when nothing is offered
 */
export const recommend = (
  offers: readonly { offered: boolean; isSeen: boolean; latencyMs: number; balancedAccuracy: number }[],
): number | null => {
  const offered = offers.flatMap((offer, i) => (offer.offered ? [{ ...offer, i }] : []));
  const leastMs = (some: readonly { latencyMs: number }[]) => Math.min(...some.map(({ latencyMs }) => latencyMs));
  const seen = offered.filter(({ isSeen }) => isSeen);
  const some = leastMs(seen) <= SEEN_TIMES * leastMs(offered) ? seen : offered;
  const fast = some.filter(({ latencyMs }) => latencyMs <= NEARLY_AS_FAST * leastMs(some));
  return fast.toSorted((a, b) => b.balancedAccuracy - a.balancedAccuracy)[0]?.i ?? null;
};
