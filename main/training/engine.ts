import type { TrainingStep } from '../autodiff/step.ts';
import type { Tensor } from '../runtime/session.ts';

/** Parameters, running statistics, optimiser moments and the step counter by `StateEntry.name`, always in the layout of `StateEntry.dims`. */
export type State = ReadonlyMap<string, Tensor>;

export interface EngineOptions {
  threads: number;
  /** Where to go on from; default: `StateEntry.initial` of every entry. Copied, never written to. */
  state?: State;
}

export interface StepResult {
  /** Mean over the batch, as the losses of the step define it. */
  loss: number;
  /** The one this step was made with. */
  learningRate: number;
  /** Before clipping; only where the step clips. */
  gradientNorm?: number;
  /** `TrainingStep.extraOutputs`; the data may be overwritten by the next step. */
  extra: Record<string, Tensor>;
}

/**
 * A step graph opened for training; it holds the state. One call at a time.
 * Errors of `step`: INFERENCE_FAILED-like errors of the runtime; a loss that is not finite is returned, not thrown: the loop decides.
 */
export interface TrainingRun extends AsyncDisposable {
  /** Forward, backward and update on one batch; `batch` holds every name of `TrainingStep.batch` and is not kept. */
  step(batch: Record<string, Tensor>): Promise<StepResult>;
  /** A copy of the state after the last step. */
  readState(): Promise<State>;
}

/** What runs a training step. The state goes in and comes out in the layout of the step graph, whatever the engine uses inside. */
export interface TrainingEngine {
  readonly kind: 'ort' | 'tfjs';
  open(step: TrainingStep, options: EngineOptions): Promise<TrainingRun>;
}
