/*
 * One number beside its parts: how well a model serves on a line. Weighted geometric mean, so that no part makes up for one that is nothing. Parts that
 * were not measured (how often the line needs updates, how well its heat maps point) are null and leave their weight to the others.
 */

const OPERATIONS_WEIGHTS = {
  accuracy: 0.4,
  latencyHeadroom: 0.25,
  updateEffort: 0.15,
  updateFrequency: 0.1,
  explanation: 0.1,
} as const;

type Part = keyof typeof OPERATIONS_WEIGHTS;

export interface OperationsScore {
  value: number;
  parts: Record<Part, number | null>;
  weights: Record<Part, number>;
  formula: string;
}

/** Minutes after which effort counts half. */
const HALF_MINUTES = 30;

/** 0..1; a part that is nothing makes all of it next to nothing. */
export function operationsScore(of: {
  balancedAccuracy: number;
  latencyMs: number;
  /** What a part may take. */
  latencyLimitMs: number;
  /** From labels to candidate. */
  minutes: number;
}): OperationsScore {
  const parts: Record<Part, number | null> = {
    accuracy: of.balancedAccuracy,
    latencyHeadroom: Math.max(0, 1 - of.latencyMs / of.latencyLimitMs),
    updateEffort: HALF_MINUTES / (HALF_MINUTES + of.minutes),
    updateFrequency: null,
    explanation: null,
  };
  let [log, weight] = [0, 0];
  for (const [part, share] of Object.entries(OPERATIONS_WEIGHTS) as [Part, number][]) {
    const value = parts[part];
    if (value === null) continue;
    log += share * Math.log(Math.max(value, 1e-6));
    weight += share;
  }
  return {
    value: Math.exp(log / weight),
    parts,
    weights: { ...OPERATIONS_WEIGHTS },
    formula: `prod(part ^ weight) ^ (1 / sum of the weights measured); latencyHeadroom = 1 - p50 / limit, updateEffort = ${HALF_MINUTES} / (${HALF_MINUTES} + minutes)`,
  };
}
