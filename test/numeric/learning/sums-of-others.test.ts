import { afterAll, describe, expect, it } from 'vitest';
import { argmax } from '../../../main/learning/evaluation.ts';
import { matrix, openProducts, type Matrix } from '../../../main/learning/dense.ts';
import { embed, embeddingSize } from '../../../main/learning/embedding.ts';
import { asTheyAre, heldOutByHeads } from '../../../main/learning/held-out-heads.ts';
import { jointFit } from '../../../main/learning/joint.ts';
import { gather, logitsOf, solveKnowledge } from '../../../main/learning/knowledge.ts';
import {
  fitNoveltyScale,
  fitSpace,
  joinSigns,
  scoreNovelty,
  signsOf,
  type Signs,
} from '../../../main/learning/novelty-score.ts';
import {
  crossValidate,
  crossValidateSample,
  inFolds,
  pick,
  representativeRows,
} from '../../../main/learning/selection.ts';
import { classWeights } from '../../../main/learning/solve.ts';
import { Statistics } from '../../../main/learning/statistics.ts';
import { fitFeatureMap, isPoor, mapSums } from '../../../main/learning/statistics-map.ts';
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
    const beside = await heldOutByHeads(alone, alone, picked, own.ledger, asTheyAre(given(), products), { products });
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

  it('a part is judged beside no sums as without, also where not all parts take part', async () => {
    const z = embed(own.features, stages);
    const sample = inFolds(representativeRows(own.ledger, 20), own.ledger);
    const picked = pick(z, sample.rows);
    const fixed = { lambda: 1, balancing: 0.5 };
    const alone = await crossValidateSample(picked, sample, own.ledger, products, { fixed });
    const nothing = asTheyAre(new Statistics(size), products);
    const beside = await heldOutByHeads(alone, sample, picked, own.ledger, nothing, { products });
    closeTo(beside.logits.data, alone.logits.data);
    const byHeads = await heldOutByHeads(alone, sample, picked, own.ledger, null, { products });
    expect(byHeads.logits.data).toEqual(beside.logits.data);
    expect(byHeads.balancedAccuracy).toBe(alone.balancedAccuracy);
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
    const weights = new Map([['40', 0.7]]);
    const exact = { matrix: map, residual: matrix(15, 15) };
    const mapped = await mapSums(gather(other, ledger), weights, exact, products);
    const wanted = gather(await products.multiply(other, map), ledger);
    closeTo(mapped.sums.get('40')!, wanted.of('40')!.sum);
    closeTo(mapped.scatter.data, (await wanted.weightedScatter(weights, products)).data);
    // The constant stays one: its sum is the number of parts.
    expect(mapped.sums.get('40')!.at(-1)).toBeCloseTo(25, 12);
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
    const { knowledge, crossValidation, fit, fresh } = await besideMapped(21);
    expect(fit).toMatchObject({ images: 80, heldOut: 'classes' });
    const z = embed(fresh.features, fresh.stages);
    const share = recall(
      await logitsOf(knowledge, z, products),
      knowledge.classes.map(({ classId }) => classId),
      fresh.ledger.map(({ classId }) => classId),
    );
    expect(share(['e'])).toBeGreaterThan(0.8);
    expect(share(['a', 'b', 'c', 'd'])).toBeGreaterThan(0.8);
    // Had the map seen the parts that are held out, the sums would draw them to e.
    expect(Math.abs(crossValidation.balancedAccuracy! - share(['a', 'b', 'c', 'd']))).toBeLessThan(0.1);
  });

  it('parts of a class that is known by mapped sums alone are not new, though the map leaves much over', async () => {
    for (const seed of [1, 2]) {
      const { knowledge, fit, fresh } = await besideMapped(seed);
      expect(fit!.r2).toBeLessThan(0.1);
      const mapped = fresh.ledger.flatMap(({ classId }, i) => (classId === 'e' ? [i] : []));
      const z = embed(fresh.features, fresh.stages, mapped);
      const scores = await scoreNovelty(knowledge.novelty, z, await logitsOf(knowledge, z, products), products);
      const novel = scores.filter((score) => score > knowledge.thresholds.novelty).length;
      expect(novel / mapped.length).toBeLessThan(0.5);
    }
  });

  it('the novelty limit is that of models and maps which no held-out part has had a hand in', async () => {
    const { knowledge, crossValidation, own, others } = await besideMapped(21);
    const { rows, folds, logits } = crossValidation;
    const z = embed(own.features, own.stages);
    const counts = new Map(['a', 'b', 'c', 'd', 'e'].map((id) => [id, 20]));
    const weights = classWeights(counts, crossValidation.balancing);
    const signs: Signs[] = [];
    for (const fold of new Set(folds)) {
      const held = rows.flatMap((_, i) => (folds[i] === fold ? [i] : []));
      const left = rows.filter((_, i) => folds[i] !== fold);
      const kept = gather(z, own.ledger, left);
      const given = await others.weighted(weights, new Set(held.map((i) => rows[i]!)));
      const scatter = await kept.weightedScatter(weights, products);
      const total = scatter.data.map((value, i) => value + given.scatter.data[i]!);
      const classes = ['a', 'b', 'c', 'd', 'e'].map((id) => {
        const { count, sum } = kept.of(id) ?? { count: 20, sum: given.sums.get(id)! };
        return [id, { count, sum, weight: weights.get(id)! }] as const;
      });
      // Only own parts tell directions.
      const space = await fitSpace(
        { scatter: matrix(z.columns, z.columns, total), classes: new Map(classes), samples: rows.length },
        products,
      );
      const part = pick(
        z,
        held.map((i) => rows[i]!),
      );
      signs.push(await signsOf(space, part, pick(logits, held), products));
    }
    const { scale, limit } = fitNoveltyScale(joinSigns(signs));
    expect(knowledge.novelty.rank).toBe(32);
    expect(knowledge.thresholds.novelty).toBeCloseTo(limit, 6);
    expect(knowledge.novelty.scale.constant).toBeCloseTo(scale.constant, 6);
  });
});

/** A station with half of the parts of classes a to d; all it knows of e are sums on other features. `fresh`: the other parts. */
async function besideMapped(seed: number) {
  // Fewer pictures than features, as mostly: a map could know its pictures by heart.
  const stages = [60, 80];
  const taught = worldOf({ a: 40, b: 40, c: 40, d: 40, e: 40 }, stages, 1.6, seed);
  const mixed = { ...taught, features: changedOf(taught.features, 140, 0.2) };
  const half = (classId: string, odd: boolean) =>
    taught.ledger.flatMap((row, i) => (row.classId === classId && i % 2 === (odd ? 1 : 0) ? [i] : []));
  const here = ['a', 'b', 'c', 'd'].flatMap((id) => half(id, false));
  const own = rowsOf(mixed, here);
  const { features, ledger } = own;
  const statistics = gather(embed(taught.features, stages), taught.ledger, half('e', false));
  const { others, fit } = await carryOver(
    { statistics, files: [], unlisted: 0, from: rowsOf(taught, here).features },
    features,
    {
      stages,
      ledger,
      products,
    },
  );
  const solved = await solveKnowledge(
    { features, stages, ledger, okIds: new Set(['a']), criteria, others },
    { products },
  );
  const fresh = rowsOf(
    mixed,
    ['a', 'b', 'c', 'd', 'e'].flatMap((id) => half(id, true)),
  );
  return { ...solved, fit, own, others, fresh };
}

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
