import { createHash } from 'node:crypto';
import type { Backbone } from '../contract/domain.ts';
import { AppError, isAppError } from '../contract/errors.ts';
import { analyseBackbone, type BackboneAnalysis, type FeatureCandidate } from './backbone-candidates.ts';
import { modelCost } from './cost.ts';
import { encodeModel } from './encode.ts';
import { inferShapes } from './infer-shapes.ts';
import type { Model } from './model.ts';
import { DEFAULT_NORMALISATION, type Normalisation } from './normalisation.ts';
import { setInputSize } from './passes/reshape-interface.ts';
import { selectFeatureOutputs } from './passes/select-feature-outputs.ts';

export interface PrepareOptions {
  id: string;
  /** Named in errors. */
  file: string;
  source: string;
  licence: string;
  /** Default: DEFAULT_NORMALISATION. */
  normalisation?: Readonly<Normalisation>;
  /** Names of values to use instead of what analyseBackbone finds. */
  features?: readonly string[];
}

export interface PreparedBackbone {
  /** The cut model, all weights in it: outputs `features_…` [N, d] in order, then `map_…` [N, d, h, w] behind those that are means of maps. */
  bytes: Uint8Array;
  /** All but where it will lie; `sha256` is that of `bytes`. */
  backbone: Omit<Backbone, 'file'>;
  analysis: BackboneAnalysis;
}

/**
 * Turns any ONNX image model into a backbone: features found or given, classifier dropped, outputs named in one way. The result has not
 * been run: the caller does that before trusting it.
 * @throws GRAPH_INVALID, UNSUPPORTED_OP (work cannot be counted), BACKBONE_UNSUITABLE with the reasons and what could be chosen by name.
 */
export function prepareBackbone(model: Model, options: PrepareOptions): PreparedBackbone {
  const analysis = analyseBackbone(model);
  const features = options.features ? givenFeatures(model, analysis, options) : analysis.featureOutputs;
  const problems = analysis.problems.filter((problem) => features.length === 0 || !problem.startsWith('no map after'));
  if (problems.length > 0 || features.length === 0) {
    const others = analysis.alternatives.map((other) => `${other.name} (${other.channels})`).slice(0, 12);
    const hint = others.length > 0 ? `; values that could be chosen: ${others.join(', ')}` : '';
    throw new AppError('BACKBONE_UNSUITABLE', { file: options.file, problem: problems.join('; ') + hint });
  }

  const labels = labelsOf(features);
  const withMaps = features.flatMap((feature, i) => (feature.map ? [{ map: feature.map, label: labels[i]! }] : []));
  const selected = selectFeatureOutputs(
    model,
    features.map((feature) => feature.name),
    {
      file: options.file,
      maps: withMaps.map(({ map }) => map),
      rename: labels.map((label) => `features_${label}`),
      renameMaps: withMaps.map(({ label }) => `map_${label}`),
    },
  );
  const cut = analysis.fixedBatch === null ? selected : freeBatch(selected, analysis);
  const out = encodeModel(cut);
  const { inputSize, inputName } = analysis;
  const cost = modelCost(cut, [1, 3, inputSize, inputSize]);
  const names = cut.graph.outputs.map((output) => output.name);
  const normalisation = options.normalisation ?? DEFAULT_NORMALISATION;
  return {
    bytes: out,
    analysis,
    backbone: {
      id: options.id,
      sha256: createHash('sha256').update(out).digest('hex'),
      inputName,
      inputSize,
      dynamicSize: analysis.dynamicSize,
      mean: [...normalisation.mean],
      std: [...normalisation.std],
      featureOutputs: features.map((feature, i) => {
        const map = names[features.length + withMaps.findIndex((entry) => entry.label === labels[i])];
        return {
          name: names[i]!,
          channels: feature.channels,
          kind: 'pooled' as const,
          ...(feature.map && map && { map }),
        };
      }),
      features: features.reduce((sum, feature) => sum + feature.channels, 0),
      macs: cost.macs,
      params: cost.params,
      source: options.source,
      licence: options.licence,
    },
  };
}

/** "s16" and "s32", or the position where strides do not tell them apart. */
function labelsOf(features: readonly FeatureCandidate[]): string[] {
  const byStride = features.map((feature) => (feature.stride === null ? null : `s${feature.stride}`));
  const distinct = byStride.every((label) => label !== null) && new Set(byStride).size === features.length;
  return distinct ? (byStride as string[]) : features.map((_, i) => `${i + 1}`);
}

function givenFeatures(model: Model, analysis: BackboneAnalysis, options: PrepareOptions): FeatureCandidate[] {
  const known = [...analysis.featureOutputs, ...analysis.mapOutputs, ...analysis.alternatives];
  if (analysis.inputName === '') return [];
  const { inputSize, inputName } = analysis;
  const infos = inferShapes(model, {
    unknownOps: 'unknown',
    inputShapes: { [inputName]: [1, 3, inputSize, inputSize] },
  });
  return (options.features ?? []).map((name): FeatureCandidate => {
    const listed = known.find((candidate) => candidate.name === name);
    if (listed) return listed;
    const shape = infos.get(name)?.shape;
    const channels = shape?.[1];
    if (typeof channels !== 'number' || (shape!.length !== 2 && shape!.length !== 4)) {
      const problem = infos.has(name) ? `"${name}" is neither [N, d] nor [N, d, h, w]` : `it has no value "${name}"`;
      throw new AppError('BACKBONE_UNSUITABLE', { file: options.file, problem });
    }
    if (shape!.length === 2) return { name, channels, kind: 'pooled', stride: null, map: null };
    const side = shape![2];
    return {
      name,
      channels,
      kind: 'map',
      stride: typeof side === 'number' ? Math.round(inputSize / side) : null,
      map: name,
    };
  });
}

/** Opens a fixed batch where nothing between input and features depends on it. */
function freeBatch(model: Model, analysis: BackboneAnalysis): Model {
  const image = model.graph.inputs.find((input) => input.name === analysis.inputName)!;
  const open = setInputSize(model, { batch: 'N', height: image.shape![2]!, width: image.shape![3]! });
  try {
    const two = setInputSize(model, { batch: 2, height: analysis.inputSize, width: analysis.inputSize });
    return two.graph.outputs.every((output) => output.shape?.[0] === 2) ? open : model;
  } catch (error) {
    // A Reshape to the fixed batch contradicts the new one: it has to stay as it is.
    if (isAppError(error, 'GRAPH_INVALID')) return model;
    throw error;
  }
}
