import { AppError } from '../../contract/errors.ts';
import { cholesky, invertLower, matrix, openProducts, type Products } from '../../learning/dense.ts';
import { elementCount, float32Of, intAttribute, type ConstTensor, type Model } from '../../onnx/index.ts';
import type { ImageSource } from '../image-source.ts';
import type { CalibrationOptions } from '../prune/sites.ts';
import {
  centred,
  collectSamples,
  columnMeans,
  openCrossProduct,
  seededPositions,
  type CrossProduct,
  type Samples,
} from '../prune/samples.ts';
import { weightScales, type Plan, type RoundedWeights } from './qdq.ts';

/*
 * Rounding with compensation (optimal brain quantisation in the order of GPTQ, Frantar et al. 2022, equations 2 and 3): a row's weights are
 * rounded one after the other, and those that are not rounded yet make up for the error, by the covariance of the inputs on calibration images. A
 * constant shift is left to the bias, so the covariance is taken about the mean.
 */

/** Sampled rows of a convolution over all its input channels: some times the widest one's unknowns. */
const ROWS = 4000;
/** Of a depthwise one, whose rows have as many unknowns as its kernel has places. */
const DEPTHWISE_ROWS = 1000;
/** Sample values that are held at once, 4 bytes each. */
const VALUES_AT_ONCE = 24_000_000;
/** Wider problems are rounded alone: their covariance would be told from too few rows. */
const MOST_UNKNOWNS = 2048;
/** Share of the mean diagonal that is added to the covariance (Frantar et al. 2022, section 3.3: 1 %). */
const DAMPING = 0.01;

/**
 * L^-1 of a damped covariance in the order in which `order` counts down: entry a is rounded with error e, entries b < a move by -e L^-1[a, b] / L^-1[a, a].
 * @param covariance [n, n]
 */
const movesOf = async (
  covariance: Float64Array,
  n: number,
  order: Int32Array,
  products: Products,
): Promise<Float64Array> => {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += covariance[i * n + i]!;
  const ridge = Math.max((DAMPING * trace) / n, 1e-12);
  const permuted = new Float64Array(n * n);
  for (let a = 0; a < n; a++) {
    for (let b = 0; b < n; b++) permuted[a * n + b] = covariance[order[a]! * n + order[b]!]!;
    permuted[a * n + a]! += ridge;
  }
  return (await invertLower(await cholesky(matrix(n, n, permuted), products), products)).data;
};

/** The entry that varies most comes last, which is rounded first. */
const orderOf = (covariance: Float64Array, n: number): Int32Array =>
  Int32Array.from({ length: n }, (_, i) => i).sort((a, b) => covariance[a * n + a]! - covariance[b * n + b]! || b - a);

/** Rounds rows [first, first + count) of the weight in place of `into`. */
const roundRows = (
  weight: Float32Array,
  scales: Float32Array,
  most: number,
  {
    n,
    first,
    count,
    order,
    moves,
  }: { n: number; first: number; count: number; order: Int32Array; moves: Float64Array },
  into: Int8Array,
): void => {
  const row = new Float64Array(n);
  for (let o = first; o < first + count; o++) {
    const scale = scales[o]!;
    for (let a = 0; a < n; a++) row[a] = weight[o * n + order[a]!]!;
    for (let a = n - 1; a >= 0; a--) {
      const value = Math.max(-most, Math.min(most, Math.round(row[a]! / scale)));
      into[o * n + order[a]!] = value;
      const error = (row[a]! - value * scale) / moves[a * n + a]!;
      for (let b = 0, at = a * n; b < a; b++, at++) row[b]! -= error * moves[at]!;
    }
  }
};

const finished = (weight: ConstTensor, values: Int8Array, scales: Float32Array): RoundedWeights => {
  const perRow = values.length / scales.length;
  return { values, scales, rounded: Float32Array.from(values, (value, i) => value * scales[Math.floor(i / perRow)]!) };
};

