/* What other folders use. README.md lists it with one line each. */
export * from './model.ts';
export { decodeModel } from './decode.ts';
export { encodeModel } from './encode.ts';
export { readModelFile, writeModelFile, type WriteModelOptions } from './model-file.ts';
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
export { beginsAndEnds, padsOn } from './pads.ts';
export { sliceBounds, type SliceBounds } from './slice-bounds.ts';
export { mapBehindPooling, type PooledMap } from './pooled-map.ts';
export { foldBatchNorm } from './passes/fold-batch-norm.ts';
export { appendNodes, selectOutputs, setInputSize, takesTwo } from './passes/reshape-interface.ts';
export { selectFeatureOutputs } from './passes/select-feature-outputs.ts';
export { importTflite, type TfliteImportOptions } from './tflite/import-tflite.ts';
export { analyseBackbone, type BackboneAnalysis, type FeatureCandidate } from './backbone-candidates.ts';
export { prepareBackbone, type PreparedBackbone, type PrepareOptions } from './prepare-backbone.ts';
export {
  assumedNormalisation,
  DEFAULT_NORMALISATION,
  normalisationOf,
  readNormalisation,
  sidecarNames,
  sidecarOf,
  type Normalisation,
  type SourcedNormalisation,
} from './normalisation.ts';
export { architectures, buildNetwork, type Architecture, type NetworkOptions } from './architectures/build-network.ts';
export { normalNumbers, randomSource } from './architectures/random.ts';
export type { OpContext, OpFacts } from './op-facts/facts.ts';
export { unfoldBatchNorm, type ChannelStatistics } from './passes/unfold-batch-norm.ts';
export { foldConstants } from './passes/fold-constants.ts';
export { addOutputs, removeOutputs } from './passes/outputs.ts';
export { replaceHead, type HeadOptions } from './passes/replace-head.ts';
export {
  halfPrecisionIn,
  requireStaticShapes,
  requireSupportedOps,
  NEWEST_OPSET,
  OLDEST_OPSET,
  type StaticInfo,
} from './requirements.ts';
