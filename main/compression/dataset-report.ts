import type { Gate, Measures } from '../contract/domain.ts';
import type { OperationsScore } from './evidence/operations-score.ts';
import type { Parity } from './finish.ts';
import type { GroupedMeasures } from './grouped-validation.ts';
import type { Precision, Strategy } from './plan/variant.ts';

/* What `compress DIR --json` prints. */

export interface ReportedMeasures extends Measures {
  validation: { balancedAccuracy: number };
  /** Resident memory of a process that runs this model alone; null: nobody measured it. */
  rssBytes: number | null;
}

export interface ReportedCandidate extends ReportedMeasures {
  id: string;
  strategy: Strategy;
  precision: Precision;
  ratio: number;
  inputSize: number;
  speedup: number;
  accuracyDropPp: number;
  offered: boolean;
  reason: string;
  parity: Parity;
  perClass: Record<string, number>;
  /** null: more tasks than are worth the time here. */
  bwt: number | null;
  gates: Gate[];
  /** Training and test images together, near-duplicates held out together; null: too many images. */
  grouped: GroupedMeasures | null;
}

export interface CompressReport {
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
  environment: { cpu: string; onnxruntime: string; threads: number };
  images: { train: number; test: number };
  seconds: number;
}
