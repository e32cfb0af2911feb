import { assert } from '../../contract/errors.ts';
import type { DependencyGroup } from './groups.ts';
import type { RemovalCurve } from './importance.ts';

export type Sides = readonly (readonly [group: string, share: number])[];

/** Multiply-accumulates of one node at full width, and the groups its cost grows with. */
export interface NodeCost {
  macs: number;
  /** Groups whose channels come in, and what share of the input they are; the rest is fixed. */
  input: Sides;
  /** The same of what goes out. A depthwise convolution has one group on both sides: stated here only. */
  output: Sides;
  /** Milliseconds when these shares of the channels are left; without it, multiply-accumulates stand for time. */
  ms?: (input: number, output: number) => number;
}

/** Channel counts that the kernels like. */
export const CHANNEL_STEP = 8;

/** Rows of weights that go at once, in channels of the group. */
const stepOf = ({ unit }: DependencyGroup): number => Math.max(1, Math.round(CHANNEL_STEP / unit));

/** Channels that stay at least. */
export const leastOf = (group: DependencyGroup, floor: number): number =>
  Math.max(Math.ceil(CHANNEL_STEP / group.unit), Math.ceil(group.channels * floor));

/** Share of a side that is left when groups keep `width` (share of their channels). */
const left = (sides: Sides, width: ReadonlyMap<string, number>): number =>
  sides.reduce((sum, [group, share]) => sum - share * (1 - (width.get(group) ?? 1)), 1);

/** Total multiply-accumulates when groups keep `width` (share of their channels). */
export const totalMacs = (costs: readonly NodeCost[], width: ReadonlyMap<string, number>): number =>
  costs.reduce((sum, { macs, input, output }) => sum + macs * left(input, width) * left(output, width), 0);

/** Total time at these widths; of nodes whose time is not known, none. */
const totalMs = (costs: readonly NodeCost[], width: ReadonlyMap<string, number>): number =>
  costs.reduce((sum, { ms, input, output }) => sum + (ms?.(left(input, width), left(output, width)) ?? 0), 0);

/**
 * Global ranking: again and again the group goes first that loses least accuracy per time saved, in steps of
 * eight channels, until `ratio` of all multiply-accumulates are gone or every group is at its floor.
 * @param floor least share of a group's channels that stays
 * @returns group id -> channels that stay, increasing; groups that keep all are not named
 */
export function allocate(
  curves: readonly RemovalCurve[],
  costs: readonly NodeCost[],
  options: { ratio: number; floor: number },
): Map<string, Int32Array> {
  assert(options.ratio >= 0 && options.ratio < 1, 'a ratio is a share');
  const removed = curves.map(() => 0);
  const width = new Map<string, number>();
  const total = totalMacs(costs, width);
  const target = total * (1 - options.ratio);
  let current = total;
  const timed = costs.some(({ ms }) => ms !== undefined);
  const priced = timed ? totalMs : totalMacs;
  let spent = priced(costs, width);
  const nextStep = (i: number): number => {
    const { group, order } = curves[i]!;
    const remaining = group.channels - removed[i]!;
    const whole = stepOf(group);
    // The first step brings an odd count down to a multiple of eight.
    const step = remaining % whole === 0 ? whole : remaining % whole;
    return remaining - step >= leastOf(group, options.floor) && removed[i]! + step <= order.length ? step : 0;
  };
  while (current > target) {
    let best = -1;
    let bestPrice = Infinity;
    for (let i = 0; i < curves.length; i++) {
      const step = nextStep(i);
      if (step === 0) continue;
      const { group, error } = curves[i]!;
      const before = width.get(group.id) ?? 1;
      width.set(group.id, (group.channels - removed[i]! - step) / group.channels);
      const saved = spent - priced(costs, width);
      width.set(group.id, before);
      if (saved <= 0) continue;
      const price = (error[removed[i]! + step]! - error[removed[i]!]!) / saved;
      if (price < bestPrice) {
        bestPrice = price;
        best = i;
      }
    }
    if (best < 0) break;
    removed[best]! += nextStep(best);
    const { group } = curves[best]!;
    width.set(group.id, (group.channels - removed[best]!) / group.channels);
    current = totalMacs(costs, width);
    spent = priced(costs, width);
  }
  const keep = new Map<string, Int32Array>();
  curves.forEach(({ group, order }, i) => {
    if (removed[i] === 0) return;
    const gone = new Set(order.subarray(0, removed[i]));
    keep.set(
      group.id,
      Int32Array.from({ length: group.channels }, (_, c) => c).filter((c) => !gone.has(c)),
    );
  });
  return keep;
}
