/* What other folders use. README.md lists it with one line each. */
export * from './model.ts';
export { decodeModel } from './decode.ts';
export { encodeModel } from './encode.ts';
export * from './build.ts';
export * from './edit.ts';
export * from './tensor.ts';
export { verifyStructure } from './verify.ts';
export { inferShapes, verifyShapes, type InferOptions, type TensorInfo } from './infer-shapes.ts';
export {
  concreteShape,
  graphInfo,
  modelCost,
  type GraphInfo,
  type ModelCost,
  type NodeCost,
  type ValueSummary,
} from './cost.ts';
export { foldBatchNorm } from './passes/fold-batch-norm.ts';
export { appendNodes, selectOutputs, setInputSize } from './passes/reshape-interface.ts';
export { selectFeatureOutputs } from './passes/select-feature-outputs.ts';
export { importTflite, type TfliteImportOptions } from './tflite/import-tflite.ts';
export { analyseBackbone, type BackboneAnalysis, type FeatureCandidate } from './backbone-candidates.ts';
export { prepareBackbone, type PreparedBackbone, type PrepareOptions } from './prepare-backbone.ts';
export { DEFAULT_NORMALISATION, readNormalisation, sidecarNames, type Normalisation } from './normalisation.ts';
