import { AppError, assert } from '../../contract/errors.ts';
import { createOrtEngine } from '../../training/ort/engine.ts';
import { openProducts } from '../../learning/dense.ts';
import { foldConstants, intAttribute, modelCost, runtimeInputs, type Model } from '../../onnx/index.ts';
import { layerOf, narrowed, narrowedAlike, type CostModel } from '../cost/cost-model.ts';
import type { ImageSource } from '../image-source.ts';
import { leastOf, type NodeCost, type Sides } from './allocate.ts';
import { findGroups, type DependencyGroup } from './groups.ts';
import { compensatedOrder, energyOrder, type RemovalCurve } from './importance.ts';
import {
  combined,
  normalised,
  normScales,
  sensitivities,
  weightNorms,
  type Importance,
  type ImportanceOptions,
  type Scores,
} from './measures.ts';
import {
  centred,
  collectSamples,
  columnMeans,
  isPointwise,
  openCrossProduct,
  type Samples,
  type Tap,
} from './samples.ts';
import {
  COLUMNS_AT_ONCE,
  inputTap,
  positionsOf,
  sitesOf,
  totalVariance,
  weightMatrix,
  type CalibrationOptions,
  type Site,
} from './sites.ts';

const DEFAULT_IMPORTANCE: ImportanceOptions = { measures: ['reconstruction'] };

export interface PruningAnalysis {
  model: Model;
  groups: readonly DependencyGroup[];
  curves: readonly RemovalCurve[];
  costs: readonly NodeCost[];
  sites: readonly Site[];
  /** Target of each site (by its output) in the uncut model, at the sampled positions. */
  targets: ReadonlyMap<string, Samples>;
  /** What is left alone, and why. */
  untouched: readonly { group: string; why: string }[];
}

/**
 * @param of what is cut, in words, and its name where no group says why
 * @throws UNSUPPORTED_OP where nothing can be pruned
 */
export function requirePrunable({ model, curves, untouched }: PruningAnalysis, of: { op: string; name: string }): void {
  if (curves.length > 0) return;
  const [first] = untouched;
  throw new AppError('UNSUPPORTED_OP', {
    op: of.op,
    opset: model.opsets.get('') ?? 0,
    node: first?.group ?? of.name,
    problem: `no group of channels can be pruned${first ? `: ${first.why}` : ''}`,
  });
}

/** Narrower groups bring no time: kernels work on whole vectors. */
const LEAST_CHANNELS = 16;
/** Least share of a group's channels that allocation leaves. */
export const GROUP_FLOOR = 0.125;

/** Channels of a group that may go at most. */
const mostOf = (group: DependencyGroup): number => Math.max(0, group.channels - leastOf(group, GROUP_FLOOR));

/** What the cost of each node grows with. */
export const nodeCosts = (
  model: Model,
  groups: readonly DependencyGroup[],
  size: number,
  costs: CostModel | null = null,
): NodeCost[] => {
  const sidesOf = (tensor: string): Sides =>
    groups.flatMap(({ id, shares }) => (shares.has(tensor) ? [[id, shares.get(tensor)!] as const] : []));
  const [input] = runtimeInputs(model.graph);
  assert(input, 'a backbone has an input');
  const [batch] = input.shape ?? [];
  const { perNode } = modelCost(model, [typeof batch === 'number' ? batch : 1, 3, size, size], {
    unknownOps: 'unknown',
  });
  return perNode.map((facts, i) => {
    const { macs } = facts;
    const node = model.graph.nodes[i]!;
    // A product of two activations costs what its heads cost: stated as its output.
    const mixes =
      ['Gemm', 'ConvTranspose'].includes(node.op) ||
      (node.op === 'MatMul' && model.graph.initializers.has(node.inputs[1]!)) ||
      (node.op === 'Conv' && intAttribute(node, 'group', 1) === 1);
    const layers = (['int8', 'fp32'] as const).map((precision) => layerOf(node, facts, precision));
    // As integers where they were measured: that is what is tried first.
    const layer = layers.find((each) => each !== null && costs !== null && costs.layer(each) !== null);
    return {
      ...(layer && costs
        ? {
            ms: (input: number, output: number) =>
              costs.layer(mixes ? narrowed(layer, input, output) : narrowedAlike(layer, output))!,
          }
        : {}),
      node: node.outputs[0]!,
      macs,
      input: mixes ? sidesOf(node.inputs[0]!) : [],
      output: sidesOf(node.outputs[0]!),
    };
  });
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
      columns += weightMatrix(model, sites[end]!).columns;
      end++;
    }
    const portion = sites.slice(start, end);
    const taps = portion.flatMap((site): Tap[] => [
      inputTap(site, site.node, positions, `x:${site.output}`),
      { id: `t:${site.output}`, tensor: site.target, kernel: null, last: site.node.op === 'MatMul', positions },
    ]);
    const samples = await collectSamples(model, taps, source, options.images, options);
    for (const site of portion) {
      await visit(site, samples.get(`x:${site.output}`)!, samples.get(`t:${site.output}`)!);
    }
    options.onProgress?.(end / sites.length);
    start = end;
  }
}

