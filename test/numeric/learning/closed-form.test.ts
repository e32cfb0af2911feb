import { afterAll, describe, expect, it } from 'vitest';
import {
  openProducts,
  matrix,
  cholesky,
  solveCholesky,
  invertLower,
  type Matrix,
} from '../../../main/learning/dense.ts';
import { DRAWINGS, heldOutRepeatedly } from '../../../main/compression/plan/repeated-folds.ts';
import { embed } from '../../../main/learning/embedding.ts';
import { jointFit, jointPredict } from '../../../main/learning/joint.ts';
import { gather, solveKnowledge } from '../../../main/learning/knowledge.ts';
import { createAnalyticLearner } from '../../../main/learning/learners/analytic.ts';
import { FOLDS, foldsOf } from '../../../main/learning/folds.ts';
import { nearDuplicateRadii } from '../../../main/learning/near-duplicates.ts';
import { crossValidate, representativeRows, type Choice } from '../../../main/learning/selection.ts';
import { solveHead } from '../../../main/learning/solve.ts';
import { Statistics } from '../../../main/learning/statistics.ts';
import { randomOf, rowsOf, worldOf, type World } from './synthetic.ts';

const products = openProducts({ threads: 1 });
afterAll(() => products[Symbol.asyncDispose]());

const random = randomOf(3);
const noise = (rows: number, columns: number): Matrix =>
  matrix(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => random() - 0.5),
  );
const largest = (values: Iterable<number>) => Math.max(...Array.from(values, Math.abs));
const difference = (a: Matrix, b: Matrix) => largest(a.data.map((v, i) => v - b.data[i]!)) / largest(b.data);

const world = worldOf({ '7': 60, '2': 14, '40': 33 }, [24, 40]);
const options = { okIds: new Set(['2']), criteria: { maxEscape: 0.05, maxOverkill: 0.1 } };
const solve = (of: World) => solveKnowledge({ ...of, ...options }, { products });
const shuffledRows = (of: World, seed: number): World => {
  const draw = randomOf(seed);
  return rowsOf(
    of,
    of.ledger
      .map((_, i) => [draw(), i] as const)
      .sort(([a], [b]) => a - b)
      .map(([, i]) => i),
  );
};

describe('dense algebra', () => {
  it('multiplies alike in JavaScript and in ORT, transposed or not', async () => {
    for (const [m, k, n] of [
      [3, 5, 4],
      [90, 80, 70],
    ] as const) {
      for (const transposeA of [false, true]) {
        for (const transposeB of [false, true]) {
          const a = noise(m, k);
          const b = noise(k, n);
          const flip = ({ rows, columns, data }: Matrix) =>
            matrix(
              columns,
              rows,
              Float64Array.from({ length: data.length }, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!),
            );
          const got = await products.multiply(transposeA ? flip(a) : a, transposeB ? flip(b) : b, {
            transposeA,
            transposeB,
          });
          for (let i = 0; i < m; i += 1) {
            for (let j = 0; j < n; j += 1) {
              let sum = 0;
              for (let t = 0; t < k; t += 1) sum += a.data[i * k + t]! * b.data[t * n + j]!;
              expect(Math.abs(got.data[i * n + j]! - sum)).toBeLessThan(1e-12);
            }
          }
        }
      }
    }
  });

  it('factors, solves and inverts across block borders', async () => {
    for (const n of [1, 7, 192, 193, 450]) {
      const z = noise(n + 3, n);
      const a = await products.multiply(z, z, { transposeA: true });
      for (let i = 0; i < n; i += 1) a.data[i * n + i]! += 0.1;
      const original = matrix(n, n, a.data.slice());
      const factor = await cholesky(a, products);
      const b = noise(n, 3);
      const x = await solveCholesky(factor, b, products);
      expect(difference(await products.multiply(original, x), b)).toBeLessThan(1e-9);
      const inverse = await invertLower(factor, products);
      const identity = await products.multiply(
        inverse,
        await products.multiply(original, inverse, { transposeB: true }),
      );
      for (let i = 0; i < n; i += 1) expect(Math.abs(identity.data[i * n + i]! - 1)).toBeLessThan(1e-8);
    }
  });

  it('refuses what is not positive definite', async () => {
    const a = matrix(2, 2, Float64Array.from([1, 2, 2, 1]));
    await expect(cholesky(a, products)).rejects.toMatchObject({ code: 'SINGULAR_STATISTICS' });
  });
});

