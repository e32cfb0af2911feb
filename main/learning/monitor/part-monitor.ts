import type { Judgement } from '../../contract/domain.ts';
import { createMonitor, type ChartLevels, type PartMeasures } from './charts.ts';

/*
 * What the line says of every part, as charts: novelty, margin, the feature mean (the picture's brightness and the leading logits, which are
 * linear in the features: judgement.signature), the verdict mix, and how many parts are how far more unusual than the reference (a new class).
 */

/** Parts after the activation of a model that tell what is usual. At 60 parts a minute about eight minutes. */
export const REFERENCE_PARTS = 500;

export type WatchedPart = Pick<Judgement, 'verdict' | 'unsureReason' | 'novelty' | 'margin' | 'signature'>;
export type WatchedMeasure = 'novelty' | 'margin' | 'feature-mean' | 'ng-share' | 'unsure-share' | 'unusual-share';

const inferred = ({ unsureReason }: WatchedPart): boolean =>
  unsureReason !== 'error' && unsureReason !== 'late' && unsureReason !== 'no-model';

/** Watches parts of one model against its first parts. */
export function createPartMonitor(
  reference: readonly WatchedPart[],
  levels: ChartLevels = {},
): { add(part: WatchedPart): WatchedMeasure[]; readonly levels: ChartLevels } {
  const measuresOf = (part: WatchedPart): PartMeasures => {
    const known = inferred(part);
    return {
      values: { novelty: known ? part.novelty : Number.NaN, margin: known ? part.margin : Number.NaN },
      vector: (known && part.signature) || null,
      events: {
        'ng-share': part.verdict === 'ng',
        'unsure-share': part.verdict === 'unsure',
      },
      tails: { 'unusual-share': known ? part.novelty : Number.NaN },
    };
  };
  const monitor = createMonitor(reference.map(measuresOf), levels);
  return {
    add: (part) => monitor.add(measuresOf(part)).map(({ measure }) => measure as WatchedMeasure),
    get levels() {
      return monitor.levels;
    },
  };
}
