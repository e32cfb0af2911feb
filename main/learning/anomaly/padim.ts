import { readFile } from 'node:fs/promises';
import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import {
  addNodes,
  decodeModel,
  eliminateDead,
  encodeModel,
  float32Tensor,
  indexGraph,
  int64Tensor,
  node,
  opsetOf,
  renameValue,
  selectOutputs,
  setOutputs,
  value,
  verifyStructure,
  withGraph,
  type ConstTensor,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import { openSession } from '../../runtime/session.ts';
import { noveltyLimit, withinLimitOfOthers } from '../calibration.ts';
import { cholesky, invertLower, matrix, type Products } from '../dense.ts';
import { FOLDS, foldsOf } from '../folds.ts';
import { LEAST_OK_PARTS } from './cold-start.ts';

/*
 * Cold start from good parts alone: a Gaussian per position of a small stack of maps (PaDiM: Defard et al., ICPR 2021). The maps
 * are residual sums of the backbone, the last one of each width, the finest ones: narrow (so that the covariance of each
 * position is known from few parts), and fine enough to see small defects. Each map is taken less its own mean over
 * the part, so that a brighter or duller batch is not a defect. A part's score is the mean of its worst positions; the score of every
 * position is the heat map.
 */

/**
 * Maps that are stacked. This and SHRINKAGE were chosen once for all data on training images alone: good parts held out in groups of
 * look-alikes against the training defects. Folds that part look-alikes prefer too little shrinkage.
 */
const TAPS = 3;
/** Share of a channel's own variance that is added: few parts do not know their covariance. */
const SHRINKAGE = 0.05;
/** A part's score is the mean of so many of its positions, the worst ones: one alone is noisier. Chosen like TAPS. */
const WORST = 6;

export const anomalyOutputs = { logits: 'logits', novelty: 'novelty', map: 'anomaly_map' };

export interface AnomalyModel {
  inputSize: number;
  taps: string[];
  /** Per tap how many fine positions meet in one (average), and channels. */
  ratios: number[];
  channels: number;
  width: number;
  height: number;
  /** [positions, channels]. */
  mean: Float32Array;
  /** [positions, channels, channels]: d = (f - mean) whitening, score = |d|^2 / channels. */
  whitening: Float32Array;
  /** Above it a part is unlike the good ones: held-out quantile (calibration.ts FALSE_ALARMS). */
  limit: number;
}

export interface TapPlan {
  taps: string[];
  ratios: number[];
  channels: number;
  width: number;
  height: number;
}

/** Sums that may be maps, in graph order: what a matrix product goes into has tokens and channels behind, or tokens twice, and no height and width. */
function sumsOf({ graph }: Model): string[] {
  const { producer } = indexGraph(graph);
  const isProduct = (name: string): boolean => {
    const maker = producer.get(name);
    if (maker?.op === 'Mul' || maker?.op === 'Div') return maker.inputs.some(isProduct);
    return maker?.op === 'MatMul';
  };
  return graph.nodes
    .filter(({ op, inputs }) => op === 'Add' && !inputs.some(isProduct))
    .map(({ outputs }) => outputs[0]!);
}

/**
 * Which maps of a backbone are used, told by running it once.
 * @throws BACKBONE_UNSUITABLE when it has neither residual sums nor maps
 */
export async function planTaps(model: Model, backbone: Backbone, inputSize: number): Promise<TapPlan> {
  const maps = backbone.featureOutputs.flatMap(({ name, kind, map }) => (kind === 'map' ? [name] : map ? [map] : []));
  const unsuitable = () =>
    new AppError('BACKBONE_UNSUITABLE', { file: backbone.id, problem: 'it has no maps to compare positions on' });
  const shapesOf = async (names: readonly string[]) => {
    if (names.length === 0) return [];
    await using session = await openSession(encodeModel(selectOutputs(model, [...names])), {
      threads: 1,
      name: backbone.id,
    });
    const outputs = await session.run({
      [backbone.inputName]: {
        type: 'float32',
        dims: [1, 3, inputSize, inputSize],
        data: new Float32Array(3 * inputSize ** 2),
      },
    });
    return names.flatMap((name) => {
      const { dims } = outputs[name]!;
      // The input is square, so a map is: [1, height, width, channels] of networks with the channels last is not.
      return dims.length === 4 && dims[2]! > 1 && dims[2] === dims[3]
        ? [{ name, channels: dims[1]!, height: dims[2]!, width: dims[3]! }]
        : [];
    });
  };
  const byWidth = new Map<number, { name: string; channels: number; height: number; width: number }>();
  for (const each of await shapesOf(sumsOf(model))) byWidth.set(each.channels, each);
  let chosen = [...byWidth.values()].slice(0, TAPS);
  if (chosen.length === 0) chosen = (await shapesOf(maps)).slice(0, 1);
  const last = chosen.at(-1);
  if (!last) throw unsuitable();
  // Only maps whose positions fall together evenly.
  chosen = chosen.filter(({ height, width }) => height % last.height === 0 && width % last.width === 0);
  return {
    taps: chosen.map(({ name }) => name),
    ratios: chosen.map(({ height }) => height / last.height),
    channels: chosen.reduce((sum, { channels }) => sum + channels, 0),
    width: last.width,
    height: last.height,
  };
}

const FEATURES = 'mekiki/anomaly/features';

/** Nodes from the taps to the stack [positions, N, channels]. */
function stackNodes(plan: TapPlan): { nodes: Node[]; constants: Record<string, ConstTensor> } {
  const nodes: Node[] = [];
  const pooled = plan.taps.map((tap, i) => {
    const r = plan.ratios[i]!;
    const name = `mekiki/anomaly/tap${i}`;
    // Over its neighbours too: what lies on the edge of two positions belongs to both.
    const attributes = {
      kernel_shape: [3 * r, 3 * r],
      strides: [r, r],
      pads: [r, r, r, r],
      count_include_pad: 0,
    };
    nodes.push(node('AveragePool', [tap], [name], attributes));
    return name;
  });
  nodes.push(
    node('Concat', pooled, ['mekiki/anomaly/stack'], { axis: 1 }),
    node('GlobalAveragePool', ['mekiki/anomaly/stack'], ['mekiki/anomaly/ownMean']),
    node('Sub', ['mekiki/anomaly/stack', 'mekiki/anomaly/ownMean'], ['mekiki/anomaly/levelled']),
    node('Reshape', ['mekiki/anomaly/levelled', 'mekiki/anomaly/flat'], ['mekiki/anomaly/positions']),
    node('Transpose', ['mekiki/anomaly/positions'], [FEATURES], { perm: [2, 0, 1] }),
  );
  const shape = [0, plan.channels, plan.width * plan.height];
  return { nodes, constants: { 'mekiki/anomaly/flat': int64Tensor([3], shape) } };
}

/** The backbone up to the stack: output FEATURES [positions, N, channels]. */
export function stackModel(model: Model, plan: TapPlan): Uint8Array {
  const { nodes, constants } = stackNodes(plan);
  const grown = addNodes(selectOutputs(model, plan.taps).graph, nodes, constants);
  const positions = plan.width * plan.height;
  return encodeModel(
    withGraph(model, eliminateDead(setOutputs(grown, [value(FEATURES, 'float32', [positions, 'N', plan.channels])]))),
  );
}
export const stackOutput = FEATURES;

/** Mean and whitening per position of stacked rows. */
async function gaussians(
  rows: readonly Float32Array[],
  { channels: c, width, height }: TapPlan,
  products: Products,
  signal?: AbortSignal,
): Promise<{ mean: Float32Array; whitening: Float32Array }> {
  const positions = width * height;
  const mean = new Float32Array(positions * c);
  const whitening = new Float32Array(positions * c * c);
  // Regularised by each channel's variance over all positions: at one position a channel may never move.
  const spread = new Float64Array(c);
  const whole = new Float64Array(c);
  for (const row of rows)
    for (let i = 0; i < row.length; i += 1) {
      whole[i % c]! += row[i]!;
      spread[i % c]! += row[i]! ** 2;
    }
  const count = rows.length * positions;
  for (let j = 0; j < c; j += 1) spread[j] = Math.max(1e-9, spread[j]! / count - (whole[j]! / count) ** 2);
  for (let p = 0; p < positions; p += 1) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const centred = matrix(rows.length, c);
    for (let j = 0; j < c; j += 1) {
      let sum = 0;
      for (const row of rows) sum += row[p * c + j]!;
      mean[p * c + j] = sum / rows.length;
      rows.forEach((row, i) => (centred.data[i * c + j] = row[p * c + j]! - sum / rows.length));
    }
    const covariance = await products.multiply(centred, centred, { transposeA: true });
    for (let i = 0; i < covariance.data.length; i += 1) covariance.data[i]! /= Math.max(1, rows.length - 1);
    for (let j = 0; j < c; j += 1) covariance.data[j * c + j]! += SHRINKAGE * spread[j]!;
    const inverse = await invertLower(await cholesky(covariance, products), products);
    for (let i = 0; i < c; i += 1)
      for (let j = 0; j <= i; j += 1) whitening[(p * c + j) * c + i] = inverse.data[i * c + j]!;
  }
  return { mean, whitening };
}

