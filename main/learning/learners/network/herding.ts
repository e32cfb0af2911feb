/*
 * iCaRL's exemplars (Rebuffi et al., CVPR 2017, algorithms 4 and 5): the pictures of a class whose mean comes closest to the mean of all,
 * the best first, so that a smaller budget keeps a prefix.
 */

/** Scales every row to length 1; a row of zeros stays. */
export function normaliseRows(rows: Float32Array, width: number): Float32Array {
  const out = rows.slice();
  for (let at = 0; at < out.length; at += width) {
    let square = 0;
    for (let j = 0; j < width; j += 1) square += out[at + j]! ** 2;
    const scale = square > 0 ? 1 / Math.sqrt(square) : 0;
    for (let j = 0; j < width; j += 1) out[at + j]! *= scale;
  }
  return out;
}

/** Mean of rows of length `width`. */
export function meanOf(rows: Float32Array, width: number): Float64Array {
  const mean = new Float64Array(width);
  const count = rows.length / width;
  for (let i = 0; i < rows.length; i += 1) mean[i % width]! += rows[i]! / count;
  return mean;
}

/**
 * Row numbers in herding order: each next row is the one that brings the mean of those taken nearest to the mean of all.
 * @param rows row-major [n, width]; at most `count` are taken, the lower number wins a draw.
 */
export function herdingOrder(rows: Float32Array, width: number, count: number): number[] {
  const n = rows.length / width;
  const mean = meanOf(rows, width);
  const sum = new Float64Array(width);
  const left = new Set(Array.from({ length: n }, (_, i) => i));
  const order: number[] = [];
  while (order.length < Math.min(count, n)) {
    const k = order.length + 1;
    let best = -1;
    let least = Infinity;
    for (const i of left) {
      let distance = 0;
      for (let j = 0; j < width; j += 1) distance += (mean[j]! - (sum[j]! + rows[i * width + j]!) / k) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    // Rows that are not numbers are no exemplars.
    if (best < 0) break;
    left.delete(best);
    order.push(best);
    for (let j = 0; j < width; j += 1) sum[j]! += rows[best * width + j]!;
  }
  return order;
}

/** Exemplars each class may keep: the budget is for all classes together. */
export const exemplarsPerClass = (budget: number, classes: number): number => Math.floor(budget / classes);

/**
 * Class of the nearest mean by Euclidean distance between unit vectors.
 * @returns row-major [rows, means], the negative squared distances.
 */
export function nearestMeanScores(rows: Float32Array, width: number, means: readonly Float64Array[]): Float64Array {
  const unit = means.map((mean) => {
    const length = Math.sqrt(mean.reduce((total, v) => total + v * v, 0));
    return mean.map((v) => (length > 0 ? v / length : 0));
  });
  const n = rows.length / width;
  const scores = new Float64Array(n * means.length);
  for (let i = 0; i < n; i += 1) {
    unit.forEach((mean, c) => {
      let distance = 0;
      for (let j = 0; j < width; j += 1) distance += (rows[i * width + j]! - mean[j]!) ** 2;
      scores[i * means.length + c] = -distance;
    });
  }
  return scores;
}
