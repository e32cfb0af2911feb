import { assert } from '../contract/errors.ts';
import type { Matrix } from './dense.ts';

/*
 * Which unlabelled part teaches most: what is unlike everything known (novelty), what lies between classes (margin), and not ten
 * times the same (diversity). The one ranking: for the queue that a person sees (core/queue-ranking.ts), and for the simulation that shows
 * what it is worth (label-curve.ts).
 */

/** What a model said of a part. */
export interface Signs {
  novelty: number;
  /** Above it a part is novel; 0: not known. */
  noveltyLimit: number;
  /** Best minus second-best probability. */
  margin: number;
}

/** 0..1 by novelty and margin alone: certain of the margin, unless it is unlike everything. */
export function usefulness({ novelty, noveltyLimit, margin }: Signs): number {
  // 1/2 at the limit of novelty, towards 1 beyond it.
  const novel = 1 / (1 + Math.exp((-4 * (novelty - noveltyLimit)) / (Math.abs(noveltyLimit) + 0.1)));
  const doubt = 1 - (1 - novel) * Math.min(1, Math.max(0, margin));
  return Number.isFinite(doubt) ? doubt : 1;
}

export interface RankedPart {
  /** Row of the parts given. */
  index: number;
  /** 0..1, falling: its own, less what is like it and comes before it. */
  usefulness: number;
  /** Parts of one group look alike, numbered from 1; null: stands alone. */
  groupId: number | null;
}

/**
 * Cosine of two embedded parts, the mean of all taken off, from which on they look alike. Of pairs beyond it at least nine in ten are of one class
 * on the training images of the evaluation sets.
 */
const ALIKE = 0.85;
/** What the likes of a part take from its usefulness, by cosine. Chosen by curves on training images (0.5, 0.7 and 1 differ little). */
const DIVERSITY = 0.7;

/**
 * Greedy: the most useful first; each choice takes from what is like it.
 * @param z embedded parts (embedding.ts), a row each; a row that is no numbers (unreadable picture) is like none
 * @param own usefulness of each part by itself
 * @param first only so many are chosen, and groups are formed among them; default: all
 * @returns in order
 */
export function rankQueue(z: Matrix, own: readonly number[], first = z.rows): RankedPart[] {
  assert(own.length === z.rows, 'every part has its usefulness');
  const likeness = likenessOf(z);
  const nearest = new Float64Array(z.rows);
  const open = new Set(own.keys());
  const ranked: RankedPart[] = [];
  // Groups by leaders in the order of the queue: the most useful part leads its group.
  const leaders: { index: number; members: RankedPart[] }[] = [];
  while (open.size > 0 && ranked.length < first) {
    let chosen = -1;
    let value = -1;
    for (const i of open) {
      const useful = own[i]! * (1 - DIVERSITY * nearest[i]!);
      if (useful > value) [chosen, value] = [i, useful];
    }
    open.delete(chosen);
    for (const i of open) nearest[i] = Math.max(nearest[i]!, likeness(i, chosen));
    const part: RankedPart = { index: chosen, usefulness: value, groupId: null };
    ranked.push(part);
    let best: (typeof leaders)[number] | null = null;
    let most = ALIKE;
    for (const leader of leaders) {
      const alike = likeness(chosen, leader.index);
      if (alike >= most) [best, most] = [leader, alike];
    }
    if (best) best.members.push(part);
    else leaders.push({ index: chosen, members: [part] });
  }
  let groupId = 0;
  for (const { members } of leaders) {
    if (members.length < 2) continue;
    groupId += 1;
    for (const part of members) part.groupId = groupId;
  }
  return ranked;
}

/** Cosine of two rows without their common mean, negative ones as 0: features without it are all alike. */
function likenessOf({ data, rows, columns }: Matrix): (a: number, b: number) => number {
  const readable = Array.from({ length: rows }, (_, i) => Number.isFinite(data[i * columns]!));
  const count = readable.filter(Boolean).length;
  const mean = new Float64Array(columns);
  for (let i = 0; i < rows; i += 1) {
    if (readable[i]) for (let j = 0; j < columns; j += 1) mean[j]! += data[i * columns + j]! / count;
  }
  const unit = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i += 1) {
    if (!readable[i]) continue;
    let length = 0;
    for (let j = 0; j < columns; j += 1) {
      const v = data[i * columns + j]! - mean[j]!;
      unit[i * columns + j] = v;
      length += v * v;
    }
    length = Math.sqrt(length);
    for (let j = 0; j < columns; j += 1) unit[i * columns + j] = length > 0 ? unit[i * columns + j]! / length : 0;
  }
  return (a, b) => {
    let dot = 0;
    for (let j = 0; j < columns; j += 1) dot += unit[a * columns + j]! * unit[b * columns + j]!;
    return Math.max(0, dot);
  };
}
