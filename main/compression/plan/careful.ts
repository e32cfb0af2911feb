import { keepsLimits, type Limited } from './evaluate.ts';

/**
 * The record of a variant: with the worst layers in floats where that, and only that, keeps the limits. Layers in floats cost time: where they do not save
 * it, it is the fast one that is told, and built on.
 * `fast`: every layer an integer; `careful`: makes and measures the other, null where no layer is bad enough; `maxDropPp`: percentage points.
 */
export async function floatsWhereNeeded<R extends Limited>(
  fast: R,
  careful: (() => Promise<R>) | null,
  maxDropPp: number,
): Promise<R> {
  if (!careful || keepsLimits(fast, maxDropPp)) return fast;
  const other = await careful();
  return keepsLimits(other, maxDropPp) ? other : fast;
}
