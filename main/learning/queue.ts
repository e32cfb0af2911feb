import { assert } from '../contract/errors.ts';
import { matrix, type Matrix, type Products } from './dense.ts';

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
/** A part is typical by its mean likeness to so many of its nearest. */
const NEIGHBOURS = 20;
/** Weight of typicality (its rank among the parts, 0..1), as a power. By curves on training images: 0 asks for outliers while labels are few, 1 passes rare defects over. */
const TYPICAL = 0.25;
/** Power of the likeness by which a part stands for others while nothing is known. */
const COVER = 4;

/** How alike parts are: cosine without their common mean, negative ones as 0. */
export interface Likeness {
  rows: number;
  of(a: number, b: number): number;
}

export interface QueueOptions {
  /** Rows of parts whose label is known: what is like them teaches less. The others wait. */
  labelled?: readonly number[];
  /** Only so many are chosen, and groups are formed among them; default: all that wait. */
  first?: number;
}

/**
 * Greedy: the most useful first; each choice takes from what is like it. While nothing is known, the parts that stand for most others.
 * @param own usefulness of each row by itself (of labelled ones: not read); null: nothing is known of any
 * @returns in order
 */
export function rankQueue(
  likeness: Likeness,
  own: readonly number[] | null,
  { labelled = [], first = likeness.rows }: QueueOptions = {},
): RankedPart[] {
  assert(own === null || own.length === likeness.rows, 'every part has its usefulness');
  const known = new Set(labelled);
  const waiting = Array.from({ length: likeness.rows }, (_, i) => i).filter((i) => !known.has(i));
  const count = Math.min(first, waiting.length);
  const order =
    own === null
      ? coverOrder(likeness, waiting, labelled, count)
      : usefulOrder(likeness, own, waiting, labelled, count);
  return grouped(likeness, order);
}

type Ordered = Omit<RankedPart, 'groupId'>[];

function usefulOrder(
  likeness: Likeness,
  own: readonly number[],
  waiting: readonly number[],
  labelled: readonly number[],
  count: number,
): Ordered {
  const typical = typicalityOf(likeness, waiting);
  const base = new Map(waiting.map((i, at) => [i, own[i]! * typical[at]! ** TYPICAL]));
  const nearest = new Map(
    waiting.map((i) => [i, labelled.reduce((most, known) => Math.max(most, likeness.of(i, known)), 0)]),
  );
  const open = new Set(waiting);
  const ranked: Ordered = [];
  let least = 1;
  while (ranked.length < count) {
    let chosen = -1;
    let value = -1;
    for (const i of open) {
      const useful = base.get(i)! * (1 - DIVERSITY * nearest.get(i)!);
      if (useful > value) [chosen, value] = [i, useful];
    }
    open.delete(chosen);
    for (const i of open) nearest.set(i, Math.max(nearest.get(i)!, likeness.of(i, chosen)));
    least = Math.min(least, value);
    ranked.push({ index: chosen, usefulness: least });
  }
  return ranked;
}

/** Share of the parts that are less typical, ties half; above 0. */
function typicalityOf(likeness: Likeness, parts: readonly number[]): number[] {
  const neighbours = Math.min(NEIGHBOURS, parts.length - 1);
  const density = parts.map((i) => {
    const alike = Float64Array.from(parts, (j) => (j === i ? 0 : likeness.of(i, j))).sort();
    return alike.subarray(alike.length - neighbours).reduce((sum, x) => sum + x, 0);
  });
  const sorted = Float64Array.from(density).sort();
  return density.map((value) => {
    const below = sorted.findIndex((x) => x >= value);
    let above = below;
    while (above < sorted.length && sorted[above] === value) above += 1;
    return (below + above) / 2 / sorted.length;
  });
}