/** Score per position of one stacked row. */
export function positionScores(
  row: Float32Array,
  { mean, whitening, channels: c }: Pick<AnomalyModel, 'mean' | 'whitening' | 'channels'>,
): Float64Array {
  const positions = row.length / c;
  const scores = new Float64Array(positions);
  const d = new Float64Array(c);
  for (let p = 0; p < positions; p += 1) {
    d.fill(0);
    for (let j = 0; j < c; j += 1) {
      const x = row[p * c + j]! - mean[p * c + j]!;
      const at = (p * c + j) * c;
      // Upper triangle: zeros below.
      for (let i = j; i < c; i += 1) d[i]! += x * whitening[at + i]!;
    }
    for (let i = 0; i < c; i += 1) scores[p]! += d[i]! ** 2 / c;
  }
  return scores;
}

/** Mean of the WORST highest positions. */
export function worstOf(scores: Float64Array): number {
  const worst = scores.toSorted().subarray(-WORST);
  return worst.reduce((sum, score) => sum + score, 0) / worst.length;
}

export interface Fitted {
  anomaly: AnomalyModel;
  /** Score of each part (of its worst tile) by Gaussians that did not see its fold, in no order that matters; empty: nothing could be held out. */
  heldOut: Float64Array;
  /** Of the held-out parts, those within the limit that the other folds give. */
  kept: number;
  /** Score of each part by the model itself. */
  own: Float64Array;
}

