import { assert } from '../../contract/errors.ts';
import { openProducts } from '../../learning/dense.ts';
import { float32Of, indexGraph, intAttribute, modelCost, runtimeInputs, type Model } from '../../onnx/index.ts';
import { layerOf, narrowed, type CostModel } from '../cost/cost-model.ts';
import type { ImageSource } from '../image-source.ts';
import type { NodeCost } from './allocate.ts';
import { findGroups, type Consumer, type DependencyGroup } from './groups.ts';
import { compensatedOrder, energyOrder, type RemovalCurve } from './importance.ts';
import {
  centred,
  collectSamples,
  columnMeans,
  isPointwise,
  openCrossProduct,
  seededPositions,
  type Samples,
  type Tap,
} from './samples.ts';

/** A convolution whose input loses channels, and what its output is compared by. */
export interface Site {
  consumer: Consumer;
  /** Group on its input side. */
  group: DependencyGroup;
  output: string;
  /** What must stay as it was: the sum behind the convolution where it feeds a residual Add alone, else its output. */
  target: string;
  /** The other summand of that Add; null: none. */
  skip: string | null;
}

export interface PruningAnalysis {
  model: Model;
  groups: readonly DependencyGroup[];
  curves: readonly RemovalCurve[];
  costs: readonly NodeCost[];
  sites: readonly Site[];
  /** Target of each site (by weight name) in the uncut model, at the sampled positions. */
  targets: ReadonlyMap<string, Samples>;
  /** What is left alone, and why. */
  untouched: readonly { group: string; why: string }[];
}

export interface CalibrationOptions {
  /** Indices into the source. */
  images: readonly number[];
  size: number;
  threads: number;
  seed: number;
  /** Images of one run; 1 where the file fixes it. Default 8. */
  batch?: number | undefined;
  /** What layers cost here; without it, multiply-accumulates stand for time. */
  costs?: CostModel | null | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((share: number) => void) | undefined;
}

/** Sampled rows per site: a few times the widest layer, so that least squares has more equations than unknowns. */
const ROWS = 6000;
/** Sample columns that are held at once: 6000 rows of these are about 96 MB. */
const COLUMNS_AT_ONCE = 4000;
/** Narrower groups bring no time: kernels work on whole vectors. */
const LEAST_CHANNELS = 16;
/** Least share of a group's channels that allocation leaves. */
export const GROUP_FLOOR = 0.125;

export const positionsOf = (options: CalibrationOptions): Tap['positions'] =>
  seededPositions(Math.max(1, Math.ceil(ROWS / options.images.length)), options.seed);

const weightMatrix = (
  model: Model,
  { weight, axis }: Consumer,
): { outputs: number; columns: number; data: Float32Array } => {
  const tensor = model.graph.initializers.get(weight)!;
  const data = float32Of(tensor);
  const [rows, columns] = tensor.dims as [number, number];
  if (axis === 1) return { outputs: rows, columns: data.length / rows, data };
  // A Gemm without transB: [in, out].
  const turned = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let o = 0; o < columns; o++) turned[o * rows + i] = data[i * columns + o]!;
  return { outputs: columns, columns: rows, data: turned };
};

const sitesOf = (model: Model, groups: readonly DependencyGroup[]): Site[] => {
  const index = indexGraph(model.graph);
  const at = new Map(model.graph.nodes.map((node, i) => [node, i]));
  const sites: Site[] = [];
  for (const group of groups) {
    for (const consumer of group.consumers) {
      const output = consumer.node.outputs[0]!;
      const readers = index.consumers.get(output) ?? [];
      const add = readers.length === 1 && readers[0]!.op === 'Add' && !index.outputs.has(output) ? readers[0]! : null;
      const other = add?.inputs.find((name) => name !== output) ?? null;
      const residual = add !== null && other !== null && !model.graph.initializers.has(other);
      sites.push({
        consumer,
        group,
        output,
        target: residual ? add.outputs[0]! : output,
        skip: residual ? other : null,
      });
    }
  }
  return sites.sort((a, b) => at.get(a.consumer.node)! - at.get(b.consumer.node)!);
};

/** What the cost of each node grows with. */
export const nodeCosts = (
  model: Model,
  groups: readonly DependencyGroup[],
  size: number,
  costs: CostModel | null = null,
): NodeCost[] => {
  const groupOf = new Map(
    groups.flatMap((group) => group.tensors.map((tensor): [string, string] => [tensor, group.id])),
  );
  const [input] = runtimeInputs(model.graph);
  assert(input, 'a backbone has an input');
  const { perNode } = modelCost(model, [1, 3, size, size]);
  return perNode.map((facts, i) => {
    const { macs } = facts;
    const node = model.graph.nodes[i]!;
    const mixes = node.op === 'Gemm' || (node.op === 'Conv' && intAttribute(node, 'group', 1) === 1);
    const layers = (['int8', 'fp32'] as const).map((precision) => layerOf(node, facts, precision));
    // As integers where they were measured: that is what is tried first.
    const layer = layers.find((each) => each !== null && costs !== null && costs.layer(each) !== null);
    return {
      ...(layer && costs
        ? {
            ms: (input: number, output: number) =>
              costs.layer(narrowed(layer, mixes ? input : output, mixes ? output : 1))!,
          }
        : {}),
      macs,
      input: mixes ? (groupOf.get(node.inputs[0]!) ?? null) : null,
      output: groupOf.get(node.outputs[0]!) ?? null,
    };
  });
};

