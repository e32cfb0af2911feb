import { describe, expect, it } from 'vitest';
import { matrix, openProducts, type Matrix } from '../../../main/learning/dense.ts';
import { leaveOneOut } from '../../../main/learning/leave-one-out.ts';
import { crossValidate, pick, sampleOf, type LedgerRow } from '../../../main/learning/selection.ts';
import { classWeights } from '../../../main/learning/solve.ts';

let state = 1;
const next = () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5;

/** Two large classes and two of few parts, of which one lies near a large one. */
const world = (): { z: Matrix; ledger: LedgerRow[] } => {
  state = 7;
  const centres: Record<string, number[]> = { a: [1, 0, 0], b: [0, 1, 0], few: [0, 0, 1], close: [0.8, 0.1, 0.25] };
  const sizes = { a: 30, b: 30, few: 7, close: 6 };
  const ledger = Object.entries(sizes).flatMap(([classId, count]) =>
    Array.from({ length: count }, (_, i) => ({ classId, sha: `${classId}x${i}x`.padEnd(64, '0') })),
  );
  const z = matrix(ledger.length, 4);
  ledger.forEach(({ classId }, i) => {
    for (let c = 0; c < 3; c += 1) z.data[4 * i + c] = centres[classId]![c]! + 0.5 * next();
    z.data[4 * i + 3] = 1;
  });
  return { z, ledger };
};

/** Solves a x = b for a symmetric positive definite a, by elimination. */
const solve = (a: number[][], b: number[][]): number[][] => {
  const rows = a.map((row, i) => [...row, ...b[i]!]);
  rows.forEach((pivot, i) => {
    rows.forEach((row, j) => {
      if (i === j) return;
      const factor = row[i]! / pivot[i]!;
      row.forEach((_, c) => (row[c]! -= factor * pivot[c]!));
    });
  });
  return rows.map((row, i) => row.slice(a.length).map((value) => value / row[i]!));
};

describe('leave-one-out', () => {
  it('tells of each class of few parts how many a fit without them tells right: as such a fit does', async () => {
    const { z, ledger } = world();
    await using products = openProducts({ threads: 1 });
    const sample = sampleOf(ledger);
    const validation = await crossValidate(z, ledger, products);
    const found = await leaveOneOut(pick(z, sample.rows), sample, ledger, validation, products);
    expect([...found.keys()].toSorted()).toEqual(['close', 'few']);

    const { classIds, lambda, balancing, raised } = validation;
    const counts = new Map(classIds.map((id) => [id, ledger.filter(({ classId }) => classId === id).length]));
    const weight = classWeights(counts, balancing);
    const mean = ledger.reduce((sum, { classId }) => sum + weight.get(classId)!, 0) / ledger.length;
    const rowOf = (i: number) => [...z.data.subarray(4 * i, 4 * i + 4)];
    /** The class that a ridge fit of all others gives: (sum w z z^T + lambda I)^-1 sum w z y^T. */
    const without = (left: number): string => {
      const a = Array.from({ length: 4 }, (_, i) => Array.from({ length: 4 }, (__, j) => (i === j ? lambda : 0)));
      const b = Array.from({ length: 4 }, () => classIds.map(() => 0));
      ledger.forEach(({ classId }, i) => {
        if (i === left) return;
        const own = rowOf(i);
        const w = weight.get(classId)! / mean;
        for (let r = 0; r < 4; r += 1) {
          for (let c = 0; c < 4; c += 1) a[r]![c]! += w * own[r]! * own[c]!;
          b[r]![classIds.indexOf(classId)]! += w * own[r]!;
        }
      });
      const head = solve(a, b);
      const logits = classIds.map(
        (id, c) => rowOf(left).reduce((sum, value, r) => sum + value * head[r]![c]!, 0) + (raised.get(id) ?? 0),
      );
      return classIds[logits.indexOf(Math.max(...logits))]!;
    };
    for (const id of ['few', 'close']) {
      const own = ledger.flatMap(({ classId }, i) => (classId === id ? [i] : []));
      const right = own.filter((i) => without(i) === id).length;
      expect(found.get(id), id).toEqual({ right, of: own.length });
    }
    expect(found.get('few')!.right).toBeGreaterThan(found.get('close')!.right);
  });

  it('leaves the copies of one shot out together, and says nothing of a class of one shot or of enough parts', async () => {
    const { z, ledger } = world();
    const shot = (classId: string) => ledger.flatMap((row, i) => (row.classId === classId ? [i] : []));
    const twins = ledger.map((row) => (row.classId === 'few' ? { ...row, look: '0123456789abcdef' } : row));
    await using products = openProducts({ threads: 1 });
    const sample = sampleOf(twins);
    const validation = await crossValidate(z, twins, products);
    const found = await leaveOneOut(pick(z, sample.rows), sample, twins, validation, products);
    expect([...found.keys()]).toEqual(['close']);
    // One of them is no copy: of the six that are, none is left to be learnt from but it.
    const [first] = shot('few');
    const six = twins.map((row, i) => (i === first ? ledger[i]! : row));
    const again = sampleOf(six);
    const other = await leaveOneOut(pick(z, again.rows), again, six, await crossValidate(z, six, products), products);
    expect(other.get('few')!.of).toBe(7);
  });
});