/**
 * @param rows stack of each good part, or of each tile of one, [positions, channels]
 * @param shas content hash of the picture of each: its fold; tiles of one picture are one part
 * @param options.looks perceptual hash of the picture of each: copies of one shot share a fold, else each would be held out against the others and the limit come out too low
 * @throws INVALID_INPUT with fewer than LEAST_OK_PARTS, FEATURES_NOT_FINITE, SINGULAR_STATISTICS, CANCELLED
 */
export async function fitAnomaly(
  rows: readonly Float32Array[],
  shas: readonly string[],
  plan: TapPlan,
  inputSize: number,
  {
    looks = [],
    products,
    signal,
    onProgress,
  }: {
    looks?: readonly (string | undefined)[];
    products: Products;
    signal?: AbortSignal;
    onProgress?: (share: number) => void;
  },
): Promise<Fitted> {
  const parts = new Set(shas).size;
  if (parts < LEAST_OK_PARTS) {
    throw new AppError('INVALID_INPUT', {
      what: 'good parts',
      problem: `${parts} are too few: ${LEAST_OK_PARTS} are needed`,
    });
  }
  rows.forEach((row, i) => {
    if (!row.every(Number.isFinite)) throw new AppError('FEATURES_NOT_FINITE', { file: shas[i]! });
  });
  const folds = foldsOf(
    shas.map((sha, i) => {
      const look = looks[i];
      return { sha, classId: 'ok', ...(look !== undefined && { look }) };
    }),
  );
  const heldOut = new Map<string, number>();
  const foldOf = new Map(shas.map((sha, i) => [sha, folds[i]!]));
  for (let fold = 0; fold < FOLDS; fold += 1) {
    const kept = rows.filter((_, i) => folds[i] !== fold);
    const held = rows.filter((_, i) => folds[i] === fold);
    const heldShas = shas.filter((_, i) => folds[i] === fold);
    onProgress?.(fold / (FOLDS + 1));
    if (held.length === 0 || kept.length < 2) continue;
    const part = { ...(await gaussians(kept, plan, products, signal)), channels: plan.channels };
    held.forEach((row, i) => {
      const score = worstOf(positionScores(row, part));
      heldOut.set(heldShas[i]!, Math.max(heldOut.get(heldShas[i]!) ?? -Infinity, score));
    });
  }
  onProgress?.(FOLDS / (FOLDS + 1));
  const scores = Float64Array.from(heldOut.values());
  const all = await gaussians(rows, plan, products, signal);
  const anomaly: AnomalyModel = { inputSize, ...plan, ...all, limit: noveltyLimit(scores) };
  const kept = withinLimitOfOthers(
    scores,
    Array.from(heldOut.keys(), (sha) => foldOf.get(sha)!),
  );
  const own = Float64Array.from(rows, (row) => worstOf(positionScores(row, anomaly)));
  return { anomaly, heldOut: scores, kept, own };
}

