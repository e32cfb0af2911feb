import type { StateEntry, TrainingStep } from '../autodiff/step.ts';
import { AppError, assert } from '../contract/errors.ts';
import { elementCount } from '../onnx/index.ts';
import type { Tensor } from '../runtime/session.ts';
import type { State } from './engine.ts';

/** The array that holds the numbers of a runtime tensor. */
export const arrayTypes = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
} as const;

/** A tensor over a copy of the same numbers. */
export const copyTensor = ({ type, dims, data }: Tensor): Tensor => ({ type, dims, data: data.slice() });

/** A tensor over bytes that it takes over; they must lie on a multiple of the element's size. */
export function tensorOver(type: Tensor['type'], dims: readonly number[], bytes: Uint8Array): Tensor {
  const make = arrayTypes[type];
  const length = bytes.byteLength / make.BYTES_PER_ELEMENT;
  return { type, dims, data: new make(bytes.buffer as ArrayBuffer, bytes.byteOffset, length) };
}

/** Zeros of a static shape. */
export function emptyTensor(type: Tensor['type'], dims: readonly number[]): Tensor {
  const count = elementCount(dims);
  return tensorOver(type, dims, new Uint8Array(count * arrayTypes[type].BYTES_PER_ELEMENT));
}

/** Over the step's own memory: not to be written to. */
function initialOf(entry: StateEntry): Tensor {
  assert(entry.type in arrayTypes, 'a step keeps its state in types that a runtime takes');
  return { type: entry.type as Tensor['type'], dims: entry.dims, data: entry.initial };
}

/** The state a step starts from. */
export const initialState = (step: TrainingStep): State =>
  new Map(step.state.map((entry) => [entry.name, copyTensor(initialOf(entry))]));

/** The entries of `stateFor`, one at a time and not copied: a large network's state need not be in memory twice. */
export function* entriesFor(step: TrainingStep, state: State | undefined): Generator<{ name: string; tensor: Tensor }> {
  const given = state && stateFor(step, state);
  for (const entry of step.state) yield { name: entry.name, tensor: given?.get(entry.name) ?? initialOf(entry) };
}

/**
 * The given state for a step, checked, or its own beginning.
 * @throws CHECKPOINT_OTHER_RUN when the state belongs to another network.
 */
export function stateFor(step: TrainingStep, state: State | undefined): State {
  if (!state) return initialState(step);
  for (const { name, type, dims } of step.state) {
    const found = state.get(name);
    if (!found || found.type !== type || found.dims.join() !== dims.join()) {
      const problem = found
        ? `"${name}" is ${found.type} [${found.dims.join(', ')}] and not ${type} [${dims.join(', ')}]`
        : `it has no "${name}"`;
      throw new AppError('CHECKPOINT_OTHER_RUN', { problem });
    }
  }
  return state;
}

/** What `writeState` puts back into the forward model: weights and running statistics by initializer. */
export function parametersOf(step: TrainingStep, state: State): Map<string, Float32Array> {
  const values = new Map<string, Float32Array>();
  for (const { name, role, parameter } of step.state) {
    if ((role !== 'parameter' && role !== 'running') || parameter === undefined) continue;
    const { data } = state.get(name)!;
    assert(data instanceof Float32Array, 'parameters are float32');
    values.set(parameter, data);
  }
  return values;
}

/** The first entry that holds a value which is no finite number; null: the state is sound. */
export function firstNotFinite(state: State): string | null {
  for (const [name, { data }] of state) {
    if (!(data instanceof Float32Array)) continue;
    for (let i = 0; i < data.length; i += 1) if (!Number.isFinite(data[i])) return name;
  }
  return null;
}
