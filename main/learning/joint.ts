import type { Stages } from './embedding.ts';

/*
 * The reference: all classes fitted at once, written independently of the learner. It shares nothing with it but the backbone:
 * its own features (extracted again, in one shuffled pass), its own normalisation, no class statistics, no normal equations
 * and no blocked algebra; the augmented design matrix [sqrt(w) Z; sqrt(lambda) I] is brought to triangular form by
 * Householder reflections in plain float64 (Golub & Van Loan, Matrix Computations, 5.2 and 6.5.1), a few rows at a time.
 */

export interface JointInput {
  /** Row-major [n, sum of stages], raw pooled features. */
  features: Float32Array;
  stages: Stages;
  /** Class of each row, 0..classes-1. */
  labels: readonly number[];
  classes: number;
  lambda: number;
  /** g of w_c ~ n_c^-g. */
  balancing: number;
  /** Added to the bias of each class; default: nothing. */
  raised?: readonly number[];
}

/** Rows that are reflected into the triangle together: 24 rows of 2,000 doubles fit the second-level cache. */
const CHUNK = 24;

/** The design row of one image: the definition of LEARNING section 1, written out. */
function designRow(features: Float32Array, index: number, stages: Stages): number[] {
  const width = stages.reduce((a, b) => a + b, 0);
  const raw = Array.from(features.subarray(index * width, (index + 1) * width));
  const row: number[] = [];
  for (const channels of stages) {
    const stage = raw.splice(0, channels).map((h) => Math.sign(h) * Math.sqrt(Math.abs(h)));
    const length = Math.sqrt(stage.reduce((sum, v) => sum + v * v, 0)) * Math.sqrt(stages.length);
    // In steps of 2^-18.
    row.push(...stage.map((v) => (length > 0 ? Math.round((v / length) * 262144) / 262144 : 0)));
  }
  row.push(1);
  return row;
}

/**
 * Weights [d + 1, classes], row-major, bias last, minimising sum_i w_i |z_i W - y_i|^2 + lambda |W|^2.
 * @throws never for lambda > 0: the triangle's diagonal is at least sqrt(lambda).
 */
export function jointFit({
  features,
  stages,
  labels,
  classes,
  lambda,
  balancing,
  raised = [],
}: JointInput): Float64Array {
  const n = labels.length;
  const d = stages.reduce((a, b) => a + b, 0) + 1;
  const counts = Array.from({ length: classes }, (_, c) => labels.filter((label) => label === c).length);
  const raw = counts.map((count) => (count > 0 ? count ** -balancing : 0));
  const total = labels.reduce((sum, label) => sum + raw[label]!, 0);
  const columns = d + classes;
  // The triangle starts as the ridge rows sqrt(lambda) I with right-hand side 0; columns d.. are the right-hand sides.
  const triangle = Array.from({ length: d }, (_, i) => {
    const row = new Float64Array(columns);
    row[i] = Math.sqrt(lambda);
    return row;
  });
  for (let from = 0; from < n; from += CHUNK) {
    const rows = labels.slice(from, from + CHUNK).map((label, i) => {
      const weight = Math.sqrt((raw[label]! / total) * n);
      const row = new Float64Array(columns);
      designRow(features, from + i, stages).forEach((v, j) => {
        row[j] = v * weight;
      });
      row[d + label] = weight;
      return row;
    });
    reflectIn(triangle, rows, d, columns);
  }
  const weights = new Float64Array(d * classes);
  for (let c = 0; c < classes; c += 1) {
    for (let i = d - 1; i >= 0; i -= 1) {
      const row = triangle[i]!;
      let sum = row[d + c]!;
      for (let j = i + 1; j < d; j += 1) sum -= row[j]! * weights[j * classes + c]!;
      weights[i * classes + c] = sum / row[i]!;
    }
  }
  for (let c = 0; c < classes; c += 1) weights[(d - 1) * classes + c]! += raised[c] ?? 0;
  return weights;
}

/** One Householder reflection per column takes that column of all `rows` into the triangle's diagonal. */
function reflectIn(triangle: Float64Array[], rows: Float64Array[], d: number, columns: number): void {
  const sum = new Float64Array(columns);
  const v = new Float64Array(rows.length);
  for (let j = 0; j < d; j += 1) {
    const head = triangle[j]!;
    const alpha = head[j]!;
    let norm = 0;
    for (let i = 0; i < rows.length; i += 1) {
      v[i] = rows[i]![j]!;
      norm += v[i]! * v[i]!;
    }
    if (norm === 0) continue;
    const beta = -Math.sign(alpha || 1) * Math.sqrt(alpha * alpha + norm);
    const first = alpha - beta;
    // H = I - tau u u^T with u = (first, v) and tau = 2 / |u|^2.
    const tau = 2 / (first * first + norm);
    for (let k = j; k < columns; k += 1) sum[k] = first * head[k]!;
    for (let i = 0; i < rows.length; i += 1) {
      const factor = v[i]!;
      if (factor === 0) continue;
      const row = rows[i]!;
      for (let k = j; k < columns; k += 1) sum[k]! += factor * row[k]!;
    }
    for (let k = j; k < columns; k += 1) head[k]! -= tau * first * sum[k]!;
    for (let i = 0; i < rows.length; i += 1) {
      const factor = tau * v[i]!;
      if (factor === 0) continue;
      const row = rows[i]!;
      for (let k = j; k < columns; k += 1) row[k]! -= factor * sum[k]!;
    }
  }
}

/** The same for the nearest-class-mean baseline: unit vectors of the class means, [d + 1, classes], row-major, constant row 0. */
export function jointMeans({
  features,
  stages,
  labels,
  classes,
}: Omit<JointInput, 'lambda' | 'balancing'>): Float64Array {
  const d = stages.reduce((a, b) => a + b, 0) + 1;
  const weights = new Float64Array(d * classes);
  for (let c = 0; c < classes; c += 1) {
    const rows = labels.flatMap((label, i) => (label === c ? [designRow(features, i, stages)] : []));
    const mean = Array.from({ length: d - 1 }, (_, j) => rows.reduce((sum, row) => sum + row[j]!, 0) / rows.length);
    const length = Math.hypot(...mean);
    mean.forEach((v, j) => {
      weights[j * classes + c] = length > 0 ? v / length : 0;
    });
  }
  return weights;
}

/** Class of each row by a joint fit's weights. */
export function jointPredict(
  weights: Float64Array,
  { features, stages, classes }: Pick<JointInput, 'features' | 'stages' | 'classes'>,
): number[] {
  const width = stages.reduce((a, b) => a + b, 0);
  return Array.from({ length: features.length / width }, (_, i) => {
    const row = designRow(features, i, stages);
    const scores = Array.from({ length: classes }, (__, c) =>
      row.reduce((sum, v, j) => sum + v * weights[j * classes + c]!, 0),
    );
    return scores.indexOf(Math.max(...scores));
  });
}
