import { afterAll, describe, expect, it } from 'vitest';
import { argmax } from '../../../main/learning/evaluation.ts';
import { matrix, openProducts, type Matrix } from '../../../main/learning/dense.ts';
import { embed, embeddingSize } from '../../../main/learning/embedding.ts';
import { asTheyAre, heldOutBesideSums } from '../../../main/learning/held-out-beside-sums.ts';
import { jointFit } from '../../../main/learning/joint.ts';
import { gather, logitsOf, solveKnowledge } from '../../../main/learning/knowledge.ts';
import { crossValidate, pick } from '../../../main/learning/selection.ts';
import { fitFeatureMap, isPoor, mapStatistics } from '../../../main/learning/statistics-map.ts';
import { carryOver } from '../../../main/compression/sums-of-others.ts';
import { randomOf, rowsOf, worldOf } from './synthetic.ts';

/* What other stations gave as sums, in the head of another model: as if their pictures were here, or as near as a map comes. */

const products = openProducts({ threads: 1 });
afterAll(() => products[Symbol.asyncDispose]());
const criteria = { maxEscape: 0.05, maxOverkill: 0.1 };
const okIds = new Set(['2']);
const stages = [8, 12];
const size = embeddingSize(stages);
const world = worldOf({ '7': 31, '2': 22, '40': 14 }, stages);
const all = world.ledger.map((_, i) => i);
/** The other station has all of class 40, and half of class 7. */
const theirs = all.filter(
  (i) => world.ledger[i]!.classId === '40' || (world.ledger[i]!.classId === '7' && i % 2 === 0),
);
const ours = all.filter((i) => !theirs.includes(i));
const own = rowsOf(world, ours);
const given = () => gather(embed(world.features, stages), world.ledger, theirs);

describe('on the same features', () => {
  it('the head is that of a joint fit with all pictures, whose code it shares nothing with', async () => {
    const { knowledge, statistics } = await solveKnowledge(
      { ...own, okIds, criteria, others: asTheyAre(given(), products) },
      { products },
    );
    expect(knowledge.classes).toEqual([
      { classId: '2', labelled: 22 },
      { classId: '40', labelled: 14 },
      { classId: '7', labelled: 31 },
    ]);
    expect(statistics.classIds).toEqual(['2', '7']);
    const ids = knowledge.classes.map(({ classId }) => classId);
    const joint = jointFit({
      features: world.features,
      stages,
      labels: world.ledger.map(({ classId }) => ids.indexOf(classId)),
      classes: 3,
      lambda: knowledge.lambda,
      balancing: knowledge.balancing,
    });
    const difference = Math.max(...joint.map((weight, i) => Math.abs(weight - knowledge.weights.data[i]!)));
    expect(difference).toBeLessThan(1e-9);
    const alone = await solveKnowledge({ ...own, okIds, criteria }, { products });
    expect(alone.knowledge.classes).toHaveLength(2);
  });

  it('a part is held out of a fit that has the sums whole', async () => {
    const z = embed(own.features, stages);
    const alone = await crossValidate(z, own.ledger, products);
    const picked = pick(z, alone.rows);
    const beside = await heldOutBesideSums(alone, picked, own.ledger, asTheyAre(given(), products), products);
    expect(beside.classIds).toEqual(['2', '40', '7']);
    const fold = beside.folds[0]!;
    const kept = alone.rows.filter((_, i) => beside.folds[i] !== fold).map((row) => ours[row]!);
    const taught = [...kept, ...theirs];
    const counts = ['2', '40', '7'].map((id) => world.ledger.filter(({ classId }) => classId === id).length);
    // Weighted as the whole ledger is: the fold that is missing changes no weight.
    const weights = counts.map((count) => count ** -beside.balancing);
    const total = counts.reduce((sum, count, c) => sum + count * weights[c]!, 0);
    const images = counts.reduce((a, b) => a + b, 0);
    const zAll = embed(world.features, stages);
    const a = Array.from({ length: size }, (_, i) =>
      Array.from({ length: size }, (_, j) => (i === j ? beside.lambda : 0)),
    );
    const b = Array.from({ length: size }, () => [0, 0, 0]);
    for (const row of taught) {
      const c = ['2', '40', '7'].indexOf(world.ledger[row]!.classId);
      const part = zAll.data.subarray(row * size, (row + 1) * size);
      for (let i = 0; i < size; i += 1) {
        for (let j = 0; j < size; j += 1) a[i]![j]! += ((weights[c]! * images) / total) * part[i]! * part[j]!;
        b[i]![c]! += ((weights[c]! * images) / total) * part[i]!;
      }
    }
    const head = gauss(a, b);
    beside.rows.forEach((row, i) => {
      if (beside.folds[i] !== fold) return;
      const part = z.data.subarray(row * size, (row + 1) * size);
      for (let c = 0; c < 3; c += 1) {
        const wanted = part.reduce((sum, value, j) => sum + value * head[j]![c]!, 0);
        expect(beside.logits.data[i * 3 + c]).toBeCloseTo(wanted, 8);
      }
    });
    expect(beside.balancedAccuracy).toBeGreaterThan(0.8);
  });
});

