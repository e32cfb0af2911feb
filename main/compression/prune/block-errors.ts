import { cholesky, matrix, openProducts, solveCholesky } from '../../learning/dense.ts';
import { indexGraph } from '../../onnx/index.ts';
import type { ImageSource } from '../image-source.ts';
import type { BlockCost } from './allocate.ts';
import type { PruningAnalysis } from './analyse.ts';
import { findBlocks, sourceOf, type ResidualBlock } from './blocks.ts';
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

interface Neighbour {
  block: ResidualBlock;
  /** Fitted to give what both gave. */
  before: Site;
  /** Makes the sum that is then missing. */
  own: Site;
}

/** A block that can go, and who makes up for it. */
export type RemovableBlock = BlockCost & Neighbour;

/**
 * What the sum of each residual block loses when the block, alone or with the neighbours before it, goes and the layer before them takes over what it can: the variance of what they
 * add together that least squares on that layer's input does not explain, relative to the variance of the sum.
 */
export async function blockErrors(
  { model, sites, groups }: Pick<PruningAnalysis, 'model' | 'sites' | 'groups'>,
  source: ImageSource,
  options: CalibrationOptions,
): Promise<RemovableBlock[]> {
  const index = indexGraph(model.graph);
  const bySum = new Map(sites.map((site) => [site.target, site]));
  const found = findBlocks(model).flatMap((block): Neighbour[] => {
    const own = bySum.get(block.id);
    const before = bySum.get(sourceOf(index, block.skip));
    return own?.skip === block.skip && before ? [{ block, own, before }] : [];
  });
  const chains = chainsOf(found);
  const positions = positionsOf(options);
  const out: RemovableBlock[] = [];
  await using cross = await openCrossProduct(options.threads);
  await using products = openProducts(options);

  /** For each `y`, its variance that no linear function of `x` gives. */
  const unexplained = async (x: Samples, ys: readonly Samples[]): Promise<number[]> => {
    if (x.columns > MOST_UNKNOWNS) return ys.map(totalVariance);
    const n = x.columns;
    const cx = centred(x, columnMeans(x));
    const factor = await cholesky(matrix(n, n, withRidge(await cross.of(cx, cx), n)), products);
    const left: number[] = [];
    for (const y of ys) {
      const mixed = matrix(n, y.columns, await cross.of(cx, centred(y, columnMeans(y))));
      const { data } = await solveCholesky(factor, mixed, products);
      left.push(Math.max(0, totalVariance(y) - data.reduce((sum, value, i) => sum + value * mixed.data[i]!, 0)));
    }
    return left;
  };

  for (let start = 0, end = 0; start < chains.length; start = end) {
    const taps: Tap[] = [];
    for (let columns = 0; end < chains.length && (end === start || columns < COLUMNS_AT_ONCE); end++) {
      for (const { block, own, before } of chains[end]!) {
        const last = own.node.op === 'MatMul';
        taps.push(
          inputTap(before, before.node, positions, `x ${block.id}`),
          { id: `sum ${block.id}`, tensor: block.id, kernel: null, last, positions },
          { id: `skip ${block.id}`, tensor: block.skip, kernel: null, last, positions },
        );
        columns += weightMatrix(model, before).columns;
      }
    }
    const samples = await collectSamples(model, taps, source, options.images, options);
    for (const chain of chains.slice(start, end)) {
      const sums = chain.map(({ block }) => samples.get(`sum ${block.id}`)!);
      const variances = sums.map((sum) => Math.max(totalVariance(sum), 1e-12));
      const errors = chain.map((): number[] => []);
      // From each first block that goes, what is lost at every later sum when all up to there go.
      for (const [first, { block }] of chain.entries()) {
        const skip = samples.get(`skip ${block.id}`)!;
        const added = sums.slice(first).map((sum) => minus(sum, skip));
        const left = await unexplained(samples.get(`x ${block.id}`)!, added);
        left.forEach((each, k) => errors[first + k]!.unshift(each / variances[first + k]!));
      }
      chain.forEach((each, i) => {
        const inside = groups.filter(({ tensors }) => tensors.every((name) => each.block.nodes.has(name)));
        const follows = chain[i - 1]?.block.id ?? null;
        out.push({ ...each, follows, errors: errors[i]!, groups: inside.map((group) => group.id) });
      });
    }
  }
  return out;
}

/** Blocks that follow one another: each begins with the sum of the one before it. */
function chainsOf(blocks: readonly Neighbour[]): Neighbour[][] {
  const chains: Neighbour[][] = [];
  for (const each of blocks) {
    const chain = chains.find((one) => one.at(-1)!.own === each.before);
    if (chain) chain.push(each);
    else chains.push([each]);
  }
  return chains;
}
