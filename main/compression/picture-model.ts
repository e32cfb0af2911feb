import { AppError, isAppError } from '../contract/errors.ts';
import {
  halfPrecisionIn,
  inferShapes,
  runtimeInputs,
  setInputSize,
  takesTwo,
  type Dim,
  type Model,
  type Value,
} from '../onnx/index.ts';
import { openSession } from '../runtime/session.ts';

/* What the tools on plain files need of a model; both are asked before a picture is decoded. */

export const unsuitable = (file: string, problem: string) => new AppError('MODEL_UNSUITABLE', { file, problem });

/** The one input of a model: [batch, 3, height, width] in float32. @throws MODEL_UNSUITABLE */
export function pictureInput({ graph }: Model, file: string): Value & { shape: NonNullable<Value['shape']> } {
  const inputs = runtimeInputs(graph);
  const [input] = inputs;
  if (!input || inputs.length > 1) throw unsuitable(file, `it has ${inputs.length} inputs; one picture is needed`);
  const { shape, type } = input;
  if (shape?.length !== 4 || shape[1] !== 3) throw unsuitable(file, 'its input is not [batch, 3, height, width]');
  if (type !== 'float32') throw unsuitable(file, `its input is ${type ?? 'not a tensor'}, not float32`);
  return { ...input, shape };
}

/** What the runtime says of a model, asked before all work. @throws MODEL_UNREADABLE, MODEL_UNSUITABLE where it has operators that are not of ONNX */
export async function requireRunnable({ graph }: Model, bytes: Uint8Array, file: string): Promise<void> {
  try {
    await (await openSession(bytes, { threads: 1, name: file, optimization: 'disabled' })).dispose();
  } catch (error) {
    const foreign = new Set(graph.nodes.flatMap(({ op, domain }) => (domain === '' ? [] : [`${domain}.${op}`])));
    if (!isAppError(error, 'MODEL_UNREADABLE') || foreign.size === 0) throw error;
    const problem = `it has operators that the runtime may not know, ${[...foreign].join(', ')}: ${String(error.details['problem'])}`;
    throw new AppError('MODEL_UNSUITABLE', { file, problem }, { cause: error });
  }
}

/** What is wrong in a graph is told with the file that it lies in: a tool may have two. */
export async function inFile<T>(file: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!isAppError(cause, 'GRAPH_INVALID')) throw cause;
    const { where, problem } = cause.details;
    throw new AppError('GRAPH_INVALID', { where: `${String(where)} of ${file}`, problem: String(problem) }, { cause });
  }
}

/** What is measured on pictures is read as floats, inside the model too; cutting by weights alone reads none. @throws GRAPH_INVALID, MODEL_UNSUITABLE */
export function requireFloats(model: Model, file: string): void {
  const infos = inferShapes(model, { unknownOps: 'unknown' });
  const half = halfPrecisionIn(model.graph, infos);
  if (half !== null) throw unsuitable(file, half);
  for (const output of model.graph.outputs) {
    const type = infos.get(output.name)?.type ?? output.type;
    if (type === 'float32' || type === 'float64') continue;
    const what = type === null ? 'no tensor' : type;
    throw unsuitable(file, `its output "${output.name}" is ${what}, not float32; export it without that output`);
  }
}

/** A model stated at this size. @throws MODEL_UNSUITABLE where a layer holds it to the size that its file states */
export function atSize(model: Model, size: { batch?: Dim; side: number; stated: number }, file: string): Model {
  const { batch, side, stated } = size;
  try {
    return setInputSize(model, { ...(batch === undefined ? {} : { batch }), height: side, width: side });
  } catch (error) {
    if (!isAppError(error, 'GRAPH_INVALID')) throw error;
    throw new AppError(
      'MODEL_UNSUITABLE',
      { file, problem: `its input is fixed at ${stated} pixels` },
      { cause: error },
    );
  }
}

/** For what runs several pictures at once, training above all. @throws MODEL_UNSUITABLE */
export function requireOpenBatch(model: Model, size: number, file: string): void {
  if (takesTwo(model, size)) return;
  const [batch] = pictureInput(model, file).shape;
  const taken = typeof batch === 'number' && batch > 1 ? `${batch} pictures` : '1 picture';
  throw unsuitable(file, `it takes ${taken} in each run; export it with an open batch`);
}
