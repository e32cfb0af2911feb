import type { Judgement } from '../contract/domain.ts';

/*
 * A Shewhart chart of the line for the eye: means of groups of consecutive parts against limits from the first parts after activation
 * (ISO 7870-2: three standard deviations; of the group means themselves, so that parts that follow each other and are alike do not make
 * the limits too narrow). The alarms come from learning/monitor, which sees smaller changes and every part. Pure.
 */

/** Parts of a group. */
export const DRIFT_GROUP = 25;

export type DriftPart = Pick<Judgement, 'verdict' | 'unsureReason' | 'novelty' | 'margin'>;
export interface DriftValues {
  novelty: number;
  margin: number;
  unsureShare: number;
}
export type DriftMeasure = keyof DriftValues;
export interface DriftLimits {
  centre: number;
  low: number;
  high: number;
}

const measures: readonly DriftMeasure[] = ['novelty', 'margin', 'unsureShare'];
/** What cannot be left: a share lies in 0..1, a margin too; a novelty lies on both sides of 0, where the known parts have their middle. */
const bounds: Record<DriftMeasure, readonly [number, number]> = {
  novelty: [-Number.MAX_VALUE, Number.MAX_VALUE],
  margin: [0, 1],
  unsureShare: [0, 1],
};
const mean = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;

/** null: no part of the group was judged by a model. */
export function groupValues(parts: readonly DriftPart[]): DriftValues | null {
  const inferred = parts.filter(({ unsureReason }) => !['error', 'late', 'no-model'].includes(unsureReason ?? ''));
  if (inferred.length === 0) return null;
  return {
    novelty: mean(inferred.map(({ novelty }) => novelty)),
    margin: mean(inferred.map(({ margin }) => margin)),
    unsureShare: mean(parts.map(({ verdict }) => (verdict === 'unsure' ? 1 : 0))),
  };
}

/** @returns null: fewer than four groups, too few to tell how much they differ by themselves. */
export function driftLimits(reference: readonly DriftPart[]): Record<DriftMeasure, DriftLimits> | null {
  const groups = Array.from({ length: Math.floor(reference.length / DRIFT_GROUP) }, (_, i) =>
    groupValues(reference.slice(i * DRIFT_GROUP, (i + 1) * DRIFT_GROUP)),
  ).filter((group) => group !== null);
  if (groups.length < 4) return null;
  const of = (measure: DriftMeasure): DriftLimits => {
    const values = groups.map((group) => group[measure]);
    const centre = mean(values);
    const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - centre) ** 2, 0) / (values.length - 1));
    const [least, most] = bounds[measure];
    return {
      centre,
      low: Math.max(least, centre - 3 * deviation),
      high: Math.min(most, centre + 3 * deviation),
    };
  };
  return Object.fromEntries(measures.map((measure) => [measure, of(measure)])) as Record<DriftMeasure, DriftLimits>;
}
