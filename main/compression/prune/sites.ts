import { indexGraph, float32Of, type Model, type Node } from '../../onnx/index.ts';
import type { CostModel } from '../cost/cost-model.ts';
import { biasBehind, shapesOf, type DependencyGroup } from './groups.ts';
import type { ImportanceOptions } from './measures.ts';
import { columnMeans, seededPositions, type Samples, type Tap } from './samples.ts';

/* Where a network is looked at and fitted: the layers that read channels which may go, and sampled positions of what goes in and out. */

/** A convolution or matrix product whose input loses channels, and what its output is compared by. */
export interface Site {
  node: Node;
  weight: string;
  /** Axis of the weight over the input's channels. */
  axis: number;
  /** Bias that is added by a node of its own; null: none, or the node's own input. */
  bias: string | null;
  /** Groups on its input side, and which of their channels each entry of the axis is. */
  groups: readonly { group: DependencyGroup; channels: Int32Array }[];
  /** With its bias. */
  output: string;
  /** What must stay as it was: the sum behind it where it feeds a residual Add alone, else its output. */
  target: string;
  /** The other summand of that Add; null: none. */
  skip: string | null;
}

export interface CalibrationOptions {
  /** Indices into the source. */
  images: readonly number[];
  size: number;
  threads: number;
  seed: number;
  /** Images of one run; 1 where the file fixes it. Default 8. */
  batch?: number | undefined;
  /** What a channel's worth is measured by; default: the error that reconstruction leaves. */
  importance?: ImportanceOptions | undefined;
  /** What layers cost here; without it, multiply-accumulates stand for time. */
  costs?: CostModel | null | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((share: number) => void) | undefined;
}

/** Sampled rows per site: a few times the widest layer, so that least squares has more equations than unknowns. */
const ROWS = 6000;
/** Sample columns that are held at once: 6000 rows of these are about 96 MB. */
export const COLUMNS_AT_ONCE = 4000;
/** Wider least-squares problems are left as they are: 3 x 3 kernels over wide inputs. */
export const MOST_UNKNOWNS = 1536;

/** So many positions of each picture that all pictures together give ROWS rows. */
export const positionsOf = (options: CalibrationOptions): Tap['positions'] =>
  seededPositions(Math.max(1, Math.ceil(ROWS / options.images.length)), options.seed);

/** Weights as [outputs, columns]: a column per channel, or per channel and position under the kernel. */
export const weightMatrix = (
  model: Model,
  { weight, axis }: Pick<Site, 'weight' | 'axis'>,
): { outputs: number; columns: number; data: Float32Array } => {
  const tensor = model.graph.initializers.get(weight)!;
  const data = float32Of(tensor);
  const rows = tensor.dims[0]!;
  const others = data.length / rows;
  if (axis === 1) return { outputs: rows, columns: others, data };
  return { outputs: others, columns: rows, data: transposed(data, rows, others) };
};

/** [rows, columns] -> [columns, rows]. */
export const transposed = (data: Float32Array, rows: number, columns: number): Float32Array => {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let o = 0; o < columns; o++) out[o * rows + i] = data[i * columns + o]!;
  return out;
};

/** How the input of a site is read: token by token, patch by patch under its kernel, or position by position. */
export const inputTap = (site: Site, node: Node, positions: Tap['positions'], id: string): Tap => ({
  id,
  tensor: node.inputs[0]!,
  kernel: node.op === 'Conv' ? node : null,
  last: node.op === 'MatMul',
  positions,
});

/** Nodes that read channels of the groups, in the order of the graph: where a cut is made up for by least squares. */
export const sitesOf = (model: Model, groups: readonly DependencyGroup[]): Site[] => {
  const index = indexGraph(model.graph);
  const shapes = shapesOf(model);
  const at = new Map(model.graph.nodes.map((node, i) => [node, i]));
  const sites = new Map<Node, Site>();
  for (const group of groups) {
    for (const { node, weight, axis, channels } of group.consumers) {
      const known = sites.get(node);
      if (known) {
        sites.set(node, { ...known, groups: [...known.groups, { group, channels }] });
        continue;
      }
      const biased = biasBehind(model.graph, node);
      const output = (biased?.node ?? node).outputs[0]!;
      const readers = index.consumers.get(output) ?? [];
      const add = readers.length === 1 && readers[0]!.op === 'Add' && !index.outputs.has(output) ? readers[0]! : null;
      const other = add?.inputs.find((name) => name !== output) ?? null;
      // One summand may be spread over the other (a global context, a map of one channel): the sum is then of other positions or channels than this output.
      const alike = other !== null && shapes.get(other)?.join() === shapes.get(output)?.join();
      const residual = add !== null && other !== null && alike && !model.graph.initializers.has(other);
      sites.set(node, {
        node,
        weight,
        axis,
        bias: biased?.bias ?? null,
        groups: [{ group, channels }],
        output,
        target: residual ? add.outputs[0]! : output,
        skip: residual ? other : null,
      });
    }
  }
  return [...sites.values()].sort((a, b) => at.get(a.node)! - at.get(b.node)!);
};

/** Sum of the variances of all columns. */
export const totalVariance = (samples: Samples): number => {
  const means = columnMeans(samples);
  let sum = 0;
  for (let r = 0, at = 0; r < samples.rows; r++) {
    for (let c = 0; c < samples.columns; c++, at++) sum += (samples.data[at]! - means[c]!) ** 2;
  }
  return sum / Math.max(1, samples.rows);
};
