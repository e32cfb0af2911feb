import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isComparable } from '../../../main/compression/station-search.ts';
import { dropGate } from '../../../main/compression/evidence/gates.ts';
import { floatsWhereNeeded } from '../../../main/compression/plan/careful.ts';
import {
  accuracyOf,
  classCounts,
  comparedOf,
  discordantOf,
  inViews,
  keepsLimits,
  lossBetween,
  type Compared,
  type Limited,
} from '../../../main/compression/plan/evaluate.ts';
import { criteriaSchema } from '../../../main/contract/domain.ts';
import { matrix } from '../../../main/learning/dense.ts';

const CLASSES = ['ok', 'scratch'];
/** Forty parts, every second one of each class; those of `wrong` are taken for the other one. */
const judging = (wrong: readonly number[]): Compared => {
  const rows = Array.from({ length: 40 }, (_, row) => row);
  const given = rows.map((row) => (row + (wrong.includes(row) ? 1 : 0)) % 2);
  const data = Float64Array.from(given.flatMap((g) => [g === 0 ? 1 : 0, g === 1 ? 1 : 0]));
  const ledger = rows.map((row) => ({ classId: CLASSES[row % 2]!, sha: `${row}` }));
  const folds = rows.map((row) => Math.floor(row / 8));
  return comparedOf({ rows, folds, classIds: CLASSES, logits: matrix(rows.length, 2, data) }, ledger);
};

/** Forty good parts in five folds, and one scratched part of which all twelve shots are in the first: nothing that is taught without them tells them. */
const besideOnePart = (wrong: number): Compared => {
  const classOf = (row: number) => CLASSES[row < 40 ? 0 : 1]!;
  const rows = Array.from({ length: 52 }, (_, row) => row);
  const folds = rows.map((row) => (row < 40 ? row % 5 : 0));
  const data = Float64Array.from(rows.flatMap((row) => (row < wrong ? [0, 1] : [1, 0])));
  const ledger = rows.map((row) => ({ classId: classOf(row), sha: `${row}` }));
  return comparedOf({ rows, folds, classIds: CLASSES, logits: matrix(52, 2, data) }, ledger);
};

describe('images of a class that is in one fold alone', () => {
  const [before, after] = [besideOnePart(0), besideOnePart(4)];

  it('say nothing of a model: what is lost elsewhere is not halved by them', () => {
    expect(before.balancedAccuracy).toBe(1);
    expect(lossBetween(before, after).accuracyPp).toBeCloseTo(10, 10);
  });

  it('beside good parts alone tell nothing of what compressing costs', () => {
    const hashOf = (text: string) => createHash('sha256').update(text).digest('hex');
    const of = (classId: string, looks: readonly string[]) =>
      looks.map((look, i) => ({ classId, sha: hashOf(`${classId} ${i}`), look }));
    const looks = Array.from({ length: 44 }, (_, i) => hashOf(`${i}`).slice(0, 16));
    const [good, scratched] = [of('ok', looks.slice(4)), looks.slice(0, 4)];
    expect(isComparable({ ledger: [...good, ...of('scratch', Array(4).fill('0123456789abcdef'))] })).toBe(false);
    expect(isComparable({ ledger: [...good, ...of('scratch', scratched)] })).toBe(true);
  });

  it('are no evidence of the drop, nor of the recall of their class', () => {
    expect(classCounts(after.judged)).toEqual([
      { n: 40, right: 36 },
      { n: 0, right: 0 },
    ]);
    const pairs = discordantOf(before.judged, after.judged);
    // Forty parts: the bound lies near 20 points. With the twelve shots it came to 11, and passed.
    expect(dropGate(pairs, criteriaSchema.parse({ maxDropPp: 12 })).outcome).toBe('not-enough-evidence');
  });
});

