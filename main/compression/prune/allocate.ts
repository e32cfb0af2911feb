import { assert } from '../../contract/errors.ts';
import type { ResidualBlock } from './blocks.ts';
import type { DependencyGroup } from './groups.ts';
import type { RemovalCurve } from './importance.ts';

export type Sides = readonly (readonly [group: string, share: number])[];

/** Multiply-accumulates of one node at full width, and the groups its cost grows with. */
export interface NodeCost {
  /** First output of the node. */
  node: string;
  macs: number;
  /** Groups whose channels come in, and what share of the input they are; the rest is fixed. */
  input: Sides;
  /** The same of what goes out. A depthwise convolution has one group on both sides: stated here only. */
  output: Sides;
  /** Milliseconds when these shares of the channels are left; without it, multiply-accumulates stand for time. */
  ms?: (input: number, output: number) => number;
}

/** Channel counts that the kernels like. */
const CHANNEL_STEP = 8;

/** Rows of weights that go at once, in channels of the group. */
const stepOf = ({ unit }: DependencyGroup): number => Math.max(1, Math.round(CHANNEL_STEP / unit));

/** Channels that stay at least. */
export const leastOf = (group: DependencyGroup, floor: number): number =>
  Math.max(Math.ceil(CHANNEL_STEP / group.unit), Math.ceil(group.channels * floor));

/** Share of a side that is left when groups keep `width` (share of their channels). */
const left = (sides: Sides, width: ReadonlyMap<string, number>): number =>
  sides.reduce((sum, [group, share]) => sum - share * (1 - (width.get(group) ?? 1)), 1);

/** A block that may go as a whole. */
export interface BlockCost {
  block: ResidualBlock;
  /** The block whose sum it begins with, where that may go too; null: none. */
  follows: string | null;
  /** Relative error, as that of channels, after it is gone: [0] alone, [k] together with the k blocks before it. */
  errors: readonly number[];
  /** Groups that lie inside it. */
  groups: readonly string[];
}

/** What is left of a network, and by which measure groups and blocks are priced. */
export interface Allocation {
  /** Group id -> channels that stay, increasing; groups that keep all, or go with their block, are not named. */
  keep: Map<string, Int32Array>;
  dropped: ResidualBlock[];
}

/** The channels that go, less the last one of each tensor that would hold none of the group: a layer behind a part of a Split, or of a Slice, cannot work on nothing. */
function leavingTensors(group: DependencyGroup, order: Int32Array): Set<number> {
  const out = new Set(order);
  for (const columns of group.columns.values()) {
    const held = new Set(columns.filter((channel) => channel >= 0));
    if ([...held].every((channel) => out.has(channel))) out.delete(order.findLast((channel) => held.has(channel))!);
  }
  return out;
}

/** Total multiply-accumulates when groups keep `width` (share of their channels). */
export const totalMacs = (costs: readonly NodeCost[], width: ReadonlyMap<string, number>): number =>
  costs.reduce((sum, { macs, input, output }) => sum + macs * left(input, width) * left(output, width), 0);

/** Costs of the nodes that are left. */
export const remaining = (costs: readonly NodeCost[], dropped: readonly ResidualBlock[]): NodeCost[] =>
  costs.filter(({ node }) => !dropped.some(({ nodes }) => nodes.has(node)));

/** Total time at these widths; of nodes whose time is not known, none. */
const totalMs = (costs: readonly NodeCost[], width: ReadonlyMap<string, number>): number =>
  costs.reduce((sum, { ms, input, output }) => sum + (ms?.(left(input, width), left(output, width)) ?? 0), 0);

/**
 * Global ranking: again and again the group goes first that loses least accuracy per time saved, in steps of
 * eight channels, or the block whose loss as a whole does, until `ratio` of all multiply-accumulates are gone or every group is at its floor.
 * @param floor least share of a group's channels that stays
 */
