import { AppError } from '../contract/errors.ts';
import { halfPrecisionIn, inferShapes, runtimeInputs, type Model, type Value } from '../onnx/index.ts';

/* What the tools on plain files need of a model; both are asked before a picture is decoded. */

export const unsuitable = (file: string, problem: string) => new AppError('BACKBONE_UNSUITABLE', { file, problem });

/** The one input of a model: [batch, 3, height, width] in float32. @throws BACKBONE_UNSUITABLE */
export function pictureInput({ graph }: Model, file: string): Value & { shape: NonNullable<Value['shape']> } {
  const inputs = runtimeInputs(graph);
  const [input] = inputs;
  if (!input || inputs.length > 1) throw unsuitable(file, `it has ${inputs.length} inputs; one picture is needed`);
  const { shape, type } = input;
  if (shape?.length !== 4 || shape[1] !== 3) throw unsuitable(file, 'its input is not [batch, 3, height, width]');
  if (type !== 'float32') throw unsuitable(file, `its input is ${type ?? 'not a tensor'}, not float32`);
  return { ...input, shape };
}

/** What is measured on pictures is read as float32, inside the model too; cutting by weights alone reads none. @throws GRAPH_INVALID, BACKBONE_UNSUITABLE */
export function refuseHalfPrecision(model: Model, file: string): void {
  const half = halfPrecisionIn(model.graph, inferShapes(model, { unknownOps: 'unknown' }));
  if (half !== null) throw unsuitable(file, half);
}