/** Sum of the variances of all columns. */
const totalVariance = (samples: Samples): number => {
  const means = columnMeans(samples);
  let sum = 0;
  for (let r = 0, at = 0; r < samples.rows; r++) {
    for (let c = 0; c < samples.columns; c++, at++) sum += (samples.data[at]! - means[c]!) ** 2;
  }
  return sum / Math.max(1, samples.rows);
};

/** Runs the sites' taps in portions that fit in memory; every site is handed over once. */
async function eachSite(
  model: Model,
  source: ImageSource,
  sites: readonly Site[],
  options: CalibrationOptions,
  visit: (site: Site, input: Samples, target: Samples) => Promise<void>,
): Promise<void> {
  const positions = positionsOf(options);
  for (let start = 0; start < sites.length;) {
    let end = start;
    let columns = 0;
    while (end < sites.length && (end === start || columns < COLUMNS_AT_ONCE)) {
      columns += weightMatrix(model, sites[end]!.consumer).columns;
      end++;
    }
    const portion = sites.slice(start, end);
    const taps = portion.flatMap(({ consumer, target }): Tap[] => [
      { id: `x:${consumer.weight}`, tensor: consumer.node.inputs[0]!, kernel: consumer.node, positions },
      { id: `t:${consumer.weight}`, tensor: target, kernel: null, positions },
    ]);
    const samples = await collectSamples(model, taps, source, options.images, options);
    for (const site of portion) {
      await visit(site, samples.get(`x:${site.consumer.weight}`)!, samples.get(`t:${site.consumer.weight}`)!);
    }
    options.onProgress?.(end / sites.length);
    start = end;
  }
}

/**
 * Measures on calibration images what each channel of each group is worth.
 * @param model a backbone whose outputs are its features (fold BatchNorm first)
 */
export async function analysePruning(
  model: Model,
  source: ImageSource,
  options: CalibrationOptions,
): Promise<PruningAnalysis> {
  const groups = findGroups(model.graph);
  const untouched: { group: string; why: string }[] = [];
  const prunable = groups.filter((group) => {
    const why =
      group.frozen ??
      (group.outputs.length > 0
        ? `it is the output ${group.outputs.join(', ')}`
        : group.consumers.length === 0
          ? 'nothing mixes its channels'
          : group.channels < LEAST_CHANNELS
            ? `it has ${group.channels} channels only`
            : null);
    if (why !== null) untouched.push({ group: group.id, why });
    return why === null;
  });
  const sites = sitesOf(model, prunable);
  const targets = new Map<string, Samples>();
  const scores = new Map<string, Float64Array>();
  const compensated = new Map<string, RemovalCurve>();
  await using cross = await openCrossProduct(options.threads);
  await using products = openProducts(options);
  await eachSite(model, source, sites, options, async (site, input, target) => {
    const { group, consumer } = site;
    targets.set(consumer.weight, target);
    const norm = Math.max(totalVariance(target), 1e-12);
    const means = columnMeans(input);
    const weights = weightMatrix(model, consumer);
    const most = Math.max(0, group.channels - Math.max(8, Math.ceil(group.channels * GROUP_FLOOR)));
    if (group.consumers.length === 1 && isPointwise(consumer.node)) {
      const x = centred(input, means);
      const covariance = await cross.of(x, x);
      const { order, error } = await compensatedOrder(
        covariance,
        Float64Array.from(weights.data),
        group.channels,
        weights.outputs,
        most,
        products,
      );
      compensated.set(group.id, { group, order, error: error.map((value) => value / norm) });
      return;
    }
    const sum = scores.get(group.id) ?? new Float64Array(group.channels);
    const taps = weights.columns / group.channels;
    for (let j = 0; j < weights.columns; j++) {
      let variance = 0;
      for (let r = 0, k = j; r < input.rows; r++, k += input.columns) variance += (input.data[k]! - means[j]!) ** 2;
      let weight = 0;
      for (let o = 0; o < weights.outputs; o++) weight += weights.data[o * weights.columns + j]! ** 2;
      sum[Math.floor(j / taps)]! += ((variance / Math.max(1, input.rows)) * weight) / norm;
    }
    scores.set(group.id, sum);
  });
  const curves = prunable.map((group): RemovalCurve => {
    const known = compensated.get(group.id);
    if (known) return known;
    const most = Math.max(0, group.channels - Math.max(8, Math.ceil(group.channels * GROUP_FLOOR)));
    return { group, ...energyOrder(scores.get(group.id) ?? new Float64Array(group.channels), most) };
  });
  return {
    model,
    groups,
    curves,
    costs: nodeCosts(model, groups, options.size, options.costs),
    sites,
    targets,
    untouched,
  };
}
