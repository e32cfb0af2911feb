import { AppError } from '../../contract/errors.ts';
import type { Model } from '../model.ts';
import { selectOutputs } from './reshape-interface.ts';

/** The model with these values as outputs after those it has; a value that is an output already stays where it is. @throws NOT_FOUND */
export function addOutputs(model: Model, names: readonly string[]): Model {
  return selectOutputs(model, [...new Set([...model.graph.outputs.map((output) => output.name), ...names])]);
}

/**
 * The model without these outputs, and without what only they needed.
 * @throws NOT_FOUND for a name that is not an output; GRAPH_INVALID if none would be left.
 */
export function removeOutputs(model: Model, names: readonly string[]): Model {
  const present = model.graph.outputs.map((output) => output.name);
  const missing = names.find((name) => !present.includes(name));
  if (missing !== undefined) throw new AppError('NOT_FOUND', { kind: 'Model output', id: missing });
  const gone = new Set(names);
  return selectOutputs(
    model,
    present.filter((name) => !gone.has(name)),
  );
}
