import { describe, expect, it } from 'vitest';
import { newLossMemory, watchLoss } from '../../../main/training/divergence.ts';

const watch = (losses: readonly number[]) => {
  const memory = newLossMemory();
  const at = losses.findIndex((loss) => watchLoss(memory, loss) !== null);
  return at < 0 ? null : at;
};

describe('rule of divergence', () => {
  it('stops at once at a loss or gradient that is no number', () => {
    expect(watchLoss(newLossMemory(), Number.NaN)).toMatch(/NaN/);
    expect(watchLoss(newLossMemory(), Number.POSITIVE_INFINITY)).toMatch(/Infinity/);
    expect(watchLoss(newLossMemory(), 1, Number.NaN)).toMatch(/gradient/);
    expect(watchLoss(newLossMemory(), 1, 3)).toBeNull();
  });
  it('lets one bad batch pass, and noise near zero', () => {
    expect(watch([...Array(30).fill(2), 60, ...Array(30).fill(2)] as number[])).toBeNull();
    expect(watch(Array.from({ length: 100 }, (_, i) => (i < 10 ? 0.001 : 0.5)))).toBeNull();
  });
  it('stops when ten losses together are ten times the first ten', () => {
    // (2 * 2 + 8 * 25) / 10 is the first mean above 20.
    expect(watch([...Array(10).fill(2), ...Array(30).fill(25)] as number[])).toBe(17);
    expect(watch(Array.from({ length: 60 }, (_, i) => 2 * 1.1 ** i))).not.toBeNull();
  });
  it('remembers across a restart', () => {
    const memory = newLossMemory();
    for (let i = 0; i < 15; i += 1) watchLoss(memory, 2);
    const again = JSON.parse(JSON.stringify(memory)) as typeof memory;
    const at = Array.from({ length: 20 }, () => watchLoss(again, 25)).findIndex((problem) => problem !== null);
    expect(at).toBeGreaterThan(0);
  });
});
