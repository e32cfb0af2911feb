import { createHash } from 'node:crypto';
import type { Criteria, Environment, Evidence, EvidenceOfSums, Measures, ParityStage } from '../../contract/domain.ts';
import { reportHeldOut } from '../../learning/calibration-report.ts';
import { heldOutOf } from '../../learning/knowledge.ts';
import type { LedgerRow } from '../../learning/selection.ts';
import type { Model } from '../../onnx/index.ts';
import type { Finished } from '../finish.ts';
import { accuracyOf, classCounts, confusionOf, type Judged } from '../plan/evaluate.ts';
import type { Variant } from '../plan/variant.ts';
import { unknownOperators } from '../prune/groups.ts';
import type { Latency } from './latency.ts';
import { balancedAccuracy, balancedAccuracyInterval } from './statistics.ts';

export const measuresOf = (finished: Finished, judged: Judged, latency: Latency): Measures => {
  const counts = classCounts(judged);
  return {
    accuracy: accuracyOf(judged),
    balancedAccuracy: balancedAccuracy(counts),
    interval: balancedAccuracyInterval(counts),
    latencyMsP50: latency.p50,
    latencyMsP99: latency.p99,
    macs: finished.macs,
    params: finished.params,
    bytes: finished.inspector.length,
  };
};

/** sha256 over the sorted (image hash, class) pairs. */
export const dataDigest = (rows: readonly { sha: string; classId: string }[]): string => {
  const lines = rows.map(({ sha, classId }) => `${sha} ${classId}\n`).sort();
  return createHash('sha256').update(lines.join('')).digest('hex');
};

const recallOf = (judged: Judged): Map<string, { n: number; recall: number }> =>
  new Map(classCounts(judged).map(({ n, right }, c) => [judged.classIds[c]!, { n, recall: n === 0 ? 0 : right / n }]));

/** Temperature, calibration error and thresholds of a candidate on its held-out logits. */
export function calibrationOf(
  { validation, knowledge }: Finished,
  ledger: readonly LedgerRow[],
  okIds: ReadonlySet<string>,
  criteria: Pick<Criteria, 'maxEscape' | 'maxOverkill'>,
): NonNullable<Evidence['calibration']> {
  const { temperature, eceBefore, ece, escape, overkill, unsureShare } = reportHeldOut(
    heldOutOf(validation, ledger),
    okIds,
    criteria,
  );
  return { temperature, eceBefore, ece, escape, overkill, unsureShare, falseNovel: knowledge.noveltyRate };
}

/** What pruning did not touch of a model: groups of channels with the reason, and operators without a row in its table. */
export interface LeftAlone {
  untouched: readonly { group: string; why: string }[];
  unknownOperators: Readonly<Record<string, number>>;
}

/** @param original the uncompressed backbone. Null for a model that was not pruned. */
export const leftAloneOf = (
  original: Model,
  { variant, made }: { variant: Variant; made: { untouched: LeftAlone['untouched'] } },
): LeftAlone | null =>
  variant.strategy === 'none'
    ? null
    : { untouched: made.untouched, unknownOperators: Object.fromEntries(unknownOperators(original)) };

interface Measured {
  finished: Finished;
  judged: Judged;
  latency: Latency;
  /** Balanced accuracy by which offers are compared (of several views, say); absent: that of `judged`. */
  compared?: number;
}

/** Evidence of a candidate against the reference on the same images. */
export function buildEvidence(parts: {
  reference: Measured;
  candidate: Measured & { speedupInterval: [number, number] | null };
  /** Recall by class of the active model and of the candidate as they inspect, each of the classes that it knows; null: there is no active one. */
  inspecting: Record<'active' | 'candidate', ReadonlyMap<string, number>> | null;
  basis: string;
  gates: Evidence['gates'];
  changed: Evidence['changed'];
  environment: Environment;
  dataSha256: string;
  /** Of the candidate's held-out logits. */
  calibration?: Evidence['calibration'];
  /** Of the candidate (parity-stages.ts). */
  parityStages?: ParityStage[];
  /** What pruning left alone. */
  leftAlone?: LeftAlone | null;
  /** What the head has from other stations. */
  sumsOfOthers?: EvidenceOfSums | null;
}): Evidence {
  const { reference, candidate } = parts;
  const measured = ({ finished, judged, latency, compared }: Measured): Measures => ({
    ...measuresOf(finished, judged, latency),
    ...(compared === undefined ? {} : { balancedAccuracy: Math.min(1, Math.max(0, compared)) }),
  });
  const [before, after] = [measured(reference), measured(candidate)];
  const referenceRecall = recallOf(reference.judged);
  return {
    reference: before,
    candidate: after,
    speedup: before.latencyMsP50 / after.latencyMsP50,
    speedupInterval: candidate.speedupInterval,
    accuracyDropPp: 100 * (before.balancedAccuracy - after.balancedAccuracy),
    basis: parts.basis,
    perClass: [...recallOf(candidate.judged)].map(([classId, { n, recall }]) => ({
      classId,
      n,
      reference: referenceRecall.get(classId)?.recall ?? 0,
      candidate: recall,
      active: parts.inspecting?.active.get(classId) ?? null,
      deployed: parts.inspecting?.candidate.get(classId) ?? null,
    })),
    confusion: confusionOf(candidate.judged),
    gates: parts.gates,
    ...(parts.calibration ? { calibration: parts.calibration } : {}),
    parity: candidate.finished.parity,
    ...(parts.parityStages ? { parityStages: parts.parityStages } : {}),
    changed: parts.changed,
    ...(parts.leftAlone
      ? { untouched: [...parts.leftAlone.untouched], unknownOperators: { ...parts.leftAlone.unknownOperators } }
      : {}),
    ...(parts.sumsOfOthers ? { sumsOfOthers: parts.sumsOfOthers } : {}),
    environment: parts.environment,
    sample: candidate.finished.sample,
    dataSha256: parts.dataSha256,
  };
}