const wholeConvolution = async (
  weight: ConstTensor,
  samples: Samples,
  bits: 7 | 8,
  { cross, products }: { cross: CrossProduct; products: Products },
): Promise<RoundedWeights> => {
  const n = samples.columns;
  const around = centred(samples, columnMeans(samples));
  const covariance = await cross.of(around, around);
  const order = orderOf(covariance, n);
  const moves = await movesOf(covariance, n, order, products);
  const { scales, most } = weightScales(weight, bits);
  const data = float32Of(weight);
  const values = new Int8Array(data.length);
  roundRows(data, scales, most, { n, first: 0, count: weight.dims[0]!, order, moves }, values);
  return finished(weight, values, scales);
};

const depthwiseConvolution = async (
  weight: ConstTensor,
  samples: Samples,
  bits: 7 | 8,
  products: Products,
): Promise<RoundedWeights> => {
  const channels = weight.dims[0]!;
  const n = samples.columns / channels;
  const means = columnMeans(samples);
  const { scales, most } = weightScales(weight, bits);
  const data = float32Of(weight);
  const values = new Int8Array(data.length);
  const covariance = new Float64Array(n * n);
  const patch = new Float64Array(n);
  for (let c = 0; c < channels; c++) {
    covariance.fill(0);
    for (let r = 0; r < samples.rows; r++) {
      const at = r * samples.columns + c * n;
      for (let i = 0; i < n; i++) patch[i] = samples.data[at + i]! - means[c * n + i]!;
      for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) covariance[i * n + j]! += patch[i]! * patch[j]!;
    }
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) covariance[j * n + i] = covariance[i * n + j]!;
    const order = orderOf(covariance, n);
    const moves = await movesOf(covariance, n, order, products);
    roundRows(data, scales, most, { n, first: c, count: 1, order, moves }, values);
  }
  return finished(weight, values, scales);
};

/**
 * Rounded weights of convolutions, by the name of their output. Those that are missing (grouped, too wide) are to be rounded alone.
 * @throws CANCELLED
 */
export async function compensateRounding(
  of: Model,
  plans: readonly Plan[],
  source: ImageSource,
  options: CalibrationOptions & { weightBits: 7 | 8 },
): Promise<Map<string, RoundedWeights>> {
  await using cross = await openCrossProduct(options.threads);
  await using products = openProducts(options);
  const wanted = plans.flatMap(({ conv }) => {
    const weight = of.graph.initializers.get(conv.inputs[1]!)!;
    const perRow = elementCount(weight.dims.slice(1));
    const groups = intAttribute(conv, 'group', 1);
    const depthwise = groups > 1 && groups === weight.dims[0] && weight.dims[1] === 1;
    if (perRow < 2 || (groups > 1 && !depthwise) || perRow > MOST_UNKNOWNS) return [];
    const rows = depthwise ? DEPTHWISE_ROWS : ROWS;
    return [{ conv, weight, depthwise, rows, values: rows * perRow * (depthwise ? groups : 1) }];
  });
  const out = new Map<string, RoundedWeights>();
  for (let start = 0; start < wanted.length;) {
    let end = start + 1;
    let held = wanted[start]!.values;
    while (end < wanted.length && held + wanted[end]!.values <= VALUES_AT_ONCE) held += wanted[end++]!.values;
    const some = wanted.slice(start, end);
    const samples = await collectSamples(
      of,
      some.map(({ conv, rows }) => ({
        id: conv.outputs[0]!,
        tensor: conv.inputs[0]!,
        kernel: conv,
        positions: seededPositions(Math.max(1, Math.ceil(rows / options.images.length)), options.seed),
      })),
      source,
      options.images,
      options,
    );
    for (const { conv, weight, depthwise } of some) {
      if (options.signal?.aborted) throw new AppError('CANCELLED');
      const x = samples.get(conv.outputs[0]!)!;
      out.set(
        conv.outputs[0]!,
        depthwise
          ? await depthwiseConvolution(weight, x, options.weightBits, products)
          : await wholeConvolution(weight, x, options.weightBits, { cross, products }),
      );
    }
    start = end;
  }
  return out;
}
