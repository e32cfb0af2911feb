import * as tf from '@tensorflow/tfjs-core';
import { assert } from '../../contract/errors.ts';
import type { TrainingStep } from '../../autodiff/index.ts';
import type { Tensor } from '../../runtime/session.ts';
import type { EngineOptions, State, StepResult, TrainingRun } from '../engine.ts';
import { emptyTensor, stateFor } from '../state.ts';
import { chooseBackend, use, type BackendChoice } from './backend.ts';
import type { TfjsOptions } from './engine.ts';
import { planGraph, runGraph, uploadConstants } from './graph-run.ts';
import { download, upload, type GraphValue } from './tensor-value.ts';

export interface TfjsRun extends TrainingRun {
  readonly backend: BackendChoice;
}

/** A trial step that took longer is not repeated. */
const LONG_STEP_SECONDS = 5;

/** @throws UNSUPPORTED_OP, GRAPH_INVALID, CHECKPOINT_OTHER_RUN, TFJS_NODE_UNUSABLE, TRAINER_FAILED */
export async function openRun(step: TrainingStep, engine: EngineOptions, options: TfjsOptions): Promise<TfjsRun> {
  const outputs = [
    ...step.state.map(({ next }) => next),
    step.loss,
    step.learningRate,
    ...(step.gradientNorm === undefined ? [] : [step.gradientNorm]),
    ...step.extraOutputs,
  ];
  const plan = planGraph(step.model, outputs);
  const types = new Map(step.model.graph.outputs.map(({ name, type }) => [name, type]));
  const first = stateFor(step, engine.state);
  const backend = await chooseBackend(options);
  use(backend);
  const constants = uploadConstants(step.model);
  let state = new Map<string, GraphValue>();
  for (const { name } of step.state) state.set(name, upload(first.get(name)!, name));
  let open = true;

  /** All outputs of the graph for one batch; the state stays as it is. */
  const compute = (batch: Readonly<Record<string, Tensor>>): Map<string, GraphValue> => {
    assert(open, 'a run is not used after it was disposed');
    use(backend);
    const fed = new Map<string, GraphValue>();
    try {
      for (const { name, dims } of step.batch) {
        const tensor = batch[name];
        assert(tensor && tensor.dims.join() === dims.join(), `the batch has "${name}" [${dims.join(', ')}]`);
        fed.set(name, upload(tensor, name));
      }
      return runGraph(plan, new Map([...constants, ...state, ...fed]), outputs);
    } finally {
      for (const value of fed.values()) value.dispose();
    }
  };

  const number = (results: ReadonlyMap<string, GraphValue>, name: string): number =>
    results.get(name)!.tensor.dataSync()[0]!;

  const run: TfjsRun = {
    backend,
    async step(batch) {
      const results = compute(batch);
      const next = new Map<string, GraphValue>();
      const taken = new Set<string>();
      for (const entry of step.state) {
        next.set(entry.name, results.get(entry.next)!);
        taken.add(entry.next);
      }
      const extra: Record<string, Tensor> = {};
      for (const name of step.extraOutputs) {
        extra[name] = download(results.get(name)!, (types.get(name) ?? 'float32') as Tensor['type']);
      }
      const result: StepResult = {
        loss: number(results, step.loss),
        learningRate: number(results, step.learningRate),
        ...(step.gradientNorm === undefined ? {} : { gradientNorm: number(results, step.gradientNorm) }),
        extra,
      };
      for (const [name, value] of results) if (!taken.has(name)) value.dispose();
      for (const value of state.values()) value.dispose();
      state = next;
      return result;
    },
    async readState() {
      assert(open, 'a run is not used after it was disposed');
      use(backend);
      const copy = new Map<string, Tensor>();
      for (const { name, type } of step.state) copy.set(name, download(state.get(name)!, type as Tensor['type']));
      return copy as State;
    },
    async [Symbol.asyncDispose]() {
      if (!open) return;
      open = false;
      use(backend);
      for (const value of [...state.values(), ...constants.values()]) value.dispose();
    },
  };

  if (options.onEstimate && backend.name !== 'native') {
    const secondsPerStep = timeStep(step, compute);
    const steps = options.steps;
    options.onEstimate({
      backend: backend.name,
      secondsPerStep,
      secondsLeft: steps === undefined ? null : secondsPerStep * steps,
    });
  }
  return run;
}

/** Seconds of one step on an empty batch whose results are thrown away; the second of two, unless the first was long enough to trust. */
function timeStep(
  step: TrainingStep,
  compute: (batch: Readonly<Record<string, Tensor>>) => Map<string, GraphValue>,
): number {
  const batch = Object.fromEntries(
    step.batch.map(({ name, dims, type }) => [name, emptyTensor(type as Tensor['type'], dims)]),
  );
  const once = () => {
    const started = performance.now();
    const results = compute(batch);
    // Native kernels may still be under way; reading the loss waits for them.
    results.get(step.loss)!.tensor.dataSync();
    for (const value of results.values()) value.dispose();
    return (performance.now() - started) / 1000;
  };
  const first = once();
  return first > LONG_STEP_SECONDS ? first : once();
}

/** Tensors alive on all backends of this process: a run must not leave any behind. */
export const liveTensors = (): number => tf.engine().state.numTensors;