describe('on other features', () => {
  const shuffled = (n: number, groups: number) =>
    Array.from({ length: groups }, (_, g) => Array.from({ length: n }, (_, i) => i).filter((i) => i % groups === g));

  it('sums of what a linear map gives are mapped to the last digits, and the fit is told as whole', async () => {
    const random = randomOf(5);
    const from = embed(worldOf({ a: 60 }, stages, 0.9).features, stages);
    const map = matrix(size, 15);
    for (let i = 0; i < map.data.length; i += 1) map.data[i] = random() - 0.5;
    for (let i = 0; i < size; i += 1) map.data[i * 15 + 14] = i === size - 1 ? 1 : 0;
    const to = await products.multiply(from, map);
    const fitted = await fitFeatureMap(from, to, { groups: shuffled(60, 5), heldOut: 'folds' }, products);
    expect(fitted.fit).toMatchObject({ images: 60, heldOut: 'folds' });
    expect(fitted.fit.r2).toBeGreaterThan(0.99);
    expect(isPoor(fitted.fit)).toBe(false);
    const other = embed(worldOf({ '40': 25 }, stages, 0.9, 11).features, stages);
    const ledger = Array.from({ length: 25 }, () => ({ classId: '40', sha: '00' }));
    const mapped = await mapStatistics(gather(other, ledger), map, products);
    const wanted = gather(await products.multiply(other, map), ledger);
    expect(mapped.count('40')).toBe(25);
    closeTo(mapped.of('40')!.sum, wanted.of('40')!.sum);
    closeTo(mapped.packedOf('40'), wanted.packedOf('40'));
    // The constant stays one: its sum is the number of parts.
    expect(mapped.of('40')!.sum.at(-1)).toBeCloseTo(25, 12);
  });

  it('what has nothing to do with the old features is told as poor', async () => {
    const from = embed(worldOf({ a: 30, b: 30 }, stages).features, stages);
    const random = randomOf(9);
    const noise = Float32Array.from({ length: 60 * (size - 1) }, () => random());
    const { fit } = await fitFeatureMap(
      from,
      embed(noise, stages),
      { groups: shuffled(60, 5), heldOut: 'folds' },
      products,
    );
    expect(fit.r2).toBeLessThan(0.2);
    expect(isPoor(fit)).toBe(true);
  });

  it('a class that is known by mapped sums alone is recognised, and held-out parts are judged as new ones are', async () => {
    // Fewer pictures than features, as mostly: a map could know its pictures by heart.
    const ids = { a: 40, b: 40, c: 40, d: 40, e: 40 };
    const stages = [60, 80];
    const taught = worldOf(ids, stages, 1.6, 21);
    const width = 140;
    const mixed = changedOf(taught.features, width, 0.2);
    const half = (classId: string, odd: boolean) =>
      taught.ledger.flatMap((row, i) => (row.classId === classId && i % 2 === (odd ? 1 : 0) ? [i] : []));
    const here = ['a', 'b', 'c', 'd'].flatMap((id) => half(id, false));
    const part = (features: Float32Array, rows: readonly number[]) => {
      const out = new Float32Array(rows.length * width);
      rows.forEach((row, to) => out.set(features.subarray(row * width, (row + 1) * width), to * width));
      return out;
    };
    const ledger = here.map((i) => taught.ledger[i]!);
    const statistics = gather(embed(taught.features, stages), taught.ledger, half('e', false));
    const features = part(mixed, here);
    const { others, fit } = await carryOver(
      { statistics, files: [], unlisted: 0, from: part(taught.features, here) },
      features,
      {
        stages,
        ledger,
        products,
      },
    );
    expect(fit).toMatchObject({ images: 80, heldOut: 'classes' });
    const { knowledge, crossValidation } = await solveKnowledge(
      { features, stages, ledger, okIds: new Set(['a']), criteria, others },
      { products },
    );
    const test = ['a', 'b', 'c', 'd', 'e'].flatMap((id) => half(id, true));
    const logits = await logitsOf(knowledge, embed(part(mixed, test), stages), products);
    const share = recall(
      logits,
      knowledge.classes.map(({ classId }) => classId),
      test.map((i) => taught.ledger[i]!.classId),
    );
    expect(share(['e'])).toBeGreaterThan(0.8);
    expect(share(['a', 'b', 'c', 'd'])).toBeGreaterThan(0.8);
    // Had the map seen the parts that are held out, the sums would draw them to e.
    expect(Math.abs(crossValidation.balancedAccuracy! - share(['a', 'b', 'c', 'd']))).toBeLessThan(0.1);
  });
});