/** What cannot be sampled, so not fitted: positions are those of a map or a sequence. */
function unfittable({ graph: { initializers } }: Model, { consumers }: DependencyGroup): string | null {
  const deep = consumers.find(
    ({ node, weight }) => node.op.startsWith('Conv') && initializers.get(weight)!.dims.length > 4,
  );
  return deep ? `${deep.node.op} "${deep.node.outputs[0]}": its kernel has three axes or more` : null;
}

/** Groups of a model, those of them that may lose channels, and why the others may not. @param fitted whether what reads them is fitted on pictures */
function prunableGroups(model: Model, { fitted }: { fitted: boolean }) {
  const groups = findGroups(model);
  const untouched: { group: string; why: string }[] = [];
  const prunable = groups.filter((group) => {
    const why =
      group.frozen ??
      (group.outputs.length > 0
        ? `it is the output ${group.outputs.join(', ')}`
        : group.consumers.length === 0
          ? 'nothing mixes its channels'
          : group.channels * group.unit < LEAST_CHANNELS || group.channels < 2
            ? `it has ${group.channels} channels only`
            : fitted
              ? unfittable(model, group)
              : null);
    if (why !== null) untouched.push({ group: group.id, why });
    return why === null;
  });
  return { groups, prunable, untouched };
}

/** What needs no picture to be told. */
export const WEIGHT_MEASURES = ['l1', 'l2'] as const satisfies readonly Importance[];

/**
 * What each channel is worth by its weights alone, for want of pictures. In a model whose BatchNorm is folded they hold its scale as well. There is nothing to fit what is
 * left by: no sites.
 * @param options.importance of WEIGHT_MEASURES
 */
export function analyseWeights(
  given: Model,
  options: { size: number; importance: Pick<ImportanceOptions, 'measures' | 'hedge'> },
): PruningAnalysis {
  const model = foldConstants(given);
  const { groups, prunable, untouched } = prunableGroups(model, { fitted: false });
  const { measures, hedge = 0 } = options.importance;
  const normsBy = { l1: 1, l2: 2 } as const;
  const parts = measures.map((measure) => {
    assert(measure === 'l1' || measure === 'l2', `${measure} needs pictures`);
    return weightNorms(model, prunable, normsBy[measure]);
  });
  const worth = combined(parts, hedge, weightNorms(model, prunable, 2));
  return {
    model,
    groups,
    curves: prunable.map((group) => ({ group, ...energyOrder(worth.get(group.id)!, mostOf(group)) })),
    costs: nodeCosts(model, groups, options.size),
    sites: [],
    targets: new Map(),
    untouched,
  };
}

/**
 * Measures on calibration images what each channel of each group is worth.
 * @param model a backbone whose outputs are its features (fold BatchNorm first)
 * @throws UNSUPPORTED_OP where a measure needs gradients that are not known, INVALID_INPUT for `head` without one, TOO_FEW_IMAGES, CANCELLED
 */
