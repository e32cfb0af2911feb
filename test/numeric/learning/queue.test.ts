import { expect, it } from 'vitest';
import { createRandom } from '../../../main/capture/simulated/random.ts';
import { matrix, openProducts } from '../../../main/learning/dense.ts';
import { embed } from '../../../main/learning/embedding.ts';
import { curveSizes, labelCurveOf, labelsNeeded } from '../../../main/learning/label-curve.ts';
import { likenessOf, likenessOfMany, rankQueue, usefulness } from '../../../main/learning/queue.ts';

const rows = (list: number[][]) => ({
  ...matrix(list.length, list[0]!.length),
  data: Float64Array.from(list.flat()),
});

it('a part is useful where it is novel or lies between classes, and broken numbers are not a reason to hide it', () => {
  const of = (novelty: number, margin: number) => usefulness({ novelty, noveltyLimit: 1, margin });
  expect(of(-5, 1)).toBeLessThan(0.01);
  expect(of(1, 1)).toBeCloseTo(0.5, 9);
  expect(of(3, 1)).toBeGreaterThan(0.99);
  expect(of(-5, 0)).toBe(1);
  expect(of(-5, 0.2)).toBeGreaterThan(of(-5, 0.6));
  expect(of(Number.NaN, 1)).toBe(1);
});

it('the most useful first, its likes later and in its group, an unreadable one alone', () => {
  const z = rows([
    [1, 0.01, 0],
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
    [Number.NaN, Number.NaN, Number.NaN],
  ]);
  const likeness = likenessOf(z);
  const ranked = rankQueue(likeness, [0.9, 1, 0.7, 0.2, 0.5]);
  // 0 and 1 are like each other, so typical: whichever comes second is less useful than what stands alone.
  expect(ranked.map(({ index }) => index)).toEqual([1, 2, 4, 0, 3]);
  expect(ranked.map(({ usefulness: useful }) => useful)).toEqual(
    ranked.map(({ usefulness: useful }) => useful).toSorted((a, b) => b - a),
  );
  const groupOf = new Map(ranked.map(({ index, groupId }) => [index, groupId]));
  expect(groupOf.get(0)).toBe(1);
  expect(groupOf.get(1)).toBe(1);
  expect([groupOf.get(2), groupOf.get(3), groupOf.get(4)]).toEqual([null, null, null]);
  expect(rankQueue(likeness, [0.9, 1, 0.7, 0.2, 0.5], { first: 2 }).map(({ index }) => index)).toEqual([1, 2]);
  // What is like a labelled part waits, however useful by itself.
  const beside = rankQueue(likeness, [0, 1, 0.7, 0.2, 0.5], { labelled: [0] }).map(({ index }) => index);
  expect(beside.slice().sort()).toEqual([1, 2, 3, 4]);
  expect(beside[0]).toBe(2);
});

it('while nothing is known, first the parts that stand for most others, one of each kind, and outliers last', async () => {
  const random = createRandom(9);
  const width = 16;
  const kinds = [12, 8, 5];
  const list = kinds.flatMap((count, kind) =>
    Array.from({ length: count }, () =>
      Array.from({ length: width }, (_, j) => (j % 4 === kind ? 4 : 1) + 0.2 * random.normal()),
    ),
  );
  for (const at of [3, 7]) list.push(Array.from({ length: width }, (_, j) => (j === at ? 9 : 1)));
  const z = rows(list);
  await using products = openProducts({ threads: 1 });
  const likeness = await likenessOfMany(z, products);
  const kindOf = (index: number) => (index < 12 ? 0 : index < 20 ? 1 : index < 25 ? 2 : 3);
  const order = rankQueue(likeness, null).map(({ index }) => kindOf(index));
  expect(order.slice(0, 3).sort()).toEqual([0, 1, 2]);
  expect(order).toHaveLength(27);
  // Where one kind is labelled, the others come first.
  const rest = rankQueue(likeness, null, { labelled: [0], first: 2 }).map(({ index }) => kindOf(index));
  expect(rest.sort()).toEqual([1, 2]);
  // Both ways to the same table.
  const same = likenessOf(z);
  expect(Math.abs(same.of(3, 20) - likeness.of(3, 20))).toBeLessThan(1e-12);
});

it('points of a curve, and the labels from which on it stays above a value', () => {
  expect(curveSizes(65, 320)).toEqual([10, 15, 20, 30, 40, 60, 65]);
  expect(curveSizes(8, 320)).toEqual([8]);
  expect(labelsNeeded([10, 20, 30, 40], [0.9, 0.5, 0.8, 0.9], 0.8)).toBe(30);
  expect(labelsNeeded([10, 20], [0.9, 0.5], 0.8)).toBeNull();
});

it('where defects are rare the queue reaches with fewer labels what random order reaches; test labels change no choice', async () => {
  await using products = openProducts({ threads: 1 });
  const random = createRandom(4);
  const width = 24;
  const classes = ['ok', 'a', 'b', 'c'];
  const make = (count: number, share: (i: number) => string, tag: string) => {
    const images = Array.from({ length: count }, (_, i) => ({
      className: share(i),
      sha: `${tag}${(i * 2654435761) % 2 ** 32}`.padStart(64, '0'),
      look: '0'.repeat(16),
    }));
    const features = new Float32Array(count * width);
    images.forEach(({ className }, i) => {
      for (let j = 0; j < width; j += 1) {
        const level = className !== 'ok' && j % 4 === classes.indexOf(className) ? 2 : 1;
        features[i * width + j] = Math.max(0.01, level + 0.25 * random.normal());
      }
    });
    return { images, features, z: embed(features, [width]) };
  };
  const pool = make(300, (i) => (i % 10 === 0 ? classes[1 + ((i / 10) % 3)]! : 'ok'), 'a');
  const test = make(200, (i) => classes[i % 4]!, 'b');
  const run = { stages: [width], products };
  const sizes = [10, 15, 20, 30, 60];
  const queue = await labelCurveOf(pool, test, sizes, null, run);
  const mean = sizes.map(() => 0);
  for (let seed = 0; seed < 4; seed += 1) {
    (await labelCurveOf(pool, test, sizes, seed, run)).forEach((x, i) => (mean[i]! += x / 4));
  }
  // At 30 labels far ahead, and beyond what random order has with twice as many.
  expect(queue[3]!).toBeGreaterThan(mean[3]! + 0.1);
  expect(queue[3]!).toBeGreaterThan(mean[4]!);
  // Random order does not read the features, the queue no label that was not asked for.
  const relabelled = { ...test, images: test.images.map((image) => ({ ...image, className: 'ok' })) };
  expect((await labelCurveOf(pool, relabelled, [10], null, run))[0]).not.toBe(queue[0]);
});
