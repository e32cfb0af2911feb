import { afterAll, describe, expect, it } from 'vitest';
import { openProducts } from '../../../main/learning/dense.ts';
import { embed } from '../../../main/learning/embedding.ts';
import { heldOutNovelty, noveltyLossOf } from '../../../main/learning/held-out-novelty.ts';
import { randomOf, rowsOf, worldOf } from './synthetic.ts';

const products = openProducts({ threads: 1 });
afterAll(() => products[Symbol.asyncDispose]());
const choice = { lambda: 0.01, balancing: 1 };

describe('held-out novelty', () => {
  const world = worldOf({ a: 40, b: 40, c: 40, d: 40 }, [12, 20], 0.6, 3);
  const of = (features: Float32Array) => heldOutNovelty(embed(features, world.stages), world.ledger, choice, products);

  it('is high where classes lie apart, and lost where the features are blurred', async () => {
    const clear = (await of(world.features))!;
    expect(clear.classes.map(({ classId }) => classId)).toEqual(['a', 'b', 'c', 'd']);
    expect(clear.auroc).toBeGreaterThan(0.9);
    const random = randomOf(9);
    const blurred = (await of(world.features.map((x) => Math.max(0, 0.3 * x + 1.2 * random()))))!;
    const lost = noveltyLossOf(clear, blurred);
    expect(lost.loss).toBeGreaterThan(0.1);
    expect(lost.lower).toBeGreaterThan(0);
    expect(lost.worst.loss).toBeGreaterThanOrEqual(lost.loss);
    expect(noveltyLossOf(clear, clear)).toMatchObject({ loss: 0, lower: 0, upper: 0 });
  });

  it('counts parts: of five tiles of each the bounds are no narrower', async () => {
    const parts = worldOf({ a: 12, b: 12, c: 12 }, [12, 20], 0.6, 3);
    const random = randomOf(9);
    const blurred = { ...parts, features: parts.features.map((x) => Math.max(0, 0.3 * x + 1.2 * random())) };
    const boundsWith = async (tiles: number) => {
      const rows = parts.ledger.flatMap((_, i) => Array.from({ length: tiles }, () => i));
      const ledger = rows.map((i, at) => ({ ...parts.ledger[i]!, key: `${at % tiles},0,1,1` }));
      // As many rows, as much more weight: the same head.
      const head = { ...choice, lambda: choice.lambda * tiles };
      const of = (world: typeof parts) =>
        heldOutNovelty(embed(rowsOf(world, rows).features, world.stages), ledger, head, products);
      const { lower, upper } = noveltyLossOf((await of(parts))!, (await of(blurred))!);
      return upper - lower;
    };
    expect(await boundsWith(5)).toBeGreaterThan(0.9 * (await boundsWith(1)));
  });

  it('looks at all parts rather than at all tiles of some', async () => {
    const parts = worldOf({ a: 40, b: 40, c: 40 }, [12, 20], 0.6, 3);
    const rows = parts.ledger.flatMap((_, i) => Array.from({ length: 6 }, () => i));
    const ledger = rows.map((i, at) => ({ ...parts.ledger[i]!, key: `${at % 6},0,1,1` }));
    const told = await heldOutNovelty(embed(rowsOf(parts, rows).features, parts.stages), ledger, choice, products);
    expect(told!.classes.map(({ fresh }) => fresh.length)).toEqual([40, 40, 40]);
  });

  it('cannot be told with two classes', async () => {
    const two = worldOf({ a: 20, b: 20 }, [6]);
    expect(await heldOutNovelty(embed(two.features, two.stages), two.ledger, choice, products)).toBeNull();
  });
});
