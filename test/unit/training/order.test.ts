import { describe, expect, it } from 'vitest';
import { epochOrder } from '../../../main/training/loader/order.ts';

const labels = [...Array(40).fill(0), ...Array(10).fill(1), ...Array(3).fill(2)] as number[];
const count = (order: Uint32Array) => {
  const seen = new Map<number, number>();
  for (const i of order) seen.set(i, (seen.get(i) ?? 0) + 1);
  return seen;
};

describe('order of an epoch', () => {
  it('holds every image once, and fills the last batch from its own beginning', () => {
    const order = epochOrder({ labels, batch: 8, seed: 1 }, 0);
    expect(order.length).toBe(56);
    expect(count(order).size).toBe(53);
    expect(Array.from(order.subarray(53))).toEqual(Array.from(order.subarray(0, 3)));
  });
  it('is another one for another epoch or seed, and the same one again', () => {
    const of = (seed: number, epoch: number) => Array.from(epochOrder({ labels, batch: 8, seed }, epoch));
    expect(of(1, 0)).toEqual(of(1, 0));
    expect(of(1, 0)).not.toEqual(of(1, 1));
    expect(of(1, 0)).not.toEqual(of(2, 0));
    expect(of(1, 0)).not.toEqual(Array.from({ length: 56 }, (_, i) => i % 53));
  });
  it('is plain without shuffling', () => {
    expect(Array.from(epochOrder({ labels: [0, 1, 0], batch: 2, seed: 1, shuffle: false }, 5))).toEqual([0, 1, 2, 0]);
  });
  it('fills a batch larger than the set', () => {
    const seen = count(epochOrder({ labels: [0, 1, 0], batch: 7, seed: 1 }, 0));
    expect([...seen.values()].sort()).toEqual([2, 2, 3]);
  });
  it('balanced: every class equally often, and all of a small class', () => {
    const order = epochOrder({ labels, batch: 8, seed: 1, balanced: true }, 0);
    expect(order.length).toBe(56);
    const perClass = [0, 1, 2].map((label) => Array.from(order).filter((i) => labels[i] === label));
    for (const found of perClass) expect(Math.abs(found.length - 56 / 3)).toBeLessThan(1);
    expect(new Set(perClass[1]).size).toBe(10);
    expect(new Set(perClass[2]).size).toBe(3);
    // No image of the large class twice: it is gone through in part.
    expect(new Set(perClass[0]).size).toBe(perClass[0]!.length);
  });
  it('balanced: other images of a large class in another epoch', () => {
    const large = (epoch: number) =>
      Array.from(epochOrder({ labels, batch: 8, seed: 1, balanced: true }, epoch)).filter((i) => labels[i] === 0);
    expect(large(0).toSorted()).not.toEqual(large(1).toSorted());
  });
});
