import { assert } from '../contract/errors.ts';
import { probabilities } from './calibration.ts';
import type { Products } from './dense.ts';
import { embed } from './embedding.ts';
import { argmax } from './evaluation.ts';
import type { SolvedKnowledge } from './knowledge.ts';
import { scoreNovelty } from './novelty.ts';

/*
 * Which unlabelled part teaches most: what is unlike everything known (novelty), what lies between classes (margin), and not
 * ten times the same (diversity). Greedy: each choice counts less the more alike it is to what was chosen before it.
 */

export interface RankedPart {
  /** Row of the features given. */
  index: number;
  /** 0..1, higher comes first. */
  usefulness: number;
  reason: 'novel' | 'low-margin';
  novelty: number;
  /** Best minus second-best probability. */
  margin: number;
  suggestedClassId: string | null;
  /** Parts of one group look alike; null: stands alone. */
  groupId: number | null;
}

/** Cosine of two embedded parts, the mean of all taken off, from which on they look alike. */
const ALIKE = 0.9;

/**
 * @param features raw pooled features, row-major [parts, sum of stages]; rows of NaN (unreadable pictures) are left out
 * @returns most useful first
 */
export async function rankQueue(
  features: Float32Array,
  knowledge: SolvedKnowledge,
  products: Products,
): Promise<RankedPart[]> {
  const width = knowledge.stages.reduce((sum, channels) => sum + channels, 0);
  assert(features.length % width === 0, 'features are of the backbone of this knowledge');
  const readable = Array.from({ length: features.length / width }, (_, i) => i).filter(
    (i) => !Number.isNaN(features[i * width]!),
  );
  if (readable.length === 0) return [];
  const z = embed(features, knowledge.stages, readable);
  const logits = await products.multiply(z, knowledge.weights);
  const scores = await scoreNovelty(knowledge.novelty, z, products);
  const { classes, temperature, thresholds } = knowledge;
  const k = classes.length;
  const parts = readable.map((index, i) => {
    const p = probabilities(logits.data, i * k, k, temperature);
    const best = argmax(p, 0, k);
    const second = Math.max(0, ...p.filter((_, c) => c !== best));
    const margin = p[best]! - second;
    // 1/2 at the limit of novelty, towards 1 beyond it.
    const novel = 1 / (1 + Math.exp((-4 * (scores[i]! - thresholds.novelty)) / (Math.abs(thresholds.novelty) + 0.1)));
    return {
      index,
      novelty: scores[i]!,
      margin,
      own: 1 - (1 - novel) * margin,
      reason: scores[i]! > thresholds.novelty ? ('novel' as const) : ('low-margin' as const),
      suggestedClassId: classes[best]?.classId ?? null,
    };
  });
  const likeness = likenessOf(z.data, z.rows, z.columns);
  const groups = groupsOf(likeness, z.rows);
  // Greedy: most useful first, less what the chosen ones are like.
  const nearest = new Float64Array(parts.length);
  const open = new Set(parts.keys());
  const ranked: RankedPart[] = [];
  while (open.size > 0) {
    let chosen = -1;
    let value = -1;
    for (const i of open) {
      const useful = parts[i]!.own * (1 - 0.5 * nearest[i]!);
      if (useful > value) [chosen, value] = [i, useful];
    }
    open.delete(chosen);
    for (const i of open) nearest[i] = Math.max(nearest[i]!, likeness(i, chosen));
    const { own: _own, ...rest } = parts[chosen]!;
    ranked.push({ ...rest, usefulness: value, groupId: groups[chosen]! });
  }
  return ranked;
}

/** Cosine of two rows without their common mean, negative ones as 0. */
function likenessOf(z: Float64Array, rows: number, columns: number): (a: number, b: number) => number {
  const mean = new Float64Array(columns);
  for (let i = 0; i < rows; i += 1) for (let j = 0; j < columns; j += 1) mean[j]! += z[i * columns + j]! / rows;
  const unit = z.slice();
  for (let i = 0; i < rows; i += 1) {
    let length = 0;
    for (let j = 0; j < columns; j += 1) {
      unit[i * columns + j]! -= mean[j]!;
      length += unit[i * columns + j]! ** 2;
    }
    length = Math.sqrt(length) || 1;
    for (let j = 0; j < columns; j += 1) unit[i * columns + j]! /= length;
  }
  return (a, b) => {
    let dot = 0;
    for (let j = 0; j < columns; j += 1) dot += unit[a * columns + j]! * unit[b * columns + j]!;
    return Math.max(0, dot);
  };
}

/** Groups of look-alikes by single linkage to the first of each group; a part that is like none stands alone (null). */
function groupsOf(likeness: (a: number, b: number) => number, count: number): (number | null)[] {
  const leaders: number[] = [];
  const member = Array.from({ length: count }, (_, i) => {
    const found = leaders.findIndex((leader) => likeness(i, leader) >= ALIKE);
    if (found >= 0) return found;
    leaders.push(i);
    return leaders.length - 1;
  });
  const sizes = leaders.map((_, g) => member.filter((m) => m === g).length);
  return member.map((g) => (sizes[g]! > 1 ? g : null));
}
