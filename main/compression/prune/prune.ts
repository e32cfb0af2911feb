import { assert } from '../../contract/errors.ts';
import { cholesky, matrix, openProducts, solveCholesky, type Products } from '../../learning/dense.ts';
import {
  float32Of,
  float32Tensor,
  freshName,
  node as makeNode,
  replaceNode,
  setInitializer,
  usedBy,
  valueNames,
  withGraph,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import type { ImageSource } from '../image-source.ts';
import { allocate, remaining, totalMacs } from './allocate.ts';
import { GROUP_FLOOR, type PruningAnalysis } from './analyse.ts';
import type { RemovableBlock } from './block-errors.ts';
import { dropBlocks, renamedBy } from './blocks.ts';
import { cutChannels } from './cut.ts';
import { withRidge } from './importance.ts';
import {
  centred,
  collectSamples,
  columnMeans,
  minus,
  openCrossProduct,
  type CrossProduct,
  type Samples,
  type Tap,
} from './samples.ts';
import { inputTap, MOST_UNKNOWNS, positionsOf, transposed, type CalibrationOptions, type Site } from './sites.ts';

export interface Pruned {
  model: Model;
  /** Share of multiply-accumulates that went. */
  ratio: number;
  /** Group -> channels before and after. */
  widths: readonly { group: string; before: number; after: number }[];
  /** Residual blocks that went whole, by the output of their sum. */
  dropped: readonly string[];
  /** What was left alone, and why. */
  untouched: PruningAnalysis['untouched'];
}

/**
 * Ridge of the fits towards the present weights, relative to the mean diagonal: positions of one picture say nearly the same, and a first task has few
 * pictures. README.md has what 1e-4 cost.
 */
const FIT_RIDGE = 1e-2;

const takeColumns = (samples: Samples, keep: ArrayLike<number>): Samples => {
  const data = new Float32Array(samples.rows * keep.length);
  for (let r = 0, at = 0; r < samples.rows; r++) {
    for (let k = 0; k < keep.length; k++, at++) data[at] = samples.data[r * samples.columns + keep[k]!]!;
  }
  return { rows: samples.rows, columns: keep.length, data };
};

/**
 * Weights [outputs, columns] and bias that map `x` to `target` best in least squares, with a ridge towards the present
 * weights, so that directions in which the calibration images say nothing stay as trained.
 */
async function fitLinear(
  { cross, products }: { cross: CrossProduct; products: Products },
  x: Samples,
  target: Samples,
  present: Float32Array,
): Promise<{ weight: Float32Array; bias: Float32Array }> {
  const n = x.columns;
  const outputs = target.columns;
  const meanX = columnMeans(x);
  const meanT = columnMeans(target);
  const cx = centred(x, meanX);
  const covariance = await cross.of(cx, cx);
  const mixed = await cross.of(cx, centred(target, meanT));
  // Right-hand side: covariance with what the present weights leave unexplained.
  const explained = await products.multiply(matrix(n, n, covariance), matrix(outputs, n, Float64Array.from(present)), {
    transposeB: true,
  });
  for (let i = 0; i < mixed.length; i++) mixed[i]! -= explained.data[i]!;
  const factor = await cholesky(matrix(n, n, withRidge(covariance, n, FIT_RIDGE)), products);
  const { data: change } = await solveCholesky(factor, matrix(n, outputs, mixed), products);
  const weight = new Float32Array(outputs * n);
  const bias = new Float32Array(outputs);
  for (let o = 0; o < outputs; o++) {
    let constant = meanT[o]!;
    for (let i = 0; i < n; i++) {
      const value = present[o * n + i]! + change[i * outputs + o]!;
      weight[o * n + i] = value;
      constant -= value * meanX[i]!;
    }
    bias[o] = constant;
  }
  return { weight, bias };
}

/** @param weight [outputs, columns], as fitted */
const withWeights = (model: Model, site: Site, node: Node, weight: Float32Array, bias: Float32Array): Model => {
  const [, weightName, biasName] = node.inputs as [string, string, string | undefined];
  const dims = model.graph.initializers.get(weightName)!.dims;
  const stored = site.axis === 1 ? weight : transposed(weight, bias.length, weight.length / bias.length);
  let graph = setInitializer(model.graph, weightName, float32Tensor(dims, stored));
  const held = site.bias ?? (biasName || null);
  if (held !== null) return withGraph(model, setInitializer(graph, held, float32Tensor([bias.length], bias)));
  const output = node.outputs[0]!;
  const name = freshName(valueNames(graph), `${weightName}_bias`);
  graph = setInitializer(graph, name, float32Tensor([bias.length], bias));
  if (node.op !== 'MatMul') {
    return withGraph(model, replaceNode(graph, node, { ...node, inputs: [node.inputs[0]!, weightName, name] }));
  }
  const product = freshName(valueNames(graph), `${output}_product`);
  // Without a name: the product may be called as its output is, and no two nodes may be called alike.
  const add = makeNode('Add', [product, name], [output], {}, { name: '' });
  return withGraph(model, replaceNode(graph, node, [{ ...node, outputs: [product] }, add]));
};

/**
 * Cuts an analysed model and makes up for it without training: front to back, the
 * consumers of cut groups get their weights and bias are fitted by
 * least squares so that from the cut network's activations it gives what the uncut network gave. Behind a residual Add the sum
 * is what is fitted, so errors of earlier layers are repaired as well.
 * @param source null: of an analysis by weights alone, after which nothing is fitted
 * @param ratio share of multiply-accumulates to remove
 * @param options.blocks that may go whole, by `blockErrors`; default: none may
 */
export async function pruneModel(
  analysis: PruningAnalysis,
  source: ImageSource | null,
  ratio: number,
  options: CalibrationOptions & { blocks?: readonly RemovableBlock[] },
): Promise<Pruned> {
  const { blocks = [] } = options;
  const { keep, dropped } = allocate(analysis.curves, analysis.costs, { ratio, floor: GROUP_FLOOR, blocks });
  const gone = blocks.filter(({ block }) => dropped.includes(block));
  const renamed = renamedBy(dropped);
  let model = dropBlocks(cutChannels(analysis.model, analysis.groups, keep), dropped);
  // What several nodes use cannot be fitted for one of them.
  const users = new Map<string, number>();
  for (const name of analysis.model.graph.nodes.flatMap(usedBy)) users.set(name, (users.get(name) ?? 0) + 1);
  const own = ({ weight, bias, node }: Site): boolean =>
    [weight, bias ?? node.inputs[2] ?? ''].every((name) => name === '' || users.get(name) === 1);
  await using cross = await openCrossProduct(options.threads);
  await using products = openProducts(options);
  for (const [i, site] of analysis.sites.entries()) {
    // The others read a sum that the fits before them have repaired already: fitting them too was tried, and cost twice the time.
    if (gone.some(({ block }) => block.nodes.has(site.node.outputs[0]!)) || !own(site)) continue;
    const heir = heirOf(site);
    const untouched = heir === site && (site.skip === null || renamed(site.skip) === site.skip);
    if (untouched && !site.groups.some(({ group }) => keep.has(group.id))) continue;
    model = await refit(model, site, heir);
    options.onProgress?.((i + 1) / analysis.sites.length);
  }
  const width = new Map(
    [...keep].map(([id, kept]) => [id, kept.length / analysis.groups.find((g) => g.id === id)!.channels]),
  );
  return {
    model,
    ratio: 1 - totalMacs(remaining(analysis.costs, dropped), width) / totalMacs(analysis.costs, new Map()),
    widths: analysis.curves
      .filter(({ group }) => !gone.some(({ groups }) => groups.includes(group.id)))
      .map(({ group }) => ({
        group: group.id,
        before: group.channels,
        after: keep.get(group.id)?.length ?? group.channels,
      })),
    dropped: dropped.map(({ id }) => id),
    untouched: analysis.untouched,
  };

  /** Whose sum a site has to give: its own, or that of the last block that went behind it. */
  function heirOf(site: Site): Site {
    let last = site;
    for (
      let next = gone.find(({ before }) => before === last);
      next;
      next = gone.find(({ before }) => before === last)
    ) {
      last = next.own;
    }
    return last;
  }

  async function refit(of: Model, site: Site, heir: Site): Promise<Model> {
    assert(source !== null, 'sites are found on pictures');
    const { output } = site;
    const { target } = heir;
    const skip = site.skip === null ? null : renamed(site.skip);
    const last = of.graph.nodes.find(({ outputs }) => outputs[0] === output)!;
    const node =
      site.bias === null ? last : of.graph.nodes.find(({ outputs }) => outputs[0] === site.node.outputs[0]!)!;
    const tensor = of.graph.initializers.get(site.weight)!;
    const present = float32Of(tensor);
    const rows = tensor.dims[0]!;
    const columns = site.axis === 1 ? present.length / rows : rows;
    if (!['Conv', 'MatMul'].includes(node.op) || columns > MOST_UNKNOWNS) return of;
    const positions = positionsOf(options);
    const taps: Tap[] = [inputTap(site, node, positions, 'x')];
    if (skip !== null) taps.push({ id: 'skip', tensor: skip, kernel: null, last: node.op === 'MatMul', positions });
    const samples = await collectSamples(of, taps, source, options.images, options);
    let wanted = analysis.targets.get(heir.output)!;
    const kept = keptOf(target, wanted.columns);
    if (kept) wanted = takeColumns(wanted, kept);
    if (skip !== null) wanted = minus(wanted, samples.get('skip')!);
    const matrixOf = site.axis === 1 ? present : transposed(present, rows, present.length / rows);
    const fitted = await fitLinear({ cross, products }, samples.get('x')!, wanted, matrixOf);
    return withWeights(of, site, node, fitted.weight, fitted.bias);
  }

  /** Columns of a target that are left; null: all. */
  function keptOf(tensor: string, columns: number): Int32Array | null {
    const gone = new Set<number>();
    for (const group of analysis.groups) {
      const kept = keep.get(group.id);
      const channels = kept && group.columns.get(tensor);
      if (!channels) continue;
      const stays = new Set(kept);
      channels.forEach((channel, column) => {
        if (channel >= 0 && !stays.has(channel)) gone.add(column);
      });
    }
    return gone.size === 0 ? null : Int32Array.from({ length: columns }, (_, c) => c).filter((c) => !gone.has(c));
  }
}
