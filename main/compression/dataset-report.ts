import type { Evidence, Gate, Measures, Parity } from '../contract/domain.ts';
import type { Adaptation } from '../learning/adaptation.ts';
import type { SourcedNormalisation } from '../onnx/index.ts';
import type { StudentChoice } from './distill/teach-student.ts';
import type { OperationsScore } from './evidence/operations-score.ts';
import type { GroupedMeasures } from './grouped-validation.ts';
import { whatBinds, type Broken } from './plan/nearest.ts';
import type { OfferLimits } from './plan/offers.ts';
import type { Precision, Strategy } from './plan/variant.ts';

/* What `compress DIR --json` prints. */

export interface ReportedMeasures extends Measures {
  validation: { balancedAccuracy: number };
  /** Resident memory of a process that runs this model alone; null: nobody measured it. */
  rssBytes: number | null;
  /** Median of an inference right after another model ran, ms: the caches were cold. */
  latencyMsCold: number;
  /** Millijoules of one inference, what the processor takes anyway included; null: see `energy`. */
  energyMj: number | null;
}

export interface ReportedCandidate extends ReportedMeasures {
  id: string;
  strategy: Strategy;
  precision: Precision;
  ratio: number;
  inputSize: number;
  speedup: number;
  /** 95 % of it; null: too few runs. */
  speedupInterval: [number, number] | null;
  accuracyDropPp: number;
  offered: boolean;
  reason: string;
  parity: Parity;
  perClass: Record<string, number>;
  /** null: more tasks than are worth the time here. */
  bwt: number | null;
  gates: Gate[];
  /** Training and test images together, near-duplicates held out together; null: too many images, or the network learnt from labels of some. */
  grouped: GroupedMeasures | null;
  /** The backbone was adapted to the first task before it was pruned. */
  adapted: boolean;
  /** How a student began and was taught, and what was compared for it; null: no student. */
  student: StudentChoice | null;
  /** Groups of channels that pruning left alone, and why. */
  untouched: NonNullable<Evidence['untouched']>;
  /** Operators that pruning does not know, and how many of each there are: channels that reach them stay. */
  unknownOperators: NonNullable<Evidence['unknownOperators']>;
}

export interface CompressReport {
  /** How pixels were scaled, and who says so. */
  normalisation: SourcedNormalisation;
  reference: ReportedMeasures & {
    inputSize: number;
    perClass: Record<string, number>;
    bwt: number | null;
    grouped: GroupedMeasures | null;
  };
  candidates: ReportedCandidate[];
  pareto: string[];
  recommended: string | null;
  why: string;
  tasks: string[][];
  /** How alike the first task's and the later tasks' activations are: correlation of channel energies; null for one task. */
  similarity: number | null;
  /** Pre-pruning started from the backbone adapted to the first task. */
  adapted: boolean;
  /** Why, or why not; absent: nobody asked for it. */
  adaptation?: Omit<Adaptation, 'model'>;
  /** How well layers measured alone tell the time of whole networks on this PC; null: they could not be profiled. */
  costModel: { medianErrorPct: number; layers: number; networks: number } | null;
  /** Of what is recommended; null: nothing is. */
  operationsScore: OperationsScore | null;
  /** All that was tried, on training folds; candidates are the best of it. */
  tried: { id: string; balancedAccuracy: number; speedup: number }[];
  skipped: { id: string; problem: string }[];
  unreadable: string[];
  outOfTime: boolean;
  /** Trials taken from a run before that was cut short. */
  resumedTrials: number;
  /** Where `energyMj` is from, or why it is null. */
  energy: string;
  environment: { cpu: string; onnxruntime: string; threads: number };
  images: { train: number; test: number };
  seconds: number;
}

/** Why nothing is recommended: which limit binds, what the nearest would need, and what is wrong with each. */
export const whyNothing = (
  offers: readonly { record: { id: string }; latencyMs: number; reason: string; broken: readonly Broken[] }[],
  skipped: readonly { id: string; problem: string }[],
  limits: OfferLimits,
): string => {
  if (offers.length > 0) {
    const judged = offers.map(({ record, ...offer }) => ({ id: record.id, ...offer }));
    const reasons = offers.map(({ record, reason }) => `${record.id}: ${reason}`);
    return [whatBinds(judged, limits), ...reasons].join(' ');
  }
  if (skipped.length > 0) return `Nothing could be made. ${skipped[0]!.id}: ${skipped[0]!.problem}`;
  return 'Nothing could be tried: the backbone has a fixed input size, or the time was too short.';
};
