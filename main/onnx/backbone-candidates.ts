import { AppError } from '../contract/errors.ts';
import { constantOf, indexGraph, runtimeInputs, type GraphIndex } from './edit.ts';
import { inferShapes, type TensorInfo } from './infer-shapes.ts';
import type { Dim, Graph, Model, Node, Value } from './model.ts';
import { setInputSize } from './passes/reshape-interface.ts';
import { selectFeatureOutputs } from './passes/select-feature-outputs.ts';
import { isGlobalPool } from './pooled-map.ts';
import { halfPrecisionIn } from './requirements.ts';
import { verifyStructure } from './verify.ts';

/** A value of the model that could serve as features. */
export interface FeatureCandidate {
  /** Name of the value in the model; it need not be an output. */
  name: string;
  channels: number;
  /** 'map': [N, channels, h, w], to be pooled. 'pooled': [N, channels]. */
  kind: 'pooled' | 'map';
  /** Input pixels per position; null for one that is not a pooled map. */
  stride: number | null;
  /** Of a pooled one: the map it is the mean of. Of a map: itself. */
  map: string | null;
}

export interface BackboneAnalysis {
  inputName: string;
  /** Side of the square input in pixels: as stated, else 224 (what nearly all classifiers are trained at). */
  inputSize: number;
  /** True: the chosen features can be computed at other sizes too (multiples of 32). */
  dynamicSize: boolean;
  /** The batch size the file fixes; null: any. */
  fixedBatch: number | null;
  /** What to use; empty: ask, see `alternatives`. */
  featureOutputs: FeatureCandidate[];
  /** The maps behind featureOutputs. */
  mapOutputs: FeatureCandidate[];
  /** Everything else that could be chosen instead, in graph order. */
  alternatives: FeatureCandidate[];
  /** Why it cannot serve as it is; empty: it can, as far as can be told without running it. */
  problems: string[];
}

const DEFAULT_SIZE = 224;

/** Non-linearities; a map right after one is rich, one right after a linear bottleneck is poor (ARCHITECTURE, facts: measured). */
const ACTIVATIONS = new Set([
  'Relu',
  'Clip',
  'HardSwish',
  'LeakyRelu',
  'PRelu',
  'Elu',
  'Selu',
  'Celu',
  'Gelu',
  'Mish',
  'Softplus',
]);
const ELEMENTWISE = new Set([
  ...ACTIVATIONS,
  'Sigmoid',
  'HardSigmoid',
  'Tanh',
  'Erf',
  'Add',
  'Sub',
  'Mul',
  'Div',
  'Identity',
]);

interface Found {
  graph: Graph;
  index: GraphIndex;
  infos: ReadonlyMap<string, TensorInfo>;
  size: number;
}

/** The image among the inputs, or why there is none. */
function findImage(model: Model): { image: Value; problems: string[] } | { image: null; problems: string[] } {
  const inputs = runtimeInputs(model.graph);
  const byRank = inputs.filter((input) => input.shape?.length === 4);
  const image =
    byRank.find((input) => input.shape![1] === 3) ??
    // An open size before three channels is a height.
    byRank.find((input) => typeof input.shape![1] !== 'number' && input.shape![3] !== 3);
  if (!image) {
    const stated = inputs
      .map((input) => `${input.name} [${input.shape?.map((dim) => dim ?? '?').join(', ') ?? '?'}]`)
      .join(', ');
    const hint = byRank.some((input) => input.shape![3] === 3)
      ? ' (channels last is not supported: export it as NCHW)'
      : '';
    return {
      image: null,
      problems: [`no input is an RGB image [N, 3, H, W]; its inputs are ${stated || 'none'}${hint}`],
    };
  }
  const others = inputs.filter((input) => input !== image).map((input) => input.name);
  const problems = others.length > 0 ? [`it also needs the input ${others.join(', ')}`] : [];
  if (image.type !== 'float32') problems.push(`its image input is ${image.type ?? 'not a tensor'}, not float32`);
  return { image, problems };
}

