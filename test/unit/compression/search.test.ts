import { describe, expect, it } from 'vitest';
import { integerWeightBits } from '../../../main/compression/environment.ts';
import { chooseFinalists, finishFinalists, inputSizesOf } from '../../../main/compression/plan/finalists.ts';
import { judgeOffer, paretoFront, recommend } from '../../../main/compression/plan/offers.ts';
import { searchPlan, type SearchRequest, type Trial } from '../../../main/compression/plan/search.ts';
import type { TrialRecord } from '../../../main/compression/plan/trials.ts';
import { variantId, type Precision, type Variant } from '../../../main/compression/plan/variant.ts';

const request: SearchRequest = {
  strategy: 'auto',
  precision: 'auto',
  ratio: null,
  nativeSize: 224,
  sizes: [192, 160, 128, 96],
  maxDropPp: 1,
  timeBudgetMs: 1e9,
  teachingMs: 0,
};

/** Where accuracy and scores say the same. */
const losing = (pp: number) => ({ accuracyPp: pp, accuracyUpperPp: pp + 0.5, certaintyPp: pp, expectedPp: pp });

/** A world with known costs: each change costs accuracy by its own rule. */
const world = (
  dropPp: (variant: Variant) => number,
  msPerTrial: number | ((variant: Variant) => number) = 1,
  blind: (variant: Variant) => boolean = () => false,
) => {
  let clock = 0;
  const asked: Variant[] = [];
  return {
    asked,
    port: {
      now: () => clock,
      evaluate: (variant: Variant): Promise<Trial | null> => {
        clock += typeof msPerTrial === 'number' ? msPerTrial : msPerTrial(variant);
        asked.push(variant);
        const latencyMs =
          10 * (variant.inputSize / 224) ** 2 * (1 - variant.ratio) * (variant.precision === 'int8' ? 0.5 : 1);
        return Promise.resolve({
          variant,
          balancedAccuracy: 0.95 - dropPp(variant) / 100,
          loss: 0.1,
          lost: losing(dropPp(variant)),
          newDefects: blind(variant)
            ? { loss: 0.1, lower: 0.05, upper: 0.15, worst: { classId: 'pit', loss: 0.2 } }
            : null,
          latencyMs,
          speedup: 10 / latencyMs,
          bytes: 1000,
        });
      },
    },
  };
};

describe('finalists', () => {
  const trial = (latencyMs: number, lostPp: number): TrialRecord =>
    ({
      id: String(latencyMs),
      latencyMs,
      lost: losing(lostPp),
      newDefects: null,
    }) as TrialRecord;
  it('are the fast ones that hold, though a faster one that does not is by chance more accurate', () => {
    const seen = (latencyMs: number, lostPp: number, balancedAccuracy: number) => ({
      ...trial(latencyMs, lostPp),
      balancedAccuracy,
    });
    const chosen = chooseFinalists([seen(1, 2, 0.95), seen(2, 0.5, 0.94), seen(3, 0.1, 0.96), seen(4, 0.1, 0.97)], {
      maxDropPp: 1,
      all: false,
    });
    expect(chosen.map(({ latencyMs }) => latencyMs)).toEqual([1, 2, 3, 4]);
  });

  const records = [trial(1, 0), trial(2, 0.9), trial(3, 5), trial(4, 0.5), trial(5, 0.1), trial(6, 0)];
  const finishing = async (holding: (latencyMs: number) => boolean, places = 9, finalists = [1, 2]) => {
    const order: number[] = [];
    const done = await finishFinalists(
      records.filter(({ latencyMs }) => finalists.includes(latencyMs)),
      records,
      { maxDropPp: 1, places },
      {
        finish: ({ latencyMs }) => {
          order.push(latencyMs);
          return Promise.resolve(latencyMs);
        },
        holds: holding,
      },
    );
    return { order, done };
  };

  it('goes on to slower ones that held in the search until one holds when finished', async () => {
    expect((await finishing((ms) => ms === 2)).order).toEqual([1, 2]);
    expect(await finishing((ms) => ms === 5)).toEqual({ order: [1, 2, 4, 5], done: [1, 2, 4, 5] });
    // Three more at most.
    expect((await finishing(() => false)).order).toEqual([1, 2, 4, 5, 6]);
  });

  it('goes on to what held in the search and is faster than the fastest that holds when finished', async () => {
    expect(await finishing((ms) => ms > 2, 9, [1, 6])).toEqual({ order: [1, 6, 2, 4], done: [1, 6, 2, 4] });
    // What holds keeps its place.
    expect(await finishing((ms) => ms > 2, 2, [1, 6])).toEqual({ order: [1, 6, 2, 4], done: [4, 6] });
  });

  it('puts further ones in the place of the fastest that failed where there are no more places', async () => {
    expect(await finishing((ms) => ms === 5, 2)).toEqual({ order: [1, 2, 4, 5], done: [4, 5] });
  });
});