describe('the head', () => {
  it('solves its normal equations', async () => {
    const z = embed(world.features, world.stages);
    const statistics = gather(z, world.ledger);
    const { weights, classIds } = await solveHead(statistics, { lambda: 0.1, balancing: 1 }, products);
    expect(classIds).toEqual(['2', '40', '7']);
    // The gradient of sum_i w_i |z_i W - y_i|^2 + lambda |W|^2, written out, is zero.
    const counts = new Map(classIds.map((id) => [id, world.ledger.filter((row) => row.classId === id).length]));
    const n = world.ledger.length;
    const gradient = new Float64Array(weights.data.length).map((_, i) => 0.1 * weights.data[i]!);
    const logits = await products.multiply(z, weights);
    world.ledger.forEach(({ classId }, i) => {
      const weight = n / 3 / counts.get(classId)!;
      classIds.forEach((id, c) => {
        const residual = weight * (logits.data[i * 3 + c]! - (id === classId ? 1 : 0));
        for (let j = 0; j < z.columns; j += 1) gradient[j * 3 + c]! += residual * z.data[i * z.columns + j]!;
      });
    });
    expect(largest(gradient)).toBeLessThan(1e-9);
  });

  it('equals the independent joint fit, and sees one altered number of one class', async () => {
    const { knowledge, statistics } = await solve(world);
    const order = knowledge.classes.map(({ classId }) => classId);
    const again = shuffledRows(world, 99);
    const joint = jointFit({
      features: again.features,
      stages: again.stages,
      labels: again.ledger.map(({ classId }) => order.indexOf(classId)),
      classes: 3,
      lambda: knowledge.lambda,
      balancing: knowledge.balancing,
    });
    const reference = matrix(knowledge.weights.rows, 3, joint);
    expect(difference(knowledge.weights, reference)).toBeLessThan(1e-9);

    const entry = statistics.of('7')!;
    expect(entry.packed).not.toBeNull();
    entry.packed![500]! *= 1.001;
    const altered = await solveHead(statistics, knowledge, products);
    expect(difference(altered.weights, reference)).toBeGreaterThan(1e-6);
  });

  it('judges as its joint fit does', async () => {
    const { knowledge } = await solve(world);
    const logits = await products.multiply(embed(world.features, world.stages), knowledge.weights);
    const given = jointPredict(knowledge.weights.data, { ...world, classes: 3 });
    given.forEach((c, i) => {
      const row = logits.data.subarray(i * 3, i * 3 + 3);
      expect(row[c]).toBe(Math.max(...row));
    });
  });
});