/** x * g(x) with g element-wise (swish and its hard form, spelt out), also scaled by a constant afterwards. */
function isActivation(found: Found, node: Node, depth = 0): boolean {
  if (node.domain !== '' || depth > 4) return false;
  if (ACTIVATIONS.has(node.op)) return true;
  if (node.op !== 'Mul' && node.op !== 'Div') return false;
  const [a, b] = [node.inputs[0] ?? '', node.inputs[1] ?? ''];
  const isConstant = (name: string) => constantOf(found.graph, found.index, name) !== undefined;
  if (isConstant(a) || isConstant(b)) {
    const maker = found.index.producer.get(isConstant(a) ? b : a);
    return maker !== undefined && isActivation(found, maker, depth + 1);
  }
  return node.op === 'Mul' && (gatedBy(found, a, b) || gatedBy(found, b, a));
}

/** Whether `gate` is computed from `source` by element-wise steps alone. */
function gatedBy(found: Found, source: string, gate: string): boolean {
  let at = gate;
  for (let steps = 0; steps < 8; steps++) {
    const maker = found.index.producer.get(at);
    if (!maker || !ELEMENTWISE.has(maker.op)) return false;
    const moving = maker.inputs.filter(
      (name) => name !== '' && constantOf(found.graph, found.index, name) === undefined,
    );
    if (moving.length !== 1) return false;
    at = moving[0]!;
    if (at === source) return true;
  }
  return false;
}

const numeric = (shape: readonly Dim[] | null | undefined): number[] | null =>
  shape?.every((dim): dim is number => typeof dim === 'number') ? (shape as number[]) : null;

/** A value as a candidate, by its shape alone. */
function candidateOf(found: Found, name: string): FeatureCandidate | null {
  const shape = numeric(found.infos.get(name)?.shape);
  if (!shape || shape[1] === undefined || shape[1] < 1) return null;
  if (shape.length === 2) return { name, channels: shape[1], kind: 'pooled', stride: null, map: null };
  if (shape.length !== 4 || shape[2] !== shape[3] || shape[2]! < 1) return null;
  return { name, channels: shape[1], kind: 'map', stride: Math.round(found.size / shape[2]!), map: name };
}

/** Values that all of `name` is computed from, itself included. */
function ancestors(found: Found, name: string): Set<string> {
  const seen = new Set([name]);
  const stack = [name];
  while (stack.length > 0) {
    for (const input of found.index.producer.get(stack.pop()!)?.inputs ?? []) {
      if (input === '' || seen.has(input)) continue;
      seen.add(input);
      stack.push(input);
    }
  }
  return seen;
}

/**
 * The last of the widest maps. Within a stride the widest are the expansions of inverted bottlenecks (MobileNet, EfficientNet), or the outputs
 * of plain bottlenecks (ResNet); the last expansion at stride 16 is the one that feeds the depth-wise convolution to stride 32.
 */
const lastWidest = (maps: readonly FeatureCandidate[]): FeatureCandidate | undefined => {
  const widest = Math.max(...maps.map((map) => map.channels));
  return maps.findLast((map) => map.channels === widest);
};

/** Whether the network goes on from this map by a linear bottleneck: a 1x1 convolution to fewer channels, with no non-linearity after it. */
function feedsBottleneck(found: Found, map: FeatureCandidate): boolean {
  const stack = [map.name];
  const seen = new Set(stack);
  while (stack.length > 0) {
    for (const next of found.index.consumers.get(stack.pop()!) ?? []) {
      const output = next.outputs[0]!;
      if (next.op === 'Conv' && narrows(found, next, map.channels)) {
        if (isLinear(found, output)) return true;
        // Squeeze-and-excite scales the map first.
      } else if (next.op === 'Mul' && found.infos.get(output)?.shape?.[2] !== 1 && !seen.has(output)) {
        seen.add(output);
        stack.push(output);
      }
    }
  }
  return false;
}

function narrows(found: Found, conv: Node, channels: number): boolean {
  const weight = numeric(found.infos.get(conv.inputs[1] ?? '')?.shape);
  const point = weight?.length === 4 && weight[2] === 1 && weight[3] === 1 && weight[1] === channels;
  return point && weight[0]! < channels;
}

