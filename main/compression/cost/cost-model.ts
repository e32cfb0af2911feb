import {
  elementCount,
  encodeModel,
  indexGraph,
  intAttribute,
  modelCost,
  runtimeInputs,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import { profileKernels, type KernelTime } from '../../runtime/session.ts';
import type { Precision } from '../plan/variant.ts';
import type { LayerTable } from './layer-table.ts';

/*
 * What a layer costs on this PC, told from a profile of the uncompressed backbone: a multiply-accumulate of a depthwise convolution takes many times that of a
 * wide one, and one in integers half of one in floats. Per kind of layer and precision a line through the measured layers
 * (ms = a + b MACs + c bytes moved, none of them negative, in relative error), so that widths that were never measured can be told.
 */

type NodeFacts = Pick<ReturnType<typeof modelCost>['perNode'][number], 'macs' | 'inputShapes' | 'outputShape'>;

/** A layer whose cost is told. */
export interface Layer {
  kind: 'depthwise' | 'pointwise' | 'convolution' | 'product';
  precision: Precision;
  macs: number;
  /** Moved: input, weights and output. */
  bytes: { input: number; weight: number; output: number };
}

/** The layer when only these shares of its channels are left. */
export const narrowed = (layer: Layer, input: number, output: number): Layer => ({
  ...layer,
  macs: layer.macs * input * output,
  bytes: {
    input: layer.bytes.input * input,
    weight: layer.bytes.weight * input * output,
    output: layer.bytes.output * output,
  },
});

/** A layer whose channels come in as they go out (depthwise), when this share of them is left: all of it grows with the one width. */
export const narrowedAlike = (layer: Layer, share: number): Layer => ({
  ...layer,
  macs: layer.macs * share,
  bytes: { input: layer.bytes.input * share, weight: layer.bytes.weight * share, output: layer.bytes.output * share },
});

const moved = ({ bytes }: Layer): number => bytes.input + bytes.weight + bytes.output;

export interface LayerTime extends Layer {
  ms: number;
}

export interface CostModel {
  /** Milliseconds of one layer; null: no layer of its precision was measured. */
  layer(layer: Layer): number | null;
  /** Milliseconds of a whole network, what lies between its layers included; null: it has layers of another precision. */
  network(model: Model, size: number): number | null;
  layers: number;
}

const RUNS = 15;

/** Channels in and out, and rows of the output: enough to know a kernel of the profile by. */
interface Signature {
  key: string;
}

/** Blocked layouts fill channels up to whole vectors. */
const filled = (channels = 0): number => 16 * Math.ceil(channels / 16);

const signatureOf = (input: readonly number[], output: readonly number[], last: boolean): string =>
  input.length === 4 && output.length === 4
    ? `conv ${filled(input[last ? 3 : 1])} ${filled(output[last ? 3 : 1])} ${output[last ? 1 : 2]}`
    : `product ${input.at(-1)} ${output.at(-1)}`;

/**
 * Times of the layers of a network from the kernels that ORT ran for it. Its kernels come in the order of the layers, some with channels last and
 * without their weights (they are packed beforehand), so a layer is known by its channels and its rows; the rest is what lies between.
 */
export function layerTimes(
  layers: readonly (Layer & Signature)[],
  kernels: readonly KernelTime[],
): { layers: LayerTime[]; restMs: number } {
  const open = [...layers];
  const times: LayerTime[] = [];
  let restMs = 0;
  for (const { op, inputs, outputs, ms } of kernels) {
    const [input, output] = [inputs[0]?.dims ?? [], outputs[0]?.dims ?? []];
    const keys = /Conv|Gemm|MatMul/.test(op) ? [false, true].map((last) => signatureOf(input, output, last)) : [];
    const at = open.findIndex(({ key }) => keys.includes(key));
    if (at < 0 || !(ms > 0)) restMs += ms;
    else {
      const [{ kind, precision, macs, bytes }] = open.splice(at, 1) as [Layer & Signature];
      times.push({ kind, precision, macs, bytes, ms });
    }
  }
  return { layers: times, restMs };
}

/** Least squares of [n, 3] in relative error with coefficients of at least 0: the best of all sets of columns. */
export function fitLine(rows: readonly LayerTime[]): [number, number, number] {
  let best: { error: number; line: [number, number, number] } = { error: Infinity, line: [0, 0, 0] };
  for (let set = 1; set < 8; set++) {
    const columns = [0, 1, 2].filter((c) => (set >> c) & 1);
    const of = (row: LayerTime): number[] => columns.map((c) => [1, row.macs, moved(row)][c]! / row.ms);
    // Normal equations, at most three by three, scaled so that they are well conditioned.
    const scale = columns.map((_, i) => Math.sqrt(rows.reduce((sum, row) => sum + of(row)[i]! ** 2, 0)) || 1);
    const a = columns.map((_, i) =>
      columns.map((__, j) => rows.reduce((sum, row) => sum + (of(row)[i]! * of(row)[j]!) / (scale[i]! * scale[j]!), 0)),
    );
    const b = columns.map((_, i) => rows.reduce((sum, row) => sum + of(row)[i]! / scale[i]!, 0));
    const x = solveSmall(a, b);
    if (!x || x.some((value) => value < 0)) continue;
    const line: [number, number, number] = [0, 0, 0];
    columns.forEach((c, i) => (line[c] = x[i]! / scale[i]!));
    const error = rows.reduce(
      (sum, row) => sum + ((line[0] + line[1] * row.macs + line[2] * moved(row)) / row.ms - 1) ** 2,
      0,
    );
    if (error < best.error - 1e-12) best = { error, line };
  }
  return best.line;
}

function solveSmall(a: number[][], b: number[]): number[] | null {
  const n = b.length;
  const rows = a.map((row, i) => [...row, b[i]!]);
  for (let k = 0; k < n; k++) {
    const pivot = rows.reduce((p, row, i) => (i >= k && Math.abs(row[k]!) > Math.abs(rows[p]![k]!) ? i : p), k);
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    if (Math.abs(rows[k]![k]!) < 1e-9) return null;
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j <= n; j++) rows[i]![j]! -= factor * rows[k]![j]!;
    }
  }
  return rows.map((row, i) => row[n]! / row[i]!);
}