export async function analysePruning(
  given: Model,
  source: ImageSource,
  options: CalibrationOptions,
): Promise<PruningAnalysis> {
  // Weights that are turned or reshaped before use are weights all the same.
  const model = foldConstants(given);
  const { groups, prunable, untouched } = prunableGroups(model, { fitted: true });
  // Before anything is measured: a shape that it needs may not be known.
  const costs = nodeCosts(model, groups, options.size, options.costs);
  const { measures, hedge = 0, head } = options.importance ?? DEFAULT_IMPORTANCE;
  const reconstructs = measures.includes('reconstruction');
  /** Nothing else is asked for. */
  const byErrorAlone = reconstructs && measures.length === 1 && hedge === 0;
  const sites = sitesOf(model, prunable);
  const energies = new Map(prunable.map(({ id, channels }) => [id, new Float64Array(channels)]));
  const targets = new Map<string, Samples>();
  const scores = new Map<string, Float64Array>();
  const compensated = new Map<string, RemovalCurve>();
  await using cross = await openCrossProduct(options.threads);
  await using products = openProducts(options);
  await eachSite(model, source, sites, options, async (site, input, target) => {
    targets.set(site.output, target);
    const norm = Math.max(totalVariance(target), 1e-12);
    const means = columnMeans(input);
    const weights = weightMatrix(model, site);
    const [{ group, channels }, ...others] = site.groups as [Site['groups'][number], ...Site['groups'][number][]];
    const alone = others.length === 0 && group.consumers.length === 1 && channels.length === group.channels;
    if (reconstructs && alone && channels.every((channel, i) => channel === i) && isPointwise(model, site.node)) {
      const x = centred(input, means);
      const covariance = await cross.of(x, x);
      const { order, error } = await compensatedOrder(
        covariance,
        Float64Array.from(weights.data),
        group.channels,
        weights.outputs,
        mostOf(group),
        products,
      );
      compensated.set(group.id, { group, order, error: error.map((value) => value / norm) });
      if (byErrorAlone) return;
    }
    const taps = weights.columns / channels.length;
    // Energy and weight of each channel, added over its readers.
    for (let j = 0; j < weights.columns; j++) {
      let variance = 0;
      for (let r = 0, k = j; r < input.rows; r++, k += input.columns) variance += (input.data[k]! - means[j]!) ** 2;
      let weight = 0;
      for (let o = 0; o < weights.outputs; o++) weight += weights.data[o * weights.columns + j]! ** 2;
      for (const { group: one, channels: of } of site.groups) {
        const channel = of[Math.floor(j / taps)]!;
        if (channel < 0) continue;
        const sum = scores.get(one.id) ?? new Float64Array(one.channels);
        scores.set(one.id, sum);
        energies.get(one.id)![channel]! += variance / Math.max(1, input.rows);
        sum[channel]! += ((variance / Math.max(1, input.rows)) * weight) / norm;
      }
    }
  });
  const fitted = prunable.map((group): RemovalCurve => {
    const known = compensated.get(group.id);
    if (known) return known;
    return { group, ...energyOrder(scores.get(group.id) ?? new Float64Array(group.channels), mostOf(group)) };
  });
  const curves = byErrorAlone ? fitted : await measured();
  return {
    model,
    groups,
    curves,
    costs,
    sites,
    targets,
    untouched,
  };

  /** Curves by the sum of the measures that were asked for. */
  async function measured(): Promise<RemovalCurve[]> {
    const engine = createOrtEngine();
    const scoresBy: Record<Importance, () => Promise<Scores> | Scores> = {
      reconstruction: () => normalised(new Map(fitted.map((curve) => [curve.group.id, marginsOf(curve)])), false),
      'bn-scale': () => normScales(model, prunable, source, options),
      l1: () => weightNorms(model, prunable, 1),
      l2: () => weightNorms(model, prunable, 2),
      activation: () => normalised(energies, true),
      taylor: () => sensitivities(model, prunable, source, engine, options),
      head: () => sensitivities(model, prunable, source, engine, options, head),
    };
    if (measures.includes('head') && !head) {
      throw new AppError('INVALID_INPUT', {
        what: 'importance',
        problem: 'the importance "head" needs a classifier: labels of the pictures',
      });
    }
    const parts: Scores[] = [];
    for (const measure of measures) parts.push(await scoresBy[measure]());
    const worth = combined(parts, hedge, hedge > 0 ? weightNorms(model, prunable, 2) : parts[0]!);
    return prunable.map((group) => ({ group, ...energyOrder(worth.get(group.id)!, mostOf(group)) }));
  }
}

/** What each channel's own removal adds to the error; those that always stay are worth as much as the last to go. */
function marginsOf({ group, order, error }: RemovalCurve): Float64Array {
  const out = new Float64Array(group.channels).fill(order.length > 0 ? error.at(-1)! - error.at(-2)! : 0);
  order.forEach((channel, k) => (out[channel] = error[k + 1]! - error[k]!));
  return out;
}