/** Raw features of a changed backbone: all mixed with all, and noise. */
function changedOf(features: Float32Array, width: number, noise: number): Float32Array {
  const random = randomOf(3);
  const mix = Array.from({ length: width * width }, (_, at) =>
    Math.floor(at / width) === at % width ? 0.8 : 0.4 * (random() - 0.5),
  );
  return features.map((_, at) => {
    const [row, j] = [Math.floor(at / width), at % width];
    let sum = 0;
    for (let i = 0; i < width; i += 1) sum += features[row * width + i]! * mix[i * width + j]!;
    return Math.max(0, sum + noise * (random() - 0.5));
  });
}

function recall(logits: Matrix, ids: readonly string[], truth: readonly string[]) {
  return (of: readonly string[]): number => {
    const rows = truth.flatMap((id, i) => (of.includes(id) ? [i] : []));
    return rows.filter((i) => ids[argmax(logits.data, i * ids.length, ids.length)] === truth[i]).length / rows.length;
  };
}

function closeTo(values: Float64Array, wanted: Float64Array): void {
  expect(Math.max(...values.map((value, i) => Math.abs(value - wanted[i]!)))).toBeLessThan(1e-9);
}

/** Elimination with pivots, written out: A x = b. */
function gauss(a: number[][], b: number[][]): number[][] {
  const n = a.length;
  for (let j = 0; j < n; j += 1) {
    const pivot = a.reduce((best, row, i) => (i >= j && Math.abs(row[j]!) > Math.abs(a[best]![j]!) ? i : best), j);
    [a[j], a[pivot]] = [a[pivot]!, a[j]!];
    [b[j], b[pivot]] = [b[pivot]!, b[j]!];
    for (let i = 0; i < n; i += 1) {
      if (i === j) continue;
      const factor = a[i]![j]! / a[j]![j]!;
      a[i] = a[i]!.map((value, t) => value - factor * a[j]![t]!);
      b[i] = b[i]!.map((value, t) => value - factor * b[j]![t]!);
    }
  }
  return b.map((row, i) => row.map((value) => value / a[i]![i]!));
}
