/** Cosine of two feature vectors from which on two parts look alike. */
const ALIKE = 0.92;

export interface LookAlike {
  /** Number of the group, from 1; null: it stands alone. */
  groupId: number | null;
  /** 0 for the first of its group (in the order given), 1 for the next … */
  place: number;
}

/**
 * Groups by leader clustering: each picture joins the most similar leader that is at least ALIKE, or becomes one. Order matters and is
 * the queue's, so the most useful part leads its group.
 * @param features row-major [count, d]; a row of NaN (unreadable picture) stands alone
 */
export const groupLookAlikes = (features: Float32Array, count: number, alike = ALIKE): LookAlike[] => {
  const width = count === 0 ? 0 : features.length / count;
  // Means taken off first: pooled features are all positive, and every pair would look alike.
  const mean = new Float64Array(width);
  let readable = 0;
  for (let row = 0; row < count; row += 1) {
    if (Number.isNaN(features[row * width])) continue;
    readable += 1;
    for (let d = 0; d < width; d += 1) mean[d]! += features[row * width + d]!;
  }
  for (let d = 0; d < width; d += 1) mean[d]! /= Math.max(1, readable);
  const unit = (row: number): Float64Array | null => {
    const vector = new Float64Array(width);
    let norm = 0;
    for (let d = 0; d < width; d += 1) {
      vector[d] = features[row * width + d]! - mean[d]!;
      norm += vector[d]! ** 2;
    }
    if (!(norm > 0)) return null;
    for (let d = 0; d < width; d += 1) vector[d]! /= Math.sqrt(norm);
    return vector;
  };
  const leaders: { vector: Float64Array; members: number[] }[] = [];
  for (let row = 0; row < count; row += 1) {
    const vector = unit(row);
    if (vector === null) continue;
    let best: (typeof leaders)[number] | null = null;
    let bestCosine = alike;
    for (const leader of leaders) {
      let cosine = 0;
      for (let d = 0; d < width; d += 1) cosine += leader.vector[d]! * vector[d]!;
      if (cosine >= bestCosine) [best, bestCosine] = [leader, cosine];
    }
    if (best === null) leaders.push({ vector, members: [row] });
    else best.members.push(row);
  }
  const result: LookAlike[] = Array.from({ length: count }, () => ({ groupId: null, place: 0 }));
  let groupId = 0;
  for (const { members } of leaders) {
    if (members.length < 2) continue;
    groupId += 1;
    for (const [place, row] of members.entries()) result[row] = { groupId, place };
  }
  return result;
};