describe('search', () => {
  it('does not prune at a third of the size where that size alone loses too much', async () => {
    const { asked, port } = world(({ inputSize }) => (inputSize === 64 ? 1.5 : 0));
    await searchPlan({ ...request, sizes: [192, 160, 128, 96, 64] }, port);
    expect(asked.filter(({ inputSize }) => inputSize === 64).map(variantId)).toEqual(['size-64-fp32']);
  });

  it('stops going down in size once the limit is clearly broken, and builds on the sizes that hold', async () => {
    const { asked, port } = world(({ inputSize }) => (inputSize < 160 ? 5 : 0));
    await searchPlan(request, port);
    expect(asked.some(({ inputSize }) => inputSize === 96)).toBe(false);
    const pruned = asked.filter(({ strategy }) => strategy !== 'none');
    expect(pruned.length).toBeGreaterThan(0);
    expect(new Set(pruned.map(({ inputSize }) => inputSize))).toEqual(new Set([160]));
    expect(new Set(asked.map(variantId)).size).toBe(asked.length);
  });

  it('goes down to a third of the size only below one that holds', async () => {
    const sizesTried = async (dropPp: (inputSize: number) => number) => {
      const { asked, port } = world(({ inputSize }) => dropPp(inputSize));
      await searchPlan({ ...request, sizes: [192, 160, 128, 96, 64] }, port);
      return new Set(asked.map(({ inputSize }) => inputSize));
    };
    expect(await sizesTried(() => 0.5)).toContain(64);
    // Nearly: enough to look at pruning there, not to go on.
    const nearly = await sizesTried((inputSize) => (inputSize === 96 ? 1.5 : 0));
    expect(nearly).toContain(96);
    expect(nearly).not.toContain(64);
  });

  it('prunes also at a size that alone loses a little too much, and stops where more work could not win', async () => {
    // 128 px alone is a little too much, pruned it holds; 96 px never does.
    const { asked, port } = world(({ inputSize, ratio }) =>
      inputSize < 128 ? 2.5 : inputSize < 160 && ratio === 0 ? 1.5 : 0,
    );
    const { trials } = await searchPlan(request, port);
    const best = trials
      .filter(({ lost }) => lost.accuracyPp <= 1)
      .reduce((a, b) => (a.latencyMs <= b.latencyMs ? a : b));
    expect(best.variant).toMatchObject({ inputSize: 128, ratio: 0.8, shallow: true, precision: 'int8' });
    // From the smallest size that holds alone; by then nothing larger can win.
    const first = asked.find(({ ratio }) => ratio > 0)!;
    expect(first.inputSize).toBe(160);
    expect(asked.some(({ inputSize, ratio }) => inputSize > 192 && ratio > 0 && ratio < 0.6)).toBe(false);
  });

  it('goes on in floats, students among them, where no integers can be made', async () => {
    const { asked, port } = world(({ ratio, strategy }) => (ratio > 0.5 && strategy !== 'distill' ? 2 : 0));
    const { trials } = await searchPlan(
      { ...request, timeBudgetMs: 1e9, teachingMs: 1e5 },
      {
        ...port,
        async evaluate(variant) {
          const trial = await port.evaluate(variant);
          return variant.precision === 'int8' ? null : trial;
        },
      },
    );
    expect(asked.filter(({ precision }) => precision === 'int8')).toHaveLength(1);
    const best = trials
      .filter(({ lost }) => lost.accuracyPp <= 1)
      .reduce((a, b) => (a.latencyMs <= b.latencyMs ? a : b));
    expect(best.variant).toMatchObject({ strategy: 'distill', precision: 'fp32' });
  });

  it('goes on where the fastest is blind to new defects', async () => {
    const isBlind = ({ inputSize, ratio }: Variant) => inputSize < 160 || ratio > 0.5;
    const { port } = world(() => 0, 1, isBlind);
    const { trials } = await searchPlan(request, port);
    const seeing = trials.filter(({ newDefects }) => newDefects === null);
    const best = seeing.reduce((a, b) => (a.latencyMs <= b.latencyMs ? a : b));
    expect(best.variant).toMatchObject({ inputSize: 160, ratio: 0.45, precision: 'int8' });
  });

  it('takes float where integers lose too much', async () => {
    const { port } = world(({ precision }) => (precision === 'int8' ? 2 : 0));
    const { trials } = await searchPlan(request, port);
    expect(
      trials.some(({ variant }) => variant.precision === 'fp32' && variant.ratio === 0.65 && variant.inputSize === 96),
    ).toBe(true);
  });

  it('begins in the middle: more where that holds, less where it does not, and not past what is hopeless by chance', async () => {
    const ratiosAt = async (dropPp: (ratio: number) => number) => {
      const { asked, port } = world(({ ratio, inputSize }) => (inputSize < 224 ? 9 : dropPp(ratio)));
      await searchPlan({ ...request, precision: 'int8' }, port);
      return asked
        .filter(({ strategy }) => strategy === 'post-prune')
        .map(({ ratio, shallow }) => (shallow ? ratio : -ratio));
    };
    expect(await ratiosAt(() => 0)).toEqual([0.65, 0.8]);
    expect(await ratiosAt((ratio) => (ratio > 0.5 ? 5 : 0))).toEqual([0.65, 0.45, -0.65]);
    expect(await ratiosAt((ratio) => (ratio > 0.3 ? 5 : 0))).toEqual([0.65, 0.45, -0.65, -0.45, 0.25]);
  });

  it('keeps time for students, of what pruning made fastest within reach, and prunes on with what they leave', async () => {
    // Pruned by 65 % all lose too much: the smaller the size, the more. Teaching gives a point back.
    const lossOf = ({ inputSize, ratio, strategy }: Variant) =>
      ratio === 0
        ? inputSize < 160
          ? 1.5
          : 0
        : (inputSize < 128 ? 7 : 1.9) * (ratio / 0.65) - (strategy === 'distill' ? 1 : 0);
    const seconds = ({ strategy }: Variant) => (strategy === 'distill' ? 100_000 : 10_000);
    const { asked, port } = world(lossOf, seconds);
    const { trials } = await searchPlan({ ...request, timeBudgetMs: 450_000, teachingMs: 90_000 }, port);
    const students = asked.filter(({ strategy }) => strategy === 'distill');
    expect(variantId(students[0]!)).toBe('distill-65-shallow-128-int8');
    const best = trials
      .filter(({ lost }) => lost.accuracyPp <= 1)
      .reduce((a, b) => (a.latencyMs <= b.latencyMs ? a : b));
    expect(best.variant).toEqual(students[0]);
    expect(asked.reduce((sum, variant) => sum + seconds(variant), 0)).toBeLessThanOrEqual(450_000);
    // Too little time to learn anything: all of it goes to pruning.
    const short = world(lossOf, ({ strategy }) => (strategy === 'distill' ? 40_000 : 10_000));
    await searchPlan({ ...request, timeBudgetMs: 150_000, teachingMs: 30_000 }, short.port);
    expect(short.asked.some(({ strategy }) => strategy === 'distill')).toBe(false);
  });

  it('teaches what a student as good would save, else what lost least, and what is faster still where one held', async () => {
    const taught = async (given: (ratio: number) => number) => {
      const { asked, port } = world(({ inputSize, ratio, strategy }) =>
        inputSize < 224 ? 9 : ratio === 0 ? 0 : strategy === 'distill' ? given(ratio) : 1 + 1.5 * ratio,
      );
      await searchPlan({ ...request, precision: 'int8', teachingMs: 1 }, port);
      return asked.filter(({ strategy }) => strategy === 'distill').map(({ ratio }) => ratio);
    };
    // With whole blocks gone and without.
    expect(await taught(() => 5)).toEqual([0.65, 0.25, 0.25]);
    expect(await taught((ratio) => 4 * ratio)).toEqual([0.65, 0.25, 0.45]);
    // A little is missing and comes back of the next.
    expect(await taught((ratio) => (ratio > 0.5 ? 1.1 : 0))).toEqual([0.65, 0.45, 0.65]);
    expect(await taught(() => 0)).toEqual([0.65]);
  });

  it('teaches one that perhaps holds as well: finished, it may lose too much', async () => {
    const { asked, port } = world(({ inputSize, ratio, strategy }) =>
      inputSize < 160 ? 3 : ratio === 0 || strategy === 'distill' ? 0 : 0.9,
    );
    const evaluate = async (variant: Variant) => {
      const trial = (await port.evaluate(variant))!;
      return variant.strategy === 'post-prune' ? { ...trial, lost: { ...trial.lost, accuracyUpperPp: 1.7 } } : trial;
    };
    await searchPlan({ ...request, precision: 'int8', teachingMs: 60_000 }, { ...port, evaluate });
    const students = asked.filter(({ strategy }) => strategy === 'distill').map(({ inputSize }) => inputSize);
    expect(students).toContain(160);
  });

  it('goes on to what is slower where the fastest holds by its scores alone', async () => {
    const pruned = async (seenPp: number) => {
      const { asked, port } = world(({ inputSize, ratio }) =>
        inputSize < 128 ? 9 : ratio > 0.5 ? 3 : inputSize < 160 && ratio > 0 ? seenPp : 0.5,
      );
      const evaluate = async (variant: Variant) => {
        const trial = (await port.evaluate(variant))!;
        const { accuracyPp } = trial.lost;
        return { ...trial, lost: { ...trial.lost, expectedPp: accuracyPp > 2 ? accuracyPp : 0.2 } };
      };
      await searchPlan({ ...request, precision: 'int8' }, { ...port, evaluate });
      return asked.some(({ ratio, inputSize }) => ratio === 0.45 && inputSize === 160);
    };
    expect(await pruned(1.5)).toBe(true);
    expect(await pruned(0.9)).toBe(false);
  });

  it('looks at less pruning before the first student, and teaches what perhaps holds rather than what is far from it', async () => {
    const { asked, port } = world(
      ({ inputSize, ratio, strategy }) =>
        inputSize < 128 ? 9 : ratio > 0.5 ? 4 : ratio > 0 && strategy !== 'distill' ? 0.9 : 0.5,
      ({ strategy }) => (strategy === 'distill' ? 150_000 : 20_000),
    );
    const evaluate = async (variant: Variant) => {
      const trial = (await port.evaluate(variant))!;
      return { ...trial, lost: { ...trial.lost, accuracyUpperPp: trial.lost.accuracyPp + 1 } };
    };
    await searchPlan({ ...request, timeBudgetMs: 450_000, teachingMs: 150_000 }, { ...port, evaluate });
    const students = asked.filter(({ strategy }) => strategy === 'distill').map(variantId);
    expect(students).toEqual(['distill-45-shallow-128-int8']);
  });

  it('prunes less where nothing is within reach of teaching, and keeps the time of one student for what that brings', async () => {
    const seconds = ({ strategy }: Variant) => (strategy === 'distill' ? 110_000 : 20_000);
    const { asked, port } = world(
      ({ inputSize, ratio, strategy }) =>
        inputSize < 160 ? 9 : ratio === 0 ? 0 : 3.2 * ratio - (strategy === 'distill' ? 1 : 0),
      seconds,
    );
    const timeBudgetMs = 400_000;
    const { trials } = await searchPlan({ ...request, timeBudgetMs, teachingMs: 100_000 }, port);
    const students = asked.filter(({ strategy }) => strategy === 'distill').map((variant) => variantId(variant));
    expect(students[0]).toBe('distill-45-shallow-160-int8');
    expect(
      asked.slice(
        0,
        asked.findIndex(({ strategy }) => strategy === 'distill'),
      ),
    ).toContainEqual(expect.objectContaining({ ratio: 0.45, inputSize: 160 }));
    expect(trials.some(({ variant, lost }) => variant.strategy === 'distill' && lost.expectedPp <= 1)).toBe(true);
    expect(asked.reduce((sum, variant) => sum + seconds(variant), 0)).toBeLessThanOrEqual(timeBudgetMs);
  });

  it('steps over the first lower size unless the second loses too much', async () => {
    const floats = async (dropPp: (inputSize: number) => number) => {
      const { asked, port } = world(({ inputSize }) => dropPp(inputSize));
      await searchPlan(request, port);
      return asked.filter(({ ratio, precision }) => ratio === 0 && precision === 'fp32').map((each) => each.inputSize);
    };
    expect(await floats(() => 0)).toEqual([160, 128, 96]);
    expect(await floats((inputSize) => (inputSize < 192 ? 5 : 0))).toEqual([160, 192]);
    expect(await floats((inputSize) => (inputSize < 192 ? 1.5 : 0))).toEqual([160, 128, 96, 192]);
  });

  it('looks at the next larger size too before it has any student taught', async () => {
    // 128 px holds alone and is lost when pruned, even taught; 160 px comes back by teaching.
    const { asked, port } = world(
      ({ inputSize, ratio, strategy }) =>
        inputSize < 128 ? 9 : ratio === 0 ? 0 : (inputSize < 160 ? 1.9 : 1.3) - (strategy === 'distill' ? 0.4 : 0),
      ({ strategy }) => (strategy === 'distill' ? 100_000 : 20_000),
    );
    await searchPlan({ ...request, timeBudgetMs: 410_000, teachingMs: 90_000 }, port);
    const students = asked.filter(({ strategy }) => strategy === 'distill');
    expect(students.map(({ inputSize }) => inputSize)).toEqual([128, 160]);
  });

  it('looks at what pruning gives before it goes up to sizes that integers need', async () => {
    const { asked, port } = world(({ inputSize, ratio, precision }) =>
      ratio > 0 ? 2 : inputSize < 192 && precision === 'int8' ? 1.5 : 0,
    );
    await searchPlan(request, port);
    const integers = asked.filter(({ precision }) => precision === 'int8').map(variantId);
    expect(integers.slice(0, 5)).toEqual([
      'size-96-int8',
      'post-prune-65-shallow-96-int8',
      'post-prune-45-shallow-96-int8',
      'post-prune-65-shallow-128-int8',
      'size-128-int8',
    ]);
  });

  it('looks at a size alone though pruning is too slow for the time that is left', async () => {
    const { asked, port } = world(
      ({ inputSize, ratio, precision }) =>
        inputSize < 128 ? 5 : ratio > 0 ? 3 : inputSize < 160 ? (precision === 'int8' ? 1.2 : 0.3) : 0,
      ({ strategy, inputSize }) =>
        strategy === 'none' ? 15_000 : strategy === 'distill' ? 132_000 : inputSize < 160 ? 34_000 : 72_000,
    );
    await searchPlan({ ...request, timeBudgetMs: 555_000, teachingMs: 120_000 }, port);
    const ids = asked.map(variantId);
    expect(ids).toContain('size-160-int8');
    expect(ids.indexOf('size-160-int8')).toBeLessThan(ids.findIndex((id) => id.startsWith('distill')));
  });

  it('keeps its time budget, and makes at least one trial whatever it is', async () => {
    const slow = world(() => 0, 1000);
    const result = await searchPlan({ ...request, timeBudgetMs: 4500 }, slow.port);
    expect(slow.asked.length).toBe(4);
    expect(result.outOfTime).toBe(true);
    const none = world(() => 0, 1000);
    expect((await searchPlan({ ...request, timeBudgetMs: 0 }, none.port)).trials.length).toBe(1);
  });

  it('somebody has enough: nothing is measured any more, and all that was is found again, whatever the time', async () => {
    const lossOf = ({ ratio }: Variant) => 2 * ratio;
    const whole = world(lossOf);
    await searchPlan(request, whole.port);
    const measured = new Set(whole.asked.slice(0, 6).map(variantId));
    const again = world(lossOf);
    const port = { ...again.port, isMeasured: (variant: Variant) => Promise.resolve(measured.has(variantId(variant))) };
    const { trials, outOfTime } = await searchPlan({ ...request, timeBudgetMs: 0, enough: true }, port);
    expect(again.asked.map(variantId)).toEqual([...measured]);
    expect(trials).toHaveLength(6);
    expect(outOfTime).toBe(true);
    // Before anything was measured: one answer is worth its time.
    const none = world(lossOf);
    await searchPlan({ ...request, enough: true }, none.port);
    expect(none.asked).toHaveLength(1);
  });

  it('a named strategy with a ratio is that and nothing else', async () => {
    const { asked, port } = world(() => 0);
    await searchPlan({ ...request, strategy: 'post-prune', ratio: 0.4, precision: 'fp32' }, port);
    expect(asked).toEqual([{ strategy: 'post-prune', ratio: 0.4, inputSize: 224, precision: 'fp32' }]);
  });

  it('a named strategy goes on in floats where integers lose too much or cannot be made, and ends with the floats', async () => {
    const tried = async (dropPp: (variant: Variant) => number, without: Precision | null = null) => {
      const { asked, port } = world(dropPp);
      const evaluate = async (variant: Variant) => {
        const trial = await port.evaluate(variant);
        return variant.precision === without ? null : trial;
      };
      await searchPlan({ ...request, strategy: 'post-prune' }, { ...port, evaluate });
      return asked.map(({ ratio, precision }) => `${ratio} ${precision}`);
    };
    const floatsAlone = ['0.25 fp32', '0.25 int8', '0.45 fp32', '0.65 fp32'];
    expect(await tried(() => 0, 'int8')).toEqual(floatsAlone);
    expect(await tried(({ precision }) => (precision === 'int8' ? 9 : 0))).toEqual(floatsAlone);
    expect(await tried(({ ratio }) => (ratio > 0.3 ? 9 : 0))).toEqual(['0.25 fp32', '0.25 int8', '0.45 fp32']);
    expect(await tried(() => 0, 'fp32')).toEqual(['0.25 fp32']);
  });

  it('is cancelled between trials', async () => {
    const { port } = world(() => 0);
    await expect(searchPlan(request, { ...port, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
  });
});

describe('offers', () => {
  const limits = { maxDropPp: 1, latencyMs: null };
  const facts = {
    speedup: 3,
    speedupInterval: [2.8, 3.2] as const,
    lost: { accuracyPp: 0.5, accuracyUpperPp: 9, certaintyPp: 0, expectedPp: 0.1 },
    latencyMs: 3,
    bytes: 100,
    referenceBytes: 400,
    newDefects: null,
  };

  it('needs faster and within the bound and not larger, and says which is missing', () => {
    expect(judgeOffer(facts, limits)).toMatchObject({ offered: true });
    expect(judgeOffer({ ...facts, speedup: 0.9 }, limits)).toMatchObject({
      offered: false,
      reason: expect.stringContaining('Not faster'),
    });
    expect(judgeOffer({ ...facts, speedup: 1.1, speedupInterval: [0.98, 1.3] }, limits)).toMatchObject({
      offered: false,
      reason: expect.stringContaining('0.98 to 1.30'),
    });
    expect(judgeOffer({ ...facts, speedupInterval: null }, limits).offered).toBe(true);
    expect(
      judgeOffer({ ...facts, lost: { ...facts.lost, accuracyPp: 1.2, expectedPp: 1.1 } }, limits).reason,
    ).toContain('Too inaccurate');
    expect(
      judgeOffer({ ...facts, lost: { ...facts.lost, certaintyPp: 1.5, expectedPp: 1.2 } }, limits).reason,
    ).toContain('Too uncertain');
    // More is lost than is allowed, which so few images do not show, and the scores deny: offered, and said.
    expect(judgeOffer({ ...facts, lost: { ...facts.lost, accuracyPp: 1.33 } }, limits)).toMatchObject({
      offered: true,
      reason: expect.stringMatching(/1.33 pp less accurate in .*its scores counted in, it is 0.10 pp less accurate/),
    });
    expect(judgeOffer({ ...facts, bytes: 500 }, limits).reason).toContain('Larger');
    expect(judgeOffer(facts, { ...limits, latencyMs: 2 }).reason).toContain('Too slow');
    const worst = { classId: 'x', loss: 0.2 };
    expect(judgeOffer({ ...facts, newDefects: { loss: 0.1, lower: 0.02, upper: 0.18, worst } }, limits)).toMatchObject({
      offered: false,
      reason: expect.stringContaining('Blind to new defects'),
    });
    // Little, or not shown: the parts do not tell.
    for (const newDefects of [
      { loss: 0.02, lower: 0.01, upper: 0.03, worst },
      { loss: 0.1, lower: -0.02, upper: 0.22, worst },
    ])
      expect(judgeOffer({ ...facts, newDefects }, limits).offered).toBe(true);
  });

  it('recommends the fastest offered, or the more accurate of two nearly as fast', () => {
    const offer = (latencyMs: number, accuracy: number, offered = true, isSeen = true) => ({
      latencyMs,
      balancedAccuracy: accuracy,
      offered,
      isSeen,
    });
    expect(recommend([offer(1, 0.9, false), offer(2, 0.9), offer(2.1, 0.92), offer(4, 0.99)])).toBe(2);
    expect(recommend([offer(1, 0.9, false)])).toBeNull();
    // By its scores alone the first holds: the second, seen to hold, is nearly as fast; the third is not.
    expect(recommend([offer(1, 0.9, true, false), offer(1.4, 0.91)])).toBe(1);
    expect(recommend([offer(1, 0.9, true, false), offer(1.6, 0.91)])).toBe(0);
    expect(recommend([offer(1, 0.9, true, false)])).toBe(0);
  });

  it('the front holds what nothing beats in both', () => {
    const trials = [
      { balancedAccuracy: 0.9, latencyMs: 1 },
      { balancedAccuracy: 0.95, latencyMs: 2 },
      { balancedAccuracy: 0.94, latencyMs: 3 },
      { balancedAccuracy: 0.95, latencyMs: 2.5 },
    ];
    expect(paretoFront(trials)).toEqual([trials[0], trials[1]]);
  });
});

describe('settings', () => {
  it('sizes follow the backbone', () => {
    expect(inputSizesOf({ inputSize: 224, dynamicSize: true })).toEqual([192, 160, 128, 96, 64]);
    expect(inputSizesOf({ inputSize: 224, dynamicSize: false })).toEqual([]);
    expect(inputSizesOf({ inputSize: 64, dynamicSize: true })).toEqual([]);
  });

  it('weights have seven bits where eight would saturate', () => {
    expect(integerWeightBits(new Set(['avx2']), 'x64')).toBe(7);
    expect(integerWeightBits(new Set(['avx2', 'avx512_vnni']), 'x64')).toBe(8);
    expect(integerWeightBits(new Set(), 'arm64')).toBe(8);
  });
});