/** One node as a layer; null: it is none of those that cost by their multiply-accumulates. */
export function layerOf(node: Node, { macs, inputShapes, outputShape }: NodeFacts, precision: Precision): Layer | null {
  if (!['Conv', 'Gemm', 'MatMul'].includes(node.op)) return null;
  const size = precision === 'int8' ? 1 : 4;
  const [input, weight, output] = [inputShapes[0], inputShapes[1], outputShape].map((shape) =>
    (shape ?? []).map(Number),
  );
  const kind =
    node.op !== 'Conv'
      ? 'product'
      : intAttribute(node, 'group', 1) > 1 && weight![1] === 1
        ? 'depthwise'
        : elementCount(weight!.slice(2)) === 1
          ? 'pointwise'
          : 'convolution';
  const bytes = {
    input: size * elementCount(input!),
    weight: size * elementCount(weight!),
    output: size * elementCount(output!),
  };
  return { kind, precision, macs, bytes };
}

/** Layers of a graph before ORT fuses what lies around them. */
export function layersOf(model: Model, size: number): (Layer & Signature)[] {
  const index = indexGraph(model.graph);
  const { perNode } = modelCost(model, [1, 3, size, size], { unknownOps: 'unknown' });
  return perNode.flatMap((facts, i) => {
    const node = model.graph.nodes[i]!;
    const integer = index.producer.get(node.inputs[0]!)?.op === 'DequantizeLinear';
    const layer = layerOf(node, facts, integer ? 'int8' : 'fp32');
    const [input, output] = [facts.inputShapes[0], facts.outputShape].map((shape) => (shape ?? []).map(Number));
    return layer ? [{ ...layer, key: signatureOf(input!, output!, false) }] : [];
  });
}

/**
 * Profiles networks, each at a size.
 * @throws MODEL_UNREADABLE
 */
export async function measureLayers(
  networks: readonly { model: Model; size: number }[],
  { threads }: { threads: number },
): Promise<LayerTable> {
  const measured: LayerTime[] = [];
  const between = new Map<Precision, { ms: number; bytes: number }>();
  for (const { model, size } of networks) {
    const input = runtimeInputs(model.graph)[0]!.name;
    const data = Float32Array.from({ length: 3 * size * size }, (_, i) => Math.sin(i));
    const kernels = await profileKernels(
      encodeModel(model),
      { [input]: { type: 'float32', dims: [1, 3, size, size], data } },
      { threads, runs: RUNS },
    );
    const { layers: own, restMs } = layerTimes(layersOf(model, size), kernels);
    const precision = own.some((layer) => layer.precision === 'int8') ? 'int8' : 'fp32';
    const known = between.get(precision) ?? { ms: 0, bytes: 0 };
    const bytes = own.reduce((sum, layer) => sum + moved(layer), 0);
    between.set(precision, { ms: known.ms + restMs, bytes: known.bytes + bytes });
    measured.push(...own);
  }
  return {
    layers: measured,
    between: [...between].map(([precision, rest]) => ({ precision, ...rest })),
  };
}

/** Fits what layers cost. */
export function costModelOf({ layers: measured, between }: LayerTable): CostModel {
  const lines = new Map(
    [...Map.groupBy(measured, ({ kind, precision }) => `${kind} ${precision}`)].map(([key, rows]) => [
      key,
      fitLine(rows),
    ]),
  );
  const anyOf = (precision: Precision) => {
    const rows = measured.filter((row) => row.precision === precision);
    return rows.length > 0 ? fitLine(rows) : null;
  };
  const fallback = { fp32: anyOf('fp32'), int8: anyOf('int8') };
  const layer = (of: Layer): number | null => {
    const line = lines.get(`${of.kind} ${of.precision}`) ?? fallback[of.precision];
    return line ? line[0] + line[1] * of.macs + line[2] * moved(of) : null;
  };
  return {
    layer,
    layers: measured.length,
    network(model, size) {
      const layers = layersOf(model, size);
      const precision = layers.some((each) => each.precision === 'int8') ? 'int8' : 'fp32';
      let sum = 0;
      let bytes = 0;
      for (const each of layers) {
        const ms = layer(each);
        if (ms === null) return null;
        sum += ms;
        bytes += moved(each);
      }
      const rest = between.find((each) => each.precision === precision);
      return rest && rest.bytes > 0 ? sum + (rest.ms * bytes) / rest.bytes : null;
    },
  };
}
