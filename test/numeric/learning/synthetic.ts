/* Small worlds for learning tests: features drawn around class centres, and hashes that spread over the folds. */
import { createHash } from 'node:crypto';
import type { LedgerRow } from '../../../main/learning/selection.ts';

/** Deterministic numbers in 0..1. */
export function randomOf(seed: number): () => number {
  // Spread over all bits: neighbouring seeds must not begin alike.
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ (Math.imul(seed + 1, 0x85ebca6b) >>> 13)) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export interface World {
  stages: number[];
  features: Float32Array;
  ledger: LedgerRow[];
}

/** Non-negative features (as after a ReLU): a centre per class plus noise. @param counts images per class id */
export function worldOf(counts: Record<string, number>, stages: number[], noise = 0.5, seed = 7): World {
  const random = randomOf(seed);
  const width = stages.reduce((a, b) => a + b, 0);
  const rows: number[][] = [];
  const ledger: LedgerRow[] = [];
  for (const [classId, count] of Object.entries(counts)) {
    const centre = Array.from({ length: width }, () => Math.max(0, random() * 2 - 0.6));
    for (let i = 0; i < count; i += 1) {
      rows.push(centre.map((v) => Math.max(0, v + noise * (random() + random() - 1))));
      ledger.push({ classId, sha: createHash('sha256').update(`${classId} ${i} ${seed}`).digest('hex') });
    }
  }
  return { stages, features: Float32Array.from(rows.flat()), ledger };
}

export const rowsOf = ({ features, stages, ledger }: World, order: readonly number[]): World => {
  const width = stages.reduce((a, b) => a + b, 0);
  const out = new Float32Array(order.length * width);
  order.forEach((from, to) => out.set(features.subarray(from * width, (from + 1) * width), to * width));
  return { stages, features: out, ledger: order.map((i) => ledger[i]!) };
};