describe('tiles of one part', () => {
  /** Ten parts of each class, the good ones with eight tiles; of `wrong` good parts all tiles are taken for scratched. */
  const tiled = (wrong: number): Compared => {
    const parts = Array.from({ length: 20 }, (_, part) => part);
    const ledger = parts.flatMap((part) =>
      Array.from({ length: part < 10 ? 8 : 1 }, (_, tile) => ({
        classId: CLASSES[part < 10 ? 0 : 1]!,
        sha: `${part}`,
        key: `${tile}`,
      })),
    );
    const rows = ledger.map((_, row) => row);
    const folds = ledger.map(({ sha }) => Number(sha) % 5);
    const data = Float64Array.from(
      ledger.flatMap(({ sha }) => (Number(sha) >= wrong && Number(sha) < 10 ? [1, 0] : [0, 1])),
    );
    return comparedOf({ rows, folds, classIds: CLASSES, logits: matrix(rows.length, 2, data) }, ledger);
  };

  it('are one part of their class, in its recall and in its interval', () => {
    const { judged } = tiled(1);
    expect(classCounts(judged)).toEqual([
      { n: 10, right: 9 },
      { n: 10, right: 10 },
    ]);
    expect(accuracyOf(judged)).toBeCloseTo(0.95, 12);
    // Of two good tiles of eight that are right a quarter.
    const given = judged.given.map((c, i) => (i === 6 || i === 7 ? 0 : c));
    expect(classCounts({ ...judged, given })[0]).toEqual({ n: 10, right: 9.25 });
  });

  it('are one pair, not eight: the drop is the same, its bound that of ten parts', () => {
    const [before, after] = [tiled(0), tiled(1)];
    expect(discordantOf(before.judged, after.judged)).toEqual([
      { n: 10, lost: 1, won: 0 },
      { n: 10, lost: 0, won: 0 },
    ]);
    const lost = lossBetween(before, after);
    expect(lost.accuracyPp).toBeCloseTo(5, 10);
    expect(lost.accuracyUpperPp).toBeGreaterThan(15);
  });
});