describe('what the knowledge does not depend on', () => {
  it('order: the same to the last bit', async () => {
    const first = await solve(world);
    const second = await solve(shuffledRows(world, 5));
    expect(second.knowledge).toEqual(first.knowledge);
  });

  it('the split into tasks, and the order of class ids', async () => {
    const once = createAnalyticLearner({ products, stages: world.stages });
    await once.learn(world.features, world.ledger);
    const split = createAnalyticLearner({ products, stages: world.stages });
    for (const classId of ['7', '2', '40']) {
      const part = rowsOf(
        world,
        world.ledger.flatMap((row, i) => (row.classId === classId ? [i] : [])),
      );
      const half = Math.ceil(part.ledger.length / 2);
      for (const rows of [part.ledger.map((_, i) => i).slice(0, half), part.ledger.map((_, i) => i).slice(half)]) {
        const some = rowsOf(part, rows);
        await split.learn(some.features, some.ledger);
      }
    }
    expect(split.classIds).toEqual(once.classIds);
    expect(split.choice).toEqual(once.choice);
    expect(difference(split.weights, once.weights)).toBeLessThan(1e-10);
  });

  it('images and classes that were taken out again', async () => {
    const z = embed(world.features, world.stages);
    const gone = new Set(world.ledger.flatMap(({ classId }, i) => (classId === '40' || i % 9 === 0 ? [i] : [])));
    const never = gather(
      z,
      world.ledger,
      world.ledger.flatMap((_, i) => (gone.has(i) ? [] : [i])),
    );
    const removed = gather(z, world.ledger);
    for (const i of gone) {
      const row = z.data.subarray(i * z.columns, (i + 1) * z.columns);
      if (world.ledger[i]!.classId !== '40') removed.remove(world.ledger[i]!.classId, row);
    }
    removed.forget('40');
    expect(removed.classIds).toEqual(['2', '7']);
    expect(removed.classIds.map((id) => removed.count(id))).toEqual(never.classIds.map((id) => never.count(id)));
    const choice = { lambda: 0.03, balancing: 0.5 };
    const a = await solveHead(removed, choice, products);
    const b = await solveHead(never, choice, products);
    expect(difference(a.weights, b.weights)).toBeLessThan(1e-10);
    // Of a class still kept as rows nothing at all is left.
    expect(removed.of('2')).toEqual(never.of('2'));
    expect(() => removed.remove('2', z.data.subarray(0, z.columns))).toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' }),
    );
  });

  it('the station that saw it: statistics of two add up to those of both', async () => {
    const z = embed(world.features, world.stages);
    const [left, right] = [0, 1].map((part) =>
      gather(
        z,
        world.ledger,
        world.ledger.flatMap((_, i) => (i % 2 === part ? [i] : [])),
      ),
    );
    // One of them keeps class 7 as rows, the union packs it.
    expect(left!.of('7')!.rows).not.toBeNull();
    left!.merge(right!);
    const whole = gather(z, world.ledger);
    const choice = { lambda: 0.03, balancing: 1 };
    expect(
      difference(
        (await solveHead(left!, choice, products)).weights,
        (await solveHead(whole, choice, products)).weights,
      ),
    ).toBeLessThan(1e-10);
    const packed = new Statistics(z.columns);
    packed.merge(whole);
    expect(packed.of('7')!.count).toBe(60);
    packed.merge(whole);
    expect(packed.of('7')!.packed!.every((v, i) => Math.abs(v - 2 * whole.of('7')!.packed![i]!) < 1e-9)).toBe(true);
  });
});

/** What each row is told by a fit to the rows of the other folds. Class weights stay those of the whole ledger; so the rows are weighted by hand. */
async function fittedWithout(folds: readonly number[], z: Matrix, { lambda, balancing }: Choice): Promise<Matrix> {
  const ids = [...new Set(world.ledger.map(({ classId }) => classId))].sort();
  const n = world.ledger.length;
  const counts = ids.map((id) => world.ledger.filter((row) => row.classId === id).length);
  const total = counts.reduce((sum, count) => sum + count * count ** -balancing, 0);
  const told = matrix(n, ids.length);
  for (let fold = 0; fold < FOLDS; fold += 1) {
    const a = matrix(z.columns, z.columns);
    const b = matrix(z.columns, ids.length);
    world.ledger.forEach(({ classId }, i) => {
      if (folds[i] === fold) return;
      const c = ids.indexOf(classId);
      const weight = (counts[c]! ** -balancing * n) / total;
      const row = z.data.subarray(i * z.columns, (i + 1) * z.columns);
      row.forEach((v, p) => {
        b.data[p * ids.length + c]! += weight * v;
        row.forEach((w, q) => (a.data[p * z.columns + q]! += weight * v * w));
      });
    });
    for (let i = 0; i < z.columns; i += 1) a.data[i * z.columns + i]! += lambda;
    const fitted = await products.multiply(z, await solveCholesky(await cholesky(a, products), b, products));
    for (let i = 0; i < n; i += 1) if (folds[i] === fold) told.data.set(rowOf(fitted, i), i * ids.length);
  }
  return told;
}
const rowOf = ({ data, columns }: Matrix, row: number) => data.subarray(row * columns, (row + 1) * columns);

