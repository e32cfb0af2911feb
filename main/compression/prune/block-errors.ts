import { cholesky, matrix, openProducts, solveCholesky } from '../../learning/dense.ts';
import { indexGraph } from '../../onnx/index.ts';
import type { ImageSource } from '../image-source.ts';
import type { BlockCost } from './allocate.ts';
import type { PruningAnalysis } from './analyse.ts';
import { findBlocks, sourceOf } from './blocks.ts';
import { withRidge } from './importance.ts';
import { centred, collectSamples, columnMeans, minus, openCrossProduct, type Samples, type Tap } from './samples.ts';
import {
  COLUMNS_AT_ONCE,
  inputTap,
  MOST_UNKNOWNS,
  positionsOf,
  totalVariance,
  weightMatrix,
  type CalibrationOptions,
  type Site,
} from './sites.ts';

/** A block that can go, and who makes up for it. */
export interface RemovableBlock extends BlockCost {
  /** Fitted to give what both gave. */
  before: Site;
  /** Makes the sum that is then missing. */
  own: Site;
}

/**
 * What the sum of each residual block loses when the block goes and the layer before it takes over what it can: the variance of what the block adds that least squares
 * on that layer's input does not explain, relative to the variance of the sum.
 */
export async function blockErrors(
  { model, sites, groups }: Pick<PruningAnalysis, 'model' | 'sites' | 'groups'>,
  source: ImageSource,
  options: CalibrationOptions,
): Promise<RemovableBlock[]> {
  const index = indexGraph(model.graph);
  const bySum = new Map(sites.map((site) => [site.target, site]));
  const blocks = findBlocks(model).flatMap((block) => {
    const own = bySum.get(block.id);
    const before = bySum.get(sourceOf(index, block.skip));
    return own?.skip === block.skip && before ? [{ block, own, before }] : [];
  });
  const positions = positionsOf(options);
  const out: RemovableBlock[] = [];
  await using cross = await openCrossProduct(options.threads);
  await using products = openProducts(options);

  /** Variance of `y` that no linear function of `x` gives. */
  const unexplained = async (x: Samples, y: Samples): Promise<number> => {
    const total = totalVariance(y);
    if (x.columns > MOST_UNKNOWNS) return total;
    const n = x.columns;
    const cx = centred(x, columnMeans(x));
    const covariance = await cross.of(cx, cx);
    const mixed = matrix(n, y.columns, await cross.of(cx, centred(y, columnMeans(y))));
    const factor = await cholesky(matrix(n, n, withRidge(covariance, n)), products);
    const { data } = await solveCholesky(factor, mixed, products);
    return Math.max(0, total - data.reduce((sum, value, i) => sum + value * mixed.data[i]!, 0));
  };

  for (let start = 0, end = 0; start < blocks.length; start = end) {
    const taps: Tap[] = [];
    for (let columns = 0; end < blocks.length && (end === start || columns < COLUMNS_AT_ONCE); end++) {
      const { block, own, before } = blocks[end]!;
      const last = own.node.op === 'MatMul';
      const x = inputTap(before, before.node, positions, `x ${block.id}`);
      taps.push(
        x,
        { id: `sum ${block.id}`, tensor: block.id, kernel: null, last, positions },
        { id: `skip ${block.id}`, tensor: block.skip, kernel: null, last, positions },
      );
      columns += weightMatrix(model, before).columns;
    }
    const samples = await collectSamples(model, taps, source, options.images, options);
    for (const each of blocks.slice(start, end)) {
      const { id, nodes } = each.block;
      const sum = samples.get(`sum ${id}`)!;
      const added = minus(sum, samples.get(`skip ${id}`)!);
      const error = (await unexplained(samples.get(`x ${id}`)!, added)) / Math.max(totalVariance(sum), 1e-12);
      const inside = groups.filter(({ tensors }) => tensors.every((name) => nodes.has(name)));
      out.push({ ...each, error, groups: inside.map((group) => group.id) });
    }
  }
  return out;
}