/** Facility location: each choice adds most to the sum over all parts of their likeness to the nearest choice (a greedy order is within 1 - 1/e of the best set; Nemhauser et al., 1978). */
function coverOrder(
  likeness: Likeness,
  waiting: readonly number[],
  labelled: readonly number[],
  count: number,
): Ordered {
  const standsFor = (i: number, j: number) => (i === j ? 1 : likeness.of(i, j) ** COVER);
  const covered = new Map(
    waiting.map((i) => [i, labelled.reduce((most, known) => Math.max(most, standsFor(known, i)), 0)]),
  );
  const open = new Set(waiting);
  const ranked: Ordered = [];
  let most = 0;
  while (ranked.length < count) {
    let chosen = -1;
    let best = -1;
    for (const i of open) {
      let gain = 0;
      for (const [j, by] of covered) gain += Math.max(0, standsFor(i, j) - by);
      if (gain > best) [chosen, best] = [i, gain];
    }
    open.delete(chosen);
    for (const [j, by] of covered) covered.set(j, Math.max(by, standsFor(chosen, j)));
    most = Math.max(most, best);
    ranked.push({ index: chosen, usefulness: most > 0 ? best / most : 0 });
  }
  return ranked;
}

/** Look-alike groups, by leaders in the order of the queue: the most useful part leads its group. */
function grouped(likeness: Likeness, order: Ordered): RankedPart[] {
  const leaders: { index: number; members: RankedPart[] }[] = [];
  const ranked = order.map((each): RankedPart => ({ ...each, groupId: null }));
  for (const part of ranked) {
    let best: (typeof leaders)[number] | null = null;
    let most = ALIKE;
    for (const leader of leaders) {
      const alike = likeness.of(part.index, leader.index);
      if (alike >= most) [best, most] = [leader, alike];
    }
    if (best) best.members.push(part);
    else leaders.push({ index: part.index, members: [part] });
  }
  let groupId = 0;
  for (const { members } of leaders) {
    if (members.length < 2) continue;
    groupId += 1;
    for (const part of members) part.groupId = groupId;
  }
  return ranked;
}

/** Rows of length 1 without their common mean (features without it are all alike); a row that is no numbers (unreadable picture) is zero: like none. */
function unitRows({ data, rows, columns }: Matrix): Matrix {
  const readable = Array.from({ length: rows }, (_, i) => Number.isFinite(data[i * columns]!));
  const count = readable.filter(Boolean).length;
  const mean = new Float64Array(columns);
  for (let i = 0; i < rows; i += 1) {
    if (readable[i]) for (let j = 0; j < columns; j += 1) mean[j]! += data[i * columns + j]! / count;
  }
  const unit = matrix(rows, columns);
  for (let i = 0; i < rows; i += 1) {
    if (!readable[i]) continue;
    let length = 0;
    for (let j = 0; j < columns; j += 1) {
      const v = data[i * columns + j]! - mean[j]!;
      unit.data[i * columns + j] = v;
      length += v * v;
    }
    length = Math.sqrt(length);
    for (let j = 0; j < columns; j += 1) {
      unit.data[i * columns + j] = length > 0 ? unit.data[i * columns + j]! / length : 0;
    }
  }
  return unit;
}

const tableOf = (rows: number, cosines: Float64Array): Likeness => ({
  rows,
  of: (a, b) => Math.max(0, cosines[a * rows + b]!),
});

/** @param z embedded parts (embedding.ts), a row each; for some hundreds */
export function likenessOf(z: Matrix): Likeness {
  const { data, rows, columns } = unitRows(z);
  const cosines = new Float64Array(rows * rows);
  for (let a = 0; a < rows; a += 1) {
    for (let b = 0; b <= a; b += 1) {
      let dot = 0;
      for (let j = 0; j < columns; j += 1) dot += data[a * columns + j]! * data[b * columns + j]!;
      cosines[a * rows + b] = dot;
      cosines[b * rows + a] = dot;
    }
  }
  return tableOf(rows, cosines);
}

/** The same for thousands. */
export async function likenessOfMany(z: Matrix, products: Products): Promise<Likeness> {
  const unit = unitRows(z);
  return tableOf(z.rows, (await products.multiply(unit, unit, { transposeB: true })).data);
}
