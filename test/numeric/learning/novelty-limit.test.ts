import { afterAll, describe, expect, it } from 'vitest';
import { reachableFalseAlarms } from '../../../main/learning/calibration.ts';
import { matrix, openProducts } from '../../../main/learning/dense.ts';
import { embed } from '../../../main/learning/embedding.ts';
import { gather, logitsOf, solveKnowledge } from '../../../main/learning/knowledge.ts';
import { eigenSymmetric } from '../../../main/learning/subspace.ts';
import { fitSpace, fitSpaceWithout, scoreNovelty, type NoveltyInput } from '../../../main/learning/novelty-score.ts';
import { randomOf, rowsOf, worldOf, type World } from './synthetic.ts';

const products = openProducts({ threads: 1 });
afterAll(() => products[Symbol.asyncDispose]());

const solve = ({ features, stages, ledger }: World) =>
  solveKnowledge(
    { features, stages, ledger, okIds: new Set(), criteria: { maxEscape: 1, maxOverkill: 1 } },
    { products },
  );

describe('the novelty limit with few parts', () => {
  it.each([5, 10, 20])(
    'calls no more known parts novel than it promises: %i parts in each of four classes',
    async (parts) => {
      let [novel, judged, promised] = [0, 0, 0];
      for (let seed = 1; seed <= 6; seed += 1) {
        const counts = Object.fromEntries(['a', 'b', 'c', 'd'].map((id) => [id, parts + 40]));
        // More features than parts: what was fitted lies closer to its own parts than to any other.
        const world = worldOf(counts, [60, 200], 1.2, seed);
        const place = (i: number) => i % (parts + 40);
        const all = world.ledger.map((_, i) => i);
        const { knowledge } = await solve(
          rowsOf(
            world,
            all.filter((i) => place(i) < parts),
          ),
        );
        const z = embed(
          world.features,
          world.stages,
          all.filter((i) => place(i) >= parts),
        );
        const scores = await scoreNovelty(knowledge.novelty, z, await logitsOf(knowledge, z, products), products);
        novel += scores.filter((score) => score > knowledge.thresholds.novelty).length;
        judged += scores.length;
        promised += knowledge.noveltyRate! / 6;
      }
      expect(promised).toBeCloseTo(reachableFalseAlarms(4 * parts), 9);
      // Three standard errors over six limits, each of which is itself a chance (Beta) value.
      expect(novel / judged).toBeLessThan(
        promised + 3 * Math.sqrt((promised * (1 - promised)) / judged + promised ** 2 / 6),
      );
    },
  );

  it('takes rows out of a model as if they had never been in it', async () => {
    const world = worldOf({ a: 30, b: 30, c: 12 }, [20, 60], 0.8);
    const z = embed(world.features, world.stages);
    const inputOf = async (rows: readonly number[]): Promise<NoveltyInput> => {
      const statistics = gather(z, world.ledger, rows);
      const weights = new Map(statistics.classIds.map((id) => [id, 1]));
      return {
        scatter: await statistics.weightedScatter(weights, products),
        classes: new Map(statistics.classIds.map((id) => [id, { ...statistics.of(id)!, weight: 1 }])),
      };
    };
    const all = world.ledger.map((_, i) => i);
    // A fold's share of two classes, and a whole class.
    const out = all.filter((i) => i % 5 === 0 || world.ledger[i]!.classId === 'c');
    const input = await inputOf(all);
    const whole = await fitSpace(input, products);
    const found = await fitSpaceWithout(input, whole, z, out, (i) => world.ledger[i]!.classId, products);
    expect([...found!.known]).toEqual(['a', 'b']);
    const left = all.filter((i) => !out.includes(i));
    const fresh = await fitSpace(await inputOf(left), products);
    const { space } = found!;
    space.mean.forEach((value, i) => expect(value).toBeCloseTo(fresh.mean[i]!, 9));
    // Both iterate, from different starts: the leading ones are settled.
    for (let k = 0; k < 5; k += 1) expect(space.variance[k]! / fresh.variance[k]!).toBeCloseTo(1, 3);
    expect(space.residual).toBeLessThan(1.1 * (fresh.residual + fresh.variance.at(-1)!) + 1e-6);
    expect(await fitSpaceWithout(input, whole, z, all, (i) => world.ledger[i]!.classId, products)).toBeNull();
  });
});

describe('eigenvectors of a symmetric matrix', () => {
  it.each([1, 2, 3, 7, 40])('of %i rows multiply to it and are at right angles', (n) => {
    const random = randomOf(n);
    const roots = matrix(
      n,
      n,
      Float64Array.from({ length: n * n }, () => random() - 0.5),
    );
    const a = matrix(n, n);
    // Half of the eigenvalues are zero.
    for (let i = 0; i < n; i += 1)
      for (let j = 0; j < n; j += 1)
        for (let k = 0; k < n; k += 2) a.data[i * n + j]! += roots.data[i * n + k]! * roots.data[j * n + k]!;
    const { values, vectors } = eigenSymmetric(a);
    expect(values.toSorted().toReversed()).toEqual(values);
    const column = (c: number) => Float64Array.from({ length: n }, (_, r) => vectors.data[r * n + c]!);
    for (let c = 0; c < n; c += 1) {
      const v = column(c);
      for (let r = 0; r < n; r += 1) {
        const product = v.reduce((sum, x, k) => sum + a.data[r * n + k]! * x, 0);
        expect(product).toBeCloseTo(values[c]! * v[r]!, 10);
      }
      for (let e = 0; e <= c; e += 1) {
        const dot = column(e).reduce((sum, x, k) => sum + x * v[k]!, 0);
        expect(dot).toBeCloseTo(e === c ? 1 : 0, 10);
      }
    }
  });
});