/**
 * One graph for the line, with the outputs that every inspector has: `logits` [N, 1] (the only class, ok) and `novelty` [N], above
 * `limit` for a part unlike the good ones, and `anomaly_map` [N, 1, height, width].
 */
export function assembleAnomaly(source: Model, backbone: Backbone, fitted: AnomalyModel): Uint8Array {
  const { taps, channels: c, width, height, mean, whitening } = fitted;
  const positions = width * height;
  const { nodes, constants } = stackNodes(fitted);
  const p = (name: string) => `mekiki/anomaly/${name}`;
  constants[p('mean')] = float32Tensor([positions, 1, c], mean);
  constants[p('whitening')] = float32Tensor([positions, c, c], whitening);
  constants[p('average')] = float32Tensor([c, 1], new Float32Array(c).fill(1 / c));
  constants[p('grid')] = int64Tensor([4], [0, 1, height, width]);
  constants[p('one')] = int64Tensor([1], [-1]);
  const worst = Math.min(WORST, positions);
  constants[p('count')] = int64Tensor([1], [worst]);
  constants[p('share')] = float32Tensor([worst, 1], new Float32Array(worst).fill(1 / worst));
  constants[p('zero')] = float32Tensor([1, 1], new Float32Array([0]));
  nodes.push(
    node('Sub', [FEATURES, p('mean')], [p('centred')]),
    node('MatMul', [p('centred'), p('whitening')], [p('white')]),
    node('Mul', [p('white'), p('white')], [p('squares')]),
    node('MatMul', [p('squares'), p('average')], [p('scores')]),
    node('Transpose', [p('scores')], [p('byPart')], { perm: [1, 2, 0] }),
    node('Reshape', [p('byPart'), p('grid')], [anomalyOutputs.map]),
    node('Flatten', [anomalyOutputs.map], [p('row')], { axis: 1 }),
    // The largest, sorted: that is the default. Up to opset 9 the count is an attribute.
    opsetOf(source) < 10
      ? node('TopK', [p('row')], [p('worst'), p('places')], { axis: 1, k: worst })
      : node('TopK', [p('row'), p('count')], [p('worst'), p('places')], { axis: 1 }),
    node('MatMul', [p('worst'), p('share')], [p('column')]),
    node('Reshape', [p('column'), p('one')], [anomalyOutputs.novelty]),
    node('Mul', [p('column'), p('zero')], [anomalyOutputs.logits]),
  );
  let graph = addNodes(selectOutputs(source, [...taps]).graph, nodes, constants);
  graph = setOutputs(graph, [
    value(anomalyOutputs.logits, 'float32', ['N', 1]),
    value(anomalyOutputs.novelty, 'float32', ['N']),
    value(anomalyOutputs.map, 'float32', ['N', 1, height, width]),
  ]);
  if (backbone.inputName !== 'image') graph = renameValue(graph, backbone.inputName, 'image');
  const done = withGraph(source, eliminateDead(graph));
  verifyStructure(done);
  return encodeModel(done);
}

/** @throws MODEL_UNREADABLE */
export const readBackbone = async (backbone: Backbone): Promise<Model> =>
  decodeModel(new Uint8Array(await readFile(backbone.file)), backbone.id);