export function allocate(
  curves: readonly RemovalCurve[],
  given: readonly NodeCost[],
  options: { ratio: number; floor: number; blocks?: readonly BlockCost[] },
): Allocation {
  assert(options.ratio >= 0 && options.ratio < 1, 'a ratio is a share');
  const removed = curves.map(() => 0);
  const width = new Map<string, number>();
  const total = totalMacs(given, width);
  const target = total * (1 - options.ratio);
  const timed = given.some(({ ms }) => ms !== undefined);
  const priced = timed ? totalMs : totalMacs;
  const dropped: ResidualBlock[] = [];
  const gone = new Set<string>();
  let costs = given;
  let current = total;
  let spent = priced(costs, width);
  const nextStep = (i: number): number => {
    const { group, order } = curves[i]!;
    const remaining = group.channels - removed[i]!;
    const whole = stepOf(group);
    // The first step brings an odd count down to a multiple of eight.
    const step = remaining % whole === 0 ? whole : remaining % whole;
    return remaining - step >= leastOf(group, options.floor) && removed[i]! + step <= order.length ? step : 0;
  };
  interface Move {
    price: number;
    apply(): void;
  }
  const narrow = (i: number): Move | null => {
    const { group, error } = curves[i]!;
    const step = gone.has(group.id) ? 0 : nextStep(i);
    if (step === 0) return null;
    const whole = width.get(group.id) ?? 1;
    const narrower = (group.channels - removed[i]! - step) / group.channels;
    width.set(group.id, narrower);
    const saved = spent - priced(costs, width);
    width.set(group.id, whole);
    if (saved <= 0) return null;
    return {
      price: (error[removed[i]! + step]! - error[removed[i]!]!) / saved,
      apply() {
        removed[i]! += step;
        width.set(group.id, narrower);
      },
    };
  };
  const blocks = options.blocks ?? [];
  const has = (of: BlockCost | undefined): of is BlockCost => of !== undefined && dropped.includes(of.block);
  /** Blocks in a row that are gone, from `first` against or along the order; their error is one. */
  const rowOf = (first: BlockCost | undefined, next: (of: BlockCost) => BlockCost | undefined): BlockCost[] => {
    const row: BlockCost[] = [];
    for (let at = first; has(at); at = next(at)) row.push(at);
    return row;
  };
  const before = ({ follows }: BlockCost): BlockCost | undefined => blocks.find(({ block }) => block.id === follows);
  const after = ({ block }: BlockCost): BlockCost | undefined => blocks.find(({ follows }) => follows === block.id);
  const drop = (each: BlockCost): Move | null => {
    const { block, groups } = each;
    if (has(each)) return null;
    const without = remaining(costs, [block]);
    const saved = spent - priced(without, width);
    if (saved <= 0) return null;
    const earlier = rowOf(before(each), before);
    const later = rowOf(after(each), after);
    const end = later.at(-1) ?? each;
    const error = end.errors[earlier.length + later.length]!;
    // What its neighbours that are gone and its channels have cost so far is paid already.
    const paid =
      (earlier[0]?.errors[earlier.length - 1] ?? 0) +
      (later.length > 0 ? end.errors[later.length - 1]! : 0) +
      curves.reduce((sum, curve, i) => sum + (groups.includes(curve.group.id) ? curve.error[removed[i]!]! : 0), 0);
    return {
      price: Math.max(0, error - paid) / saved,
      apply() {
        dropped.push(block);
        costs = without;
        for (const id of groups) gone.add(id);
      },
    };
  };
  while (current > target) {
    const moves = [...curves.map((_, i) => narrow(i)), ...blocks.map(drop)];
    const best = moves.reduce<Move | null>((a, b) => (a === null || (b !== null && b.price < a.price) ? b : a), null);
    if (best === null) break;
    best.apply();
    current = totalMacs(costs, width);
    spent = priced(costs, width);
  }
  const keep = new Map<string, Int32Array>();
  curves.forEach(({ group, order }, i) => {
    if (removed[i] === 0 || gone.has(group.id)) return;
    const out = leavingTensors(group, order.subarray(0, removed[i]));
    keep.set(
      group.id,
      Int32Array.from({ length: group.channels }, (_, c) => c).filter((c) => !out.has(c)),
    );
  });
  return { keep, dropped };
}
