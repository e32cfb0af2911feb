import { afterAll, describe, expect, it } from 'vitest';
import { FALSE_ALARMS } from '../../../main/learning/calibration.ts';
import { matrix, openProducts } from '../../../main/learning/dense.ts';
import { distancesOf } from '../../../main/learning/novelty.ts';
import { fitNoveltyScale, scoreNovelty, type NoveltyModel } from '../../../main/learning/novelty-score.ts';
import { randomOf } from '../../numeric/learning/synthetic.ts';

const products = openProducts({ threads: 1 });
afterAll(() => products[Symbol.asyncDispose]());

/** Two directions out of three features; class means at (1, 0) and (0, 1), unit covariance, half of it for all parts. */
const space = {
  rank: 2,
  mean: Float64Array.of(0, 0, 0),
  directions: matrix(3, 2, Float64Array.of(1, 0, 0, 1, 0, 0)),
  variance: Float64Array.of(2, 2),
  residual: 0,
  precision: Float64Array.of(0.5, 0.5),
  whitening: matrix(2, 2, Float64Array.of(1, 0, 0, 1)),
  centres: matrix(2, 2, Float64Array.of(1, 0, 0, 1)),
};

describe('the novelty score', () => {
  it('is what it says on a worked example', async () => {
    // y = (3, 4): nearest mean (0, 1), 9 + 9 = 18; all parts 25 / 2; relative (18 - 12.5) / 2 = 2.75; cosine 4 / 5.
    const { relative, cosine } = await distancesOf(space, matrix(1, 2, Float64Array.of(3, 4)), products);
    expect(relative[0]).toBeCloseTo(2.75, 9);
    expect(cosine[0]).toBeCloseTo(-0.8, 5);
    const model: NoveltyModel = {
      ...space,
      scale: { constant: 10, factors: { relative: 4, cosine: 5, outside: 1, doubt: 100 } },
    };
    // Outside: 2^2. Logits (0.6, 0.2): doubt 0.4 - 1.2 = -0.8. 10 + 11 - 4 + 4 - 80.
    const z = matrix(1, 4, Float64Array.of(3, 4, 2, 1));
    const [score] = await scoreNovelty(model, z, matrix(1, 2, Float64Array.of(0.6, 0.2)), products);
    expect(score).toBeCloseTo(-59, 4);
  });

  it('calls no more fresh known parts novel than was chosen', () => {
    const random = randomOf(5);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const signs = (count: number) => {
      const of = (centre: number, scale: number) =>
        Float64Array.from({ length: count }, () => centre + scale * normal());
      return { relative: of(5, 2), cosine: of(-0.6, 0.1), outside: of(0.2, 0.01), doubt: of(-0.9, 0.2) };
    };
    const { scale, limit } = fitNoveltyScale(signs(2000));
    const fresh = signs(4000);
    const score = (i: number, s = fresh) =>
      scale.constant +
      scale.factors.relative * s.relative[i]! +
      scale.factors.cosine * s.cosine[i]! +
      scale.factors.outside * s.outside[i]! +
      scale.factors.doubt * s.doubt[i]!;
    const alarms = fresh.relative.filter((_, i) => score(i) > limit).length / 4000;
    // Within three standard errors of the limit's own quantile and of the count.
    expect(Math.abs(alarms - FALSE_ALARMS)).toBeLessThan(3 * Math.sqrt(FALSE_ALARMS * (1 / 2000 + 1 / 4000)));
    // Far out in one sign alone is enough.
    expect(score(0, { ...fresh, doubt: fresh.doubt.map((v) => v + 3) })).toBeGreaterThan(limit);
  });

  it('alarms as rarely for a part of many tiles: its most novel one counts', () => {
    const random = randomOf(8);
    const of = (count: number) => Float64Array.from({ length: count }, () => random() + random() + random());
    const tiles = 10;
    const table = (parts: number) => {
      const same = new Float64Array(parts * tiles).fill(1);
      return { relative: of(parts * tiles), cosine: same, outside: same, doubt: same };
    };
    const names = (parts: number) => Array.from({ length: parts * tiles }, (_, i) => `part ${Math.floor(i / tiles)}`);
    const { scale, limit, rate } = fitNoveltyScale(table(1000), names(1000));
    expect(rate).toBe(FALSE_ALARMS);
    const fresh = table(2000);
    const novel = new Set<number>();
    fresh.relative.forEach((v, i) => {
      const score =
        scale.constant +
        scale.factors.relative * v +
        scale.factors.cosine +
        scale.factors.outside +
        scale.factors.doubt;
      if (score > limit) novel.add(Math.floor(i / tiles));
    });
    expect(Math.abs(novel.size / 2000 - FALSE_ALARMS)).toBeLessThan(
      4 * Math.sqrt(FALSE_ALARMS * (1 / 1000 + 1 / 2000)),
    );
  });

  it('leaves out a sign that says nothing, and never alarms when nothing was held out', () => {
    const flat = new Float64Array(50).fill(3);
    const rising = Float64Array.from({ length: 50 }, (_, i) => i);
    const { scale, limit } = fitNoveltyScale({ relative: rising, cosine: flat, outside: flat, doubt: flat });
    expect(scale.factors).toMatchObject({ cosine: 0, outside: 0, doubt: 0 });
    expect(Number.isFinite(limit)).toBe(true);
    const none = new Float64Array(0);
    const empty = fitNoveltyScale({ relative: none, cosine: none, outside: none, doubt: none });
    expect(empty.limit).toBe(Number.MAX_VALUE);
  });
});
