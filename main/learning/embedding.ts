import { assert } from '../contract/errors.ts';
import { matrix, type Matrix } from './dense.ts';

/*
 * z = phi(h): the pooled features of each stage by signed square root, scaled to length 1/sqrt(stages) (so that z has length
 * 1 whatever the number of stages), and a constant 1 for the bias. The square root (power normalisation, Perronnin et al.,
 * ECCV 2010) damps the few strong channels that all parts share; it was chosen once by cross-validation on training folds for
 * all data, together with the absence of a random projection.
 *
 * z is rounded to multiples of 2^-18. Then every product z_i z_j is a multiple of 2^-36, and sums of up to 2^17 = 131,072 of them (|z_i| <= 1)
 * fit the 53 bits of a float64 without rounding: S_c and s_c are exact, so adding and taking away in any order gives the same bits, and a
 * removed image leaves nothing behind. The rounding moves z by 2e-6 at most, far less than a grey level of the picture does.
 *
 * One default for all: nothing here depends on data, so z of a part never changes and statistics add up.
 */

/** Channels of each pooled stage, in order. */
export type Stages = readonly number[];

/** Length d of z, with the constant. */
export const embeddingSize = (stages: Stages): number => stages.reduce((sum, channels) => sum + channels, 1);

/** Reciprocal of the step of z. */
export const GRID = 2 ** 18;

/** Below this a stage counts as silent and stays zero. */
const SILENT = 1e-12;

/** Writes z of one raw feature row into `out` at `at`. */
function embedInto(
  features: Float32Array | Float64Array,
  from: number,
  stages: Stages,
  out: Float64Array,
  at: number,
): void {
  let column = 0;
  for (const channels of stages) {
    let total = 0;
    for (let j = 0; j < channels; j += 1) {
      const h = features[from + column + j]!;
      const root = h < 0 ? -Math.sqrt(-h) : Math.sqrt(h);
      out[at + column + j] = root;
      total += Math.abs(h);
    }
    const scale = total > SILENT ? 1 / Math.sqrt(total * stages.length) : 0;
    for (let j = 0; j < channels; j += 1)
      out[at + column + j] = Math.round(out[at + column + j]! * scale * GRID) / GRID;
    column += channels;
  }
  out[at + column] = 1;
}

/**
 * z of some rows of a raw feature table.
 * @param features row-major [n, sum of stages]
 * @param rows default: all
 */
export function embed(features: Float32Array, stages: Stages, rows?: readonly number[]): Matrix {
  const size = embeddingSize(stages);
  const width = size - 1;
  assert(features.length % width === 0, 'a feature table has whole rows');
  const count = rows ? rows.length : features.length / width;
  const z = matrix(count, size);
  for (let i = 0; i < count; i += 1) embedInto(features, (rows ? rows[i]! : i) * width, stages, z.data, i * size);
  return z;
}
