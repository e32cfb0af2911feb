import type { TrainingStep } from '../../autodiff/index.ts';
import { AppError, assert, problemOf } from '../../contract/errors.ts';
import { encodeModel } from '../../onnx/index.ts';
import { openSession, type Session, type Tensor } from '../../runtime/session.ts';
import type { EngineOptions, State, TrainingEngine, TrainingRun } from '../engine.ts';
import { copyTensor, emptyTensor, stateFor } from '../state.ts';
import { portableLowering, type Lowering } from './lowering.ts';

export interface OrtEngineOptions {
  /** Default: portableLowering. */
  lower?: Lowering;
}

/**
 * Training on onnxruntime: one session whose outputs are the next state. Two sets of state tensors take turns as input and output, so nothing is
 * allocated per step. For the process's main thread alone.
 */
export function createOrtEngine({ lower = portableLowering }: OrtEngineOptions = {}): TrainingEngine {
  return {
    kind: 'ort',
    async open(step, options) {
      const lowered = lower(step, { threads: options.threads });
      const packed = new Map<string, Tensor>();
      for (const [name, tensor] of stateFor(step, options.state)) {
        // A copy, unless packing has made one already: the buffers below are written to.
        const own = lowered.pack(name, tensor);
        packed.set(name, own === tensor ? copyTensor(tensor) : own);
      }
      const session = await openSession(encodeModel(lowered.model), {
        threads: options.threads,
        name: 'training step',
      });
      return openRun(step, session, packed, lowered.unpack);
    },
  };
}

function openRun(
  step: TrainingStep,
  session: Session,
  initial: ReadonlyMap<string, Tensor>,
  unpack: (name: string, tensor: Tensor) => Tensor,
): TrainingRun {
  let current: Record<string, Tensor> = Object.fromEntries(initial);
  let other: Record<string, Tensor> = {};
  for (const [name, { type, dims }] of initial) other[name] = emptyTensor(type, dims);
  const results: Record<string, Tensor> = {};
  const { gradientNorm } = step;
  const outputs = [step.loss, step.learningRate, ...(gradientNorm ? [gradientNorm] : []), ...step.extraOutputs];
  for (const name of outputs) {
    const output = step.model.graph.outputs.find((value) => value.name === name);
    assert(output?.type && output.shape?.every((dim) => typeof dim === 'number'), `step output "${name}" is static`);
    results[name] = emptyTensor(output.type as Tensor['type'], output.shape as number[]);
  }
  const number = (name: string): number => Number(results[name]!.data[0]);
  let open = true;

  return {
    async step(batch) {
      assert(open, 'a run is not used after it was disposed');
      const feeds: Record<string, Tensor> = { ...current };
      for (const { name } of step.batch) {
        assert(batch[name], `the batch has "${name}"`);
        feeds[name] = batch[name];
      }
      const fetches: Record<string, Tensor> = { ...results };
      for (const { name, next } of step.state) fetches[next] = other[name]!;
      try {
        await session.run(feeds, fetches);
      } catch (cause) {
        // The state before the step is untouched: only the other set may be half-written.
        throw new AppError('TRAINER_FAILED', { problem: problemOf(cause) }, { cause });
      }
      [current, other] = [other, current];
      return {
        loss: number(step.loss),
        learningRate: number(step.learningRate),
        ...(gradientNorm ? { gradientNorm: number(gradientNorm) } : {}),
        extra: Object.fromEntries(step.extraOutputs.map((name) => [name, results[name]!])),
      };
    },
    async readState(): Promise<State> {
      assert(open, 'a run is not used after it was disposed');
      return new Map(step.state.map(({ name }) => [name, copyTensor(unpack(name, current[name]!))]));
    },
    async [Symbol.asyncDispose]() {
      if (!open) return;
      open = false;
      await session.dispose();
    },
  };
}
