import type { TrainingStep } from '../../autodiff/index.ts';
import type { EngineOptions, TrainingEngine } from '../engine.ts';
import type { BackendName, BackendOptions } from './backend.ts';
import type { TfjsRun } from './run.ts';

export type { BackendChoice, BackendName } from './backend.ts';
export type { TfjsRun } from './run.ts';

export interface Estimate {
  backend: Exclude<BackendName, 'native'>;
  secondsPerStep: number;
  /** null: `steps` was not given. */
  secondsLeft: number | null;
}

export interface TfjsOptions extends BackendOptions {
  /** Steps that are to be made, for `Estimate.secondsLeft`. */
  steps?: number;
  /** Called by `open`, before the first step, where training runs without native TensorFlow; costs one or two trial steps. */
  onEstimate?: (estimate: Estimate) => void;
}

export interface TfjsEngine extends TrainingEngine {
  readonly kind: 'tfjs';
  open(step: TrainingStep, options: EngineOptions): Promise<TfjsRun>;
}

/**
 * The step graph interpreted with TensorFlow.js, op by op. `EngineOptions.threads` has no effect: WASM under Node and plain JavaScript use
 * one, native TensorFlow decides by itself. TensorFlow.js is loaded when the first run is opened.
 */
export const createTfjsEngine = (options: TfjsOptions = {}): TfjsEngine => ({
  kind: 'tfjs',
  async open(step, engine) {
    const { openRun } = await import('./run.ts');
    return openRun(step, engine, options);
  },
});