/** No consumer of the value, a BatchNormalization passed over, is a non-linearity or the gate of one. */
function isLinear(found: Found, name: string): boolean {
  return (found.index.consumers.get(name) ?? []).every((next) => {
    if (next.op === 'BatchNormalization') return isLinear(found, next.outputs[0]!);
    return !isActivation(found, next) && next.op !== 'Sigmoid' && next.op !== 'HardSigmoid';
  });
}

/**
 * The stages to pool: strides 16 and 32 where both exist, else the two coarsest that are still maps. At the coarse one the map that goes into
 * the last linear bottleneck, where there is one, not the widened last layer behind it. Balanced accuracy of a ridge head, three folds of the
 * training images, last layer -> this one: MobileNet-EdgeTPU magnetic_tile .898 -> .911 (plain accuracy .957 -> .940), deeppcb_crops .890 ->
 * .931; MobileNetV2 1.0 .889 -> .895 and .859 -> .901. README.md says how far these figures carry.
 */
function chooseStages(found: Found, maps: readonly FeatureCandidate[]): FeatureCandidate[] {
  const strides = [...new Set(maps.map((map) => map.stride!))].sort((a, b) => a - b);
  const deepStride = strides.includes(32) ? 32 : strides.at(-1);
  if (deepStride === undefined) return [];
  const coarse = maps.filter((map) => map.stride === deepStride);
  const deep = coarse.findLast((map) => feedsBottleneck(found, map)) ?? lastWidest(coarse)!;
  const upstream = ancestors(found, deep.name);
  const before = maps.filter((map) => map.stride! < deepStride && upstream.has(map.name));
  const middleStride = Math.max(...before.map((map) => map.stride!));
  const middle = lastWidest(before.filter((map) => map.stride === middleStride));
  // Finer than stride 4 there are edges and colours, nothing that helps beside the deep stage.
  return middle && middleStride >= 4 ? [middle, deep] : [deep];
}

const REARRANGING = new Set(['Flatten', 'Squeeze', 'Reshape', 'Identity', 'Dropout']);

/** A graph output or value [N, d] that is the mean of this map already, so that it need not be pooled again. */
function pooledForm(found: Found, map: FeatureCandidate): FeatureCandidate | null {
  for (const pool of found.index.consumers.get(map.name) ?? []) {
    if (!isGlobalPool(found.graph, found.index, pool)) continue;
    let at = pool.outputs[0]!;
    for (let steps = 0; steps < 4; steps++) {
      const shape = numeric(found.infos.get(at)?.shape);
      if (shape?.length === 2 && shape[1] === map.channels) {
        // An output of the model, where it merely renames this value, is the name its users know.
        const renamed = (found.index.consumers.get(at) ?? []).find(
          (next) => next.op === 'Identity' && found.index.outputs.has(next.outputs[0]!),
        );
        const name = found.index.outputs.has(at) ? at : (renamed?.outputs[0] ?? at);
        return { ...map, name, kind: 'pooled' };
      }
      const next = (found.index.consumers.get(at) ?? []).find((consumer) => REARRANGING.has(consumer.op));
      if (!next) break;
      at = next.outputs[0]!;
    }
  }
  return null;
}

/** Outputs [N, d] that the file itself calls `features_…`, as prepareBackbone writes them: taken at its word. */
function declared(found: Found, maps: readonly FeatureCandidate[]): FeatureCandidate[] {
  return [...found.index.outputs].flatMap((name) => {
    const candidate = name.startsWith('features_') ? candidateOf(found, name) : null;
    if (candidate?.kind !== 'pooled') return [];
    const origin = maps.find((map) => pooledForm(found, map)?.name === name);
    return [origin ? { ...candidate, stride: origin.stride, map: origin.name } : candidate];
  });
}

/** Networks without maps (transformers): what the last fully connected layer reads. */
function penultimate(found: Found): FeatureCandidate | null {
  const last = found.graph.nodes.findLast(
    (node) =>
      (node.op === 'Gemm' || node.op === 'MatMul') &&
      constantOf(found.graph, found.index, node.inputs[1] ?? '') !== undefined,
  );
  const candidate = last && candidateOf(found, last.inputs[0] ?? '');
  return candidate?.kind === 'pooled' && found.index.producer.has(candidate.name) ? candidate : null;
}

