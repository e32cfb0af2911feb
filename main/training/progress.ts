/** What is said after every step. */
export interface TrainingProgress {
  /** Counted from 1. */
  epoch: number;
  epochs: number;
  /** Steps made so far, of all epochs. */
  step: number;
  steps: number;
  /** Mean over this epoch so far. */
  loss: number;
  learningRate: number;
  imagesPerSecond: number;
  /** Evaluation of the epochs to come included, once one has been timed. */
  secondsLeft: number;
}

const WINDOW = 20;

/** Measures the speed of the last steps. Times are in milliseconds, as performance.now gives them. */
export class Pace {
  readonly #batch: number;
  readonly #times: number[] = [];
  #evaluationMs = 0;

  constructor(batch: number) {
    this.#batch = batch;
  }

  addStep(ms: number): void {
    this.#times.push(ms);
    if (this.#times.length > WINDOW) this.#times.shift();
  }

  addEvaluation(ms: number): void {
    this.#evaluationMs = ms;
  }

  get #stepMs(): number {
    // The first step of a session also plans its memory.
    const times = this.#times.length > 1 ? this.#times.slice(1) : this.#times;
    return times.length === 0 ? 0 : times.reduce((sum, ms) => sum + ms, 0) / times.length;
  }

  get imagesPerSecond(): number {
    return this.#stepMs === 0 ? 0 : (1000 * this.#batch) / this.#stepMs;
  }

  secondsLeft(steps: number, evaluations: number): number {
    return (steps * this.#stepMs + evaluations * this.#evaluationMs) / 1000;
  }
}

/** One line for a person. */
export function progressLine(p: TrainingProgress): string {
  const left = p.secondsLeft >= 90 ? `${Math.round(p.secondsLeft / 60)} min` : `${Math.ceil(p.secondsLeft)} s`;
  return `epoch ${p.epoch} of ${p.epochs}, step ${p.step} of ${p.steps}: loss ${p.loss.toFixed(4)}, ${p.imagesPerSecond.toFixed(1)} images/s, ${left} left`;
}
