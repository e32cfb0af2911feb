import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { TrainingStep } from '../../autodiff/index.ts';
import { AppError, assert, problemOf } from '../../contract/errors.ts';
import { encodeModel, indexGraph, type Graph, type Node } from '../../onnx/index.ts';
import { openSession, type Session, type Tensor } from '../../runtime/session.ts';
import type { State, TrainingEngine, TrainingRun } from '../engine.ts';
import { copyTensor, emptyTensor, entriesFor } from '../state.ts';
import { fastLowering, type LoweredStep, type Lowering } from './lowering.ts';

export interface OrtEngineOptions {
  /** Default: fastLowering. */
  lower?: Lowering;
}

/**
 * Training on onnxruntime: one session whose outputs are the next state. Two sets of weights take turns as input and output; what no node reads
 * any more when it is written (the optimiser's moments) has one. For the process's main thread alone.
 */
export function createOrtEngine({ lower = fastLowering }: OrtEngineOptions = {}): TrainingEngine {
  return {
    kind: 'ort',
    async open(step, options) {
      const lowered = await lower(step);
      const packed = new Map<string, Tensor>();
      for (const { name, tensor } of entriesFor(step, options.state)) {
        const own = lowered.pack(name, tensor);
        // A copy, unless packing has made one already: the buffers below are written to.
        packed.set(name, own === tensor ? copyTensor(tensor) : own);
      }
      const session = await openSession(encodeModel(lowered.model), {
        threads: options.threads,
        name: 'training step',
        // A plan of all allocations comes on top of what the first step has allocated: nearly twice the memory, for no time gained.
        memoryPattern: false,
      });
      return openRun(describe(step), session, packed, lowered);
    },
  };
}

/** The step without its first state, which would stay in memory as long as the run. */
const describe = ({ state, model, ...rest }: TrainingStep) => ({
  ...rest,
  outputs: model.graph.outputs,
  state: state.map(({ name, next }) => ({ name, next })),
});

function openRun(
  step: ReturnType<typeof describe>,
  session: Session,
  initial: ReadonlyMap<string, Tensor>,
  { model, unpack }: LoweredStep,
): TrainingRun {
  const inPlace = updatedInPlace(model.graph, step.state);
  let current: Record<string, Tensor> = Object.fromEntries(initial);
  let other: Record<string, Tensor> = {};
  for (const [name, tensor] of initial) {
    other[name] = inPlace.has(name) ? tensor : emptyTensor(tensor.type, tensor.dims);
  }
  const results: Record<string, Tensor> = {};
  const { gradientNorm } = step;
  const outputs = [step.loss, step.learningRate, ...(gradientNorm ? [gradientNorm] : []), ...step.extraOutputs];
  for (const name of outputs) {
    const output = step.outputs.find((value) => value.name === name);
    assert(output?.type && output.shape?.every((dim) => typeof dim === 'number'), `step output "${name}" is static`);
    results[name] = emptyTensor(output.type as Tensor['type'], output.shape as number[]);
  }
  const number = (name: string): number => Number(results[name]!.data[0]);
  let open = true;
  let broken = false;
  let first = true;

  return {
    async step(batch) {
      assert(open && !broken, 'a run is not used after it was disposed or failed');
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
        // Moments are updated in place: nobody knows how far.
        broken = true;
        throw new AppError('TRAINER_FAILED', { problem: problemOf(cause) }, { cause });
      }
      [current, other] = [other, current];
      collect(first ? 'major' : 'minor');
      first = false;
      return {
        loss: number(step.loss),
        learningRate: number(step.learningRate),
        ...(gradientNorm ? { gradientNorm: number(gradientNorm) } : {}),
        extra: Object.fromEntries(step.extraOutputs.map((name) => [name, results[name]!])),
      };
    },
    async readState(): Promise<State> {
      assert(open && !broken, 'a run is not read after it was disposed or failed');
      return new Map(step.state.map(({ name }) => [name, copyTensor(unpack(name, current[name]!))]));
    },
    async [Symbol.asyncDispose]() {
      if (!open) return;
      open = false;
      await session.dispose();
    },
  };
}

/** Ops whose result may be the memory of their first input, seen differently. */
const VIEWS = new Set(['Identity', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Dropout', 'Cast']);

/**
 * State entries whose next value may be written over the present one: every node that reads it comes before the one that writes, whatever
 * order the runtime chooses, because the writer depends on it.
 */
function updatedInPlace(graph: Graph, state: readonly { name: string; next: string }[]): Set<string> {
  const index = indexGraph(graph);
  const readersOf = (name: string): readonly Node[] =>
    (index.consumers.get(name) ?? []).flatMap((reader) =>
      VIEWS.has(reader.op) ? [reader, ...readersOf(reader.outputs[0]!)] : [reader],
    );
  const found = new Set<string>();
  for (const { name, next } of state) {
    const writer = index.producer.get(next);
    const readers = readersOf(name);
    if (!writer || readers.includes(writer)) continue;
    const before = new Set([writer]);
    for (const node of before) {
      for (const input of node.inputs) {
        const maker = index.producer.get(input);
        if (maker) before.add(maker);
      }
    }
    if (readers.every((reader) => before.has(reader))) found.add(name);
  }
  return found;
}

/**
 * The runtime's binding gives every output as a fresh copy too, also those that were written where they belong: a whole state per step,
 * which the collector must not let pile up. 'major' after the first step: then the state it began with is garbage, and old.
 */
const collect: (type: 'minor' | 'major') => void = (() => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as (options: { type: 'minor' | 'major' }) => void;
  return (type) => gc({ type });
})();