/**
 * Finds, without running the model, what it takes to use it as a backbone. Mean and standard deviation of the input cannot be told from a
 * graph: see normalisation.ts.
 * @throws GRAPH_INVALID for a graph that contradicts itself.
 */
export function analyseBackbone(model: Model): BackboneAnalysis {
  verifyStructure(model);
  const { image, problems } = findImage(model);
  if (!image?.shape) {
    const nothing = { featureOutputs: [], mapOutputs: [], alternatives: [] };
    return { inputName: '', inputSize: DEFAULT_SIZE, dynamicSize: false, fixedBatch: null, ...nothing, problems };
  }
  const [batch, , height, width] = image.shape;
  const stated = typeof height === 'number' ? height : typeof width === 'number' ? width : null;
  const inputSize = stated ?? DEFAULT_SIZE;
  if (typeof height === 'number' && typeof width === 'number' && height !== width) {
    problems.push(`its input is ${width} x ${height} pixels, not square`);
  }
  const fixedBatch = typeof batch === 'number' ? batch : null;
  const at = (size: number) =>
    inferShapes(model, { unknownOps: 'unknown', inputShapes: { [image.name]: [fixedBatch ?? 1, 3, size, size] } });
  const found: Found = { graph: model.graph, index: indexGraph(model.graph), infos: at(inputSize), size: inputSize };

  const maps = found.graph.nodes
    .filter((node) => isActivation(found, node))
    .flatMap((node) => candidateOf(found, node.outputs[0]!) ?? [])
    // One position is a pooled value or a squeeze-and-excite branch, not a map.
    .filter((map) => map.kind === 'map' && map.stride! < inputSize);
  const own = declared(found, maps);
  const stages =
    own.length > 0 ? maps.filter((map) => own.some((feature) => feature.map === map.name)) : chooseStages(found, maps);
  const fallback = stages.length === 0 ? penultimate(found) : null;
  const automatic = fallback ? [fallback] : stages.map((stage) => pooledForm(found, stage) ?? stage);
  const featureOutputs = own.length > 0 ? own : automatic;
  const chosen = new Set([...featureOutputs, ...stages].map((feature) => feature.name));
  const half = halfPrecisionIn(found.graph, found.infos);
  if (half !== null) problems.push(half);
  if (featureOutputs.length === 0)
    problems.push('no map after a non-linearity and no last fully connected layer were found');

  return {
    inputName: image.name,
    inputSize,
    dynamicSize: stated === null && featureOutputs.length > 0 && worksAtOtherSizes(model, featureOutputs),
    fixedBatch,
    featureOutputs,
    mapOutputs: stages,
    alternatives: alternativesOf(found, maps).filter((other) => !chosen.has(other.name)),
    problems,
  };
}

/** Per stride the last wide map; every output of the file that has a fitting shape. */
function alternativesOf(found: Found, maps: readonly FeatureCandidate[]): FeatureCandidate[] {
  const perStride = [...new Set(maps.map((map) => map.stride))].flatMap(
    (stride) => lastWidest(maps.filter((map) => map.stride === stride)) ?? [],
  );
  const outputs = [...found.index.outputs].flatMap((name) => candidateOf(found, name) ?? []);
  const all = new Map([...perStride, ...outputs].map((candidate) => [candidate.name, candidate]));
  return [...all.values()];
}

function worksAtOtherSizes(model: Model, features: readonly FeatureCandidate[]): boolean {
  try {
    const cut = selectFeatureOutputs(
      model,
      features.map((feature) => feature.name),
    );
    return [128, 160].every((size) => {
      const infos = inferShapes(setInputSize(cut, { batch: 1, height: size, width: size }), { unknownOps: 'unknown' });
      return cut.graph.outputs.every((output, i) => infos.get(output.name)?.shape?.[1] === features[i]!.channels);
    });
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}
