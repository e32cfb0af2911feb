import { newDefectsLost, type Finished } from './finish.ts';
import { lossBetween } from './plan/evaluate.ts';
import type { Broken } from './plan/nearest.ts';
import { judgeOffer, type OfferLimits } from './plan/offers.ts';
import type { TimedModel } from './time-finished.ts';

export interface FinishedOffer {
  latencyMs: number;
  /** Of validation, brought to one scale with the others: a student is compared on what it was not taught with. */
  balancedAccuracy: number;
  offered: boolean;
  /** By accuracy alone too. */
  isSeen: boolean;
  reason: string;
  broken: Broken[];
}

/**
 * Whether a finished model is offered in place of the uncompressed one: by validation and time alone.
 * @param unseen ledger rows that nothing was fitted to; null: all
 */
export function judgeFinished(
  reference: Finished,
  finished: Finished,
  { latency, speedup, speedupInterval }: TimedModel,
  unseen: ReadonlySet<number> | null,
  limits: OfferLimits,
): FinishedOffer {
  const lost = lossBetween(reference.compared, finished.compared, unseen);
  const verdict = judgeOffer(
    {
      speedup,
      speedupInterval,
      lost,
      latencyMs: latency.p50,
      bytes: finished.inspector.length,
      referenceBytes: reference.inspector.length,
      newDefects: newDefectsLost(reference, finished),
    },
    limits,
  );
  const balancedAccuracy = reference.compared.balancedAccuracy - lost.accuracyPp / 100;
  return { latencyMs: latency.p50, balancedAccuracy, ...verdict };
}
