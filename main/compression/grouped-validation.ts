import type { Products } from '../learning/dense.ts';
import { embed } from '../learning/embedding.ts';
import type { SolvedKnowledge } from '../learning/knowledge.ts';
import type { LedgerRow } from '../learning/selection.ts';
import { balancedAccuracy, balancedAccuracyInterval, balancedDropBounds } from './evidence/statistics.ts';
import { classCounts, discordantOf, judgedOf, type Judged } from './plan/evaluate.ts';
import { heldOutRepeatedly } from './plan/repeated-folds.ts';

/** Labelled images with their raw features by one model. */
export interface Part {
  features: Float32Array;
  ledger: readonly LedgerRow[];
}

/** A factorisation takes the cube of the rows. */
const MOST_ROWS = 4000;

/**
 * Verdicts on training and test images together, each by heads that saw none of its near-duplicates: five folds of whole groups in several drawings, lambda and g as chosen on the
 * training images. For the report alone: a test folder with eleven images of a class moves by 1.5 points of balanced accuracy with each of them.
 * @returns null: too many images
 */
export async function judgeGrouped(
  { knowledge }: { knowledge: Pick<SolvedKnowledge, 'stages' | 'lambda' | 'balancing'> },
  parts: readonly Part[],
  products: Products,
  options: { signal?: AbortSignal | undefined },
): Promise<Judged | null> {
  const ledger = parts.flatMap((part) => part.ledger);
  if (ledger.length > MOST_ROWS) return null;
  const width = stagesWidth(knowledge.stages);
  const features = new Float32Array(ledger.length * width);
  let at = 0;
  for (const part of parts) {
    features.set(part.features, at);
    at += part.features.length;
  }
  const validation = await heldOutRepeatedly(
    embed(features, knowledge.stages),
    ledger.map((_, i) => i),
    ledger,
    products,
    { fixed: { lambda: knowledge.lambda, balancing: knowledge.balancing }, signal: options.signal },
  );
  return judgedOf(validation, ledger);
}

const stagesWidth = (stages: readonly number[]): number => stages.reduce((sum, n) => sum + n, 0);

export interface GroupedMeasures {
  images: number;
  balancedAccuracy: number;
  interval: [number, number];
  /** Of balanced accuracy against the uncompressed model, percentage points, with one-sided 95 % bounds from the paired counts. */
  dropPp: number;
  dropLowerPp: number;
  dropUpperPp: number;
}

/** @param reference and @param judged the same rows, held out by the same folds */
export function groupedMeasures(reference: Judged, judged: Judged): GroupedMeasures {
  const counts = classCounts(judged);
  const { drop, lower, upper } = balancedDropBounds(discordantOf(reference, judged));
  return {
    images: judged.rows.length,
    balancedAccuracy: balancedAccuracy(counts),
    interval: balancedAccuracyInterval(counts),
    dropPp: 100 * drop,
    dropLowerPp: 100 * lower,
    dropUpperPp: 100 * upper,
  };
}