describe('loss against the reference', () => {
  const reference = judging([0, 1]);

  it('is that of balanced accuracy and of the balanced Brier score', () => {
    const lost = lossBetween(reference, judging([0, 1, 2, 4]));
    expect(lost.accuracyPp).toBeCloseTo(5, 10);
    expect(lost.certaintyPp).toBeCloseTo(10, 10);
    expect(lost.accuracyUpperPp).toBeGreaterThan(5);
    expect(lossBetween(reference, judging([0])).accuracyPp).toBeCloseTo(-2.5, 10);
  });

  it('is expected between what accuracy and what scores say, nearer to the accuracy the more images there are', () => {
    // Forty parts tell the accuracy to some points: the scores count.
    const few = lossBetween(reference, judging([0, 1, 2, 4]));
    expect(few.expectedPp).toBeGreaterThan(6);
    expect(few.expectedPp).toBeLessThan(9);
    // The same one wrong, but all scores a little nearer to the truth.
    const [one] = judging([0, 1, 2]).views;
    const better = lossBetween(reference, {
      ...judging([0, 1, 2]),
      views: [{ ...one!, errors: reference.views[0]!.errors.map((error) => error - 0.02) }],
    });
    expect(better.accuracyPp).toBeCloseTo(2.5, 10);
    expect(better.expectedPp).toBeLessThan(-1);
    // So many wrong that even forty show it, whatever the scores say.
    const half = judging(Array.from({ length: 20 }, (_, row) => row));
    const shown = lossBetween(reference, {
      ...half,
      views: [{ ...half.views[0]!, errors: reference.views[0]!.errors }],
    });
    expect(shown.expectedPp).toBeGreaterThan(20);
    // Forty thousand: the scores hardly matter.
    const rows = Array.from({ length: 40_000 }, (_, row) => row);
    const many = (each: Compared, errors: Float64Array): Compared => ({
      ...each,
      judged: {
        ...each.judged,
        rows,
        truth: Int32Array.from(rows, (row) => each.judged.truth[row % 40]!),
        given: Int32Array.from(rows, (row) => each.judged.given[row % 40]!),
      },
      views: [
        {
          right: Float64Array.from(rows, (row) => each.views[0]!.right[row % 40]!),
          errors: Float64Array.from(rows, (row) => errors[row % 40]!),
        },
      ],
    });
    const { errors } = reference.views[0]!;
    const sure = lossBetween(many(reference, errors), many(judging([0, 1, 2]), errors));
    expect(sure.expectedPp).toBeCloseTo(2.5, 1);
  });

  it('is the mean over the views that both were seen in, and tells more the more there are', () => {
    const twice = inViews([reference, judging([0, 1, 2, 3])]);
    const other = inViews([judging([0, 1, 2, 4]), judging([0, 1, 2, 3, 4, 6])]);
    expect(other.balancedAccuracy).toBeCloseTo(0.875, 10);
    const lost = lossBetween(twice, other);
    expect(lost.accuracyPp).toBeCloseTo(5, 10);
    expect(lost.certaintyPp).toBeCloseTo(10, 10);
    // Part 4 and, in half of the views, 2 and 6 change sides: less is left to chance than with 2 and 4 in the only one.
    const once = lossBetween(twice, judging([0, 1, 2, 4]));
    expect(once.accuracyPp).toBeCloseTo(5, 10);
    expect(once).toEqual(lossBetween(reference, judging([0, 1, 2, 4])));
    const mild = lossBetween(inViews([reference, reference]), inViews([judging([0, 1, 2, 4]), reference]));
    expect(mild.accuracyPp).toBeCloseTo(2.5, 10);
    expect(mild.accuracyUpperPp - mild.accuracyPp).toBeLessThan(once.accuracyUpperPp - once.accuracyPp);
  });

  it('is not taken as known from the only image of a class', () => {
    const scored = (truth: readonly number[], errors: readonly number[]): Compared => ({
      balancedAccuracy: 1,
      loss: 0,
      judged: {
        classIds: CLASSES,
        rows: truth.map((_, row) => row),
        truth: Int32Array.from(truth),
        given: Int32Array.from(truth),
      },
      views: [{ right: new Float64Array(truth.length).fill(1), errors: Float64Array.from(errors) }],
    });
    const expected = (truth: readonly number[], errors: readonly number[]) =>
      lossBetween(scored(truth, Array<number>(truth.length).fill(0)), scored(truth, errors)).expectedPp;
    // Forty good parts whose scores move by a fifth either way, and a scratch whose score is off by as much as it can be.
    const wild = Array.from({ length: 40 }, (_, i) => (i % 2 ? 0.2 : -0.2));
    const [truth, errors] = [
      [...Array<number>(40).fill(0), 1],
      [...wild, 1],
    ];
    expect(expected(truth, errors)).toBeLessThan(45);
    // Where the others do not move, it is known to be the one that does.
    expect(expected(truth, [...Array<number>(40).fill(0), 1])).toBeGreaterThan(49);
    // Of each class a single one: nothing tells how they spread.
    expect(expected([0, 1], [0, 1])).toBeLessThan(25);
  });

  it('of a model that has seen some images is that on all, or what the others show, and scores have to hold on both', () => {
    const unseen = new Set(Array.from({ length: 10 }, (_, row) => row));
    // Learnt by heart: nothing wrong on what it has seen. Ten parts do not show a loss of accuracy, their scores tell it.
    const flattered = lossBetween(reference, judging([0, 1, 2, 4]), unseen);
    expect(flattered.accuracyPp).toBeCloseTo(5, 10);
    expect(flattered.certaintyPp).toBeCloseTo(40, 10);
    expect(keepsLimits({ lost: flattered, newDefects: null }, 6)).toBe(false);
    // So many wrong that even ten show it.
    expect(lossBetween(reference, judging([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), unseen).accuracyPp).toBeGreaterThan(30);
    // By chance all right on the few others, and wrong even on what it has seen.
    const lucky = lossBetween(reference, judging([20, 22, 24, 26, 28, 30]), unseen);
    expect(lucky.accuracyPp).toBeCloseTo(10, 10);
    expect(keepsLimits({ lost: lucky, newDefects: null }, 1)).toBe(false);
    expect(lossBetween(reference, judging([]), unseen).accuracyPp).toBeCloseTo(-5, 10);
  });
});

describe('the worst layers in floats', () => {
  const losing = (expectedPp: number): Limited => ({
    lost: { accuracyPp: 0, accuracyUpperPp: 0, certaintyPp: 0, expectedPp },
    newDefects: null,
  });
  const [fits, over, farOver] = [losing(0.9), losing(1.1), losing(9)];
  /** What is told of a variant, and whether the other form was made at all. */
  const told = async (fast: typeof fits, careful: typeof fits | null) => {
    let made = false;
    const measureCareful = careful && (async () => ((made = true), careful));
    return { record: await floatsWhereNeeded(fast, measureCareful, 1), made };
  };

  it('are not made where integers alone keep the limits, or where no layer is bad', async () => {
    expect(await told(fits, losing(0))).toEqual({ record: fits, made: false });
    expect(await told(over, null)).toEqual({ record: over, made: false });
  });

  it('stay where they alone keep the limits', async () => {
    expect((await told(over, fits)).record).toBe(fits);
  });

  it('do not stay where they do not save it, be they nearer or not', async () => {
    expect((await told(farOver, over)).record).toBe(farOver);
    expect((await told(over, farOver)).record).toBe(over);
  });

  it('stay where integers alone are blind to new defects', async () => {
    const blind = { ...fits, newDefects: { loss: 0.5, lower: 0.4, upper: 0.6, worst: { classId: 'hole', loss: 0.5 } } };
    expect((await told(blind, fits)).record).toBe(fits);
  });
});