describe('choosing lambda and g', () => {
  const z = embed(world.features, world.stages);
  const fixed = { lambda: 0.05, balancing: 0.5 };

  it('gets from one factorisation what five fits without a fold give', async () => {
    const { rows, logits } = await crossValidate(z, world.ledger, products, { fixed });
    expect(new Set(rows).size).toBe(world.ledger.length);
    const expected = await fittedWithout(foldsOf(world.ledger), z, fixed);
    rows.forEach((row, i) =>
      expect(largest(rowOf(logits, i).map((v, c) => v - rowOf(expected, row)[c]!))).toBeLessThan(1e-8),
    );
  });

  it('gives the mean over the drawings of the folds where models are compared', async () => {
    const all = world.ledger.map((_, i) => i);
    const { rows, logits } = await heldOutRepeatedly(z, all, world.ledger, products, { fixed });
    const drawings = await Promise.all(
      Array.from({ length: DRAWINGS }, (_, drawing) =>
        fittedWithout(foldsOf(world.ledger, nearDuplicateRadii, drawing), z, fixed),
      ),
    );
    rows.forEach((row, i) => {
      const expected = rowOf(logits, i).map((_, c) =>
        drawings.reduce((sum, each) => sum + rowOf(each, row)[c]! / DRAWINGS, 0),
      );
      expect(largest(rowOf(logits, i).map((v, c) => v - expected[c]!))).toBeLessThan(1e-8);
    });
    // Other folds, else the mean says nothing.
    expect(difference(drawings[0]!, drawings[1]!)).toBeGreaterThan(1e-6);
  });

  it('regularises more where there is more noise', async () => {
    const calm = worldOf({ a: 30, b: 30 }, [60], 0.2);
    const wild = worldOf({ a: 30, b: 30 }, [60], 3);
    const of = async (w: World) => (await crossValidate(embed(w.features, w.stages), w.ledger, products)).lambda;
    expect(await of(wild)).toBeGreaterThan(await of(calm));
  });

  it('takes part of a large ledger, evenly and by content', () => {
    const { ledger } = worldOf({ few: 5, some: 80, many: 400 }, [4]);
    const rows = representativeRows(ledger, 150);
    const count = (id: string) => rows.filter((row) => ledger[row]!.classId === id).length;
    expect([count('few'), count('some'), count('many')]).toEqual([5, 72, 73]);
    const reversed = representativeRows(ledger.toReversed(), 150).map((row) => ledger.toReversed()[row]!.sha);
    expect(reversed).toEqual(rows.map((row) => ledger[row]!.sha));
  });

  it('copes with one image, one class, and classes of one image', async () => {
    for (const counts of [{ a: 1 }, { a: 5 }, { a: 1, b: 1 }, { a: 1, b: 20 }, { a: 2, b: 1, c: 30 }] as Record<
      string,
      number
    >[]) {
      const { knowledge } = await solve(worldOf(counts, [12, 20]));
      expect(knowledge.classes.map(({ classId }) => classId)).toEqual(Object.keys(counts));
      expect(knowledge.weights.data.every(Number.isFinite)).toBe(true);
      expect(knowledge.temperature).toBeGreaterThan(0);
      expect(Object.values(knowledge.thresholds).every(Number.isFinite)).toBe(true);
    }
    await expect(solve({ stages: [3], features: new Float32Array(0), ledger: [] })).rejects.toMatchObject({
      code: 'TOO_FEW_CLASSES',
    });
  });
});
