import { AppError } from '../../contract/errors.ts';
import type { NoveltyLoss } from '../../learning/held-out-novelty.ts';
import { isSeenToHold, keepsLimits, type Loss, type Quality } from './evaluate.ts';
import { variantId, type Precision, type Strategy, type Variant } from './variant.ts';

/* The search sees validation results and times only. It cannot see a test image: none is in what `evaluate` returns. */

/** What the search learns of a variant, all of it from training folds. */
export interface Trial extends Quality {
  variant: Variant;
  /** Against the uncompressed backbone. */
  lost: Loss;
  /** The same of the sense for new kinds of parts; null: there are too few classes to hold one out. */
  newDefects: NoveltyLoss | null;
  /** Time for one image that nothing disturbed, resize included. */
  latencyMs: number;
  /** The reference's over this one's, timed together. */
  speedup: number;
  bytes: number;
}

export interface SearchRequest {
  strategy: Strategy | 'auto';
  precision: Precision | 'auto';
  /** null: the search chooses. */
  ratio: number | null;
  nativeSize: number;
  /** Lower sizes that the backbone accepts, largest first; empty: it has a fixed size. */
  sizes: readonly number[];
  /** Greatest expected loss of balanced accuracy, percentage points. */
  maxDropPp: number;
  timeBudgetMs: number;
  /** What one student would be taught for. */
  teachingMs: number;
  /** True: somebody ended the search; what is measured is gone through again, and nothing is measured any more. */
  enough?: boolean;
}

export interface SearchPort {
  /** Null: the variant could not be made (nothing to prune, refused by the runtime); the reason is in `TrialBench.skipped`. */
  evaluate(variant: Variant): Promise<Trial | null>;
  /** A run before this one has measured it; none: there was no other run. */
  isMeasured?(variant: Variant): Promise<boolean>;
  now(): number;
  signal?: AbortSignal | undefined;
}

export interface SearchResult {
  trials: Trial[];
  /** True: the time budget, or somebody, ended the search. */
  outOfTime: boolean;
}

/** Of a strategy that was named, each rung about a fifth to a third less work than the one before. */
const RATIOS = [0.25, 0.45, 0.65];
/** Where the automatic search begins, and where it goes when that holds, or does not. */
const FIRST_RATIO = 0.65;
const MORE_RATIOS = [0.8];
const LESS_RATIOS = [0.45, 0.25];
/** Work of a variant against the uncompressed backbone; integers take about half the time (test/bench/results/int8.json). */
const workOf = ({ inputSize, ratio, precision }: Variant): number =>
  inputSize ** 2 * (1 - ratio) * (precision === 'int8' ? 0.5 : 1);
/** Times do not follow work exactly. */
const MORE_WORK = 1.25;
/** Students that the automatic search has taught. */
const MOST_STUDENTS = 3;
/** In less time a student learns nothing that is worth it: no time is kept for it. */
const LEAST_TEACHING_MS = 60_000;
/** Share of the time that is kept for students at most, and what is kept as a multiple of the time of one: two with their judgement. */
const STUDENTS_SHARE = 0.6;
const STUDENTS_KEPT = 3;
/** What teaching is taken to give back of what pruning lost, until a student has shown it: of sixteen students −.1 to 2.7 points came back, of half of them less than half a point. */
const TAUGHT_GAIN_PP = 1;
/** What lost this much more than allowed is not taught even where nothing else is left to try. */
const TAUGHT_SLACK_PP = 4;
/** Below this share of the backbone's own size little of a picture is left. */
const TINY_SHARE = 0.36;
/** Behind this much more drop than allowed, going further the same way is hopeless. */
export const SLACK_PP = 2;

/**
 * Successive search: cheap moves first (input size), then precision on the sizes that hold, then pruning on
 * top of both, as long as that could still be faster; a ladder is left as soon as it has clearly broken the limit. Then students, of what pruning made fastest within reach of
 * teaching; what time they leave goes to pruning again, and to students of what that brought within reach.
 * @throws CANCELLED
 */
export async function searchPlan(request: SearchRequest, port: SearchPort): Promise<SearchResult> {
  const startedAt = port.now();
  const trials = new Map<string, Trial | null>();
  const auto = request.strategy === 'auto';
  const kept =
    auto && request.teachingMs >= LEAST_TEACHING_MS
      ? Math.min(STUDENTS_SHARE * request.timeBudgetMs, STUDENTS_KEPT * request.teachingMs)
      : 0;
  /** When what goes on now has to be done. */
  let until = request.timeBudgetMs - kept;
  let outOfTime = false;
  /** Longest time of a trial so far, of each kind: a student takes many times that of the others, and pruning several times that of a size alone. */
  const slowest = { student: request.teachingMs, pruned: 0, plain: 0 };
  const dropPp = (trial: Trial) => trial.lost.expectedPp;
  const holds = (trial: Trial | null | undefined): trial is Trial =>
    trial !== null && trial !== undefined && keepsLimits(trial, request.maxDropPp);
  const fails = (trial: Trial): boolean => !holds(trial);
  const hopeless = (trial: Trial | null) => trial !== null && dropPp(trial) > request.maxDropPp + SLACK_PP;

  const attempt = async (variant: Variant): Promise<Trial | null> => {
    const id = variantId(variant);
    const known = trials.get(id);
    if (known !== undefined) return known;
    if (port.signal?.aborted) throw new AppError('CANCELLED');
    const elapsed = port.now() - startedAt;
    const kind = variant.strategy === 'distill' ? 'student' : variant.strategy === 'none' ? 'plain' : 'pruned';
    // The first trial is always made: an answer is worth more than the budget.
    const expected = kind === 'pruned' ? Math.max(slowest.plain, slowest.pruned) : slowest[kind];
    const isOver = request.enough ? !(await port.isMeasured?.(variant)) : elapsed + expected > until;
    if (trials.size > 0 && isOver) {
      outOfTime = true;
      return null;
    }
    const before = port.now();
    const trial = await port.evaluate(variant);
    slowest[kind] = Math.max(slowest[kind], port.now() - before);
    trials.set(id, trial);
    return trial;
  };

  let precisions: readonly Precision[] = request.precision === 'auto' ? ['fp32', 'int8'] : [request.precision];
  const plain = (inputSize: number, precision: Precision): Variant => ({
    strategy: 'none',
    ratio: 0,
    inputSize,
    precision,
  });

  /** Sizes that hold in the first precision tried or nearly so, the native one first. */
  const promising: number[] = [request.nativeSize];
  const first = precisions[0]!;
  const lowerSizes = async (): Promise<void> => {
    if (first === 'int8') await attempt(plain(request.nativeSize, 'int8'));
    let before: Trial | null = null;
    // The first step down gives little time and loses little: it is looked at only where the second does not hold.
    const [firstStep, secondStep, ...others] = request.sizes;
    const stepsOver = auto && firstStep !== undefined && secondStep !== undefined;
    for (const size of stepsOver ? [secondStep, ...others] : request.sizes) {
      // So few pixels are worth a try only where half as many again keep the limit.
      const tiny = size < TINY_SHARE * request.nativeSize;
      if (tiny && !holds(before)) break;
      const trial = await attempt(plain(size, first));
      before = trial;
      // Of a larger size that loses a little too much pruning sometimes makes one that does not; never of the smallest.
      if (tiny ? holds(trial) : trial && !hopeless(trial)) promising.push(size);
      if (hopeless(trial) || outOfTime) break;
    }
    if (!stepsOver || outOfTime) return;
    const secondHolds = holds(trials.get(variantId(plain(secondStep, first))));
    if (secondHolds || !hopeless(await attempt(plain(firstStep, first)))) promising.splice(1, 0, firstStep);
  };
  /** From the smallest size upwards, the fastest first, until so many hold or so many were tried. */
  const inIntegers = async (enough: number, most = Infinity): Promise<void> => {
    if (!precisions.includes('int8')) return;
    let found = 0;
    let tried = 0;
    for (const size of promising.toReversed()) {
      const float = trials.get(variantId(plain(size, 'fp32')));
      // Rounding gives nothing back.
      if (first === 'fp32' && float && fails(float)) continue;
      const trial = await attempt(plain(size, 'int8'));
      if (trial === null && !outOfTime && first === 'fp32') {
        // What is not made of the backbone as it is will not be made of a pruned one: floats go on, and are taught.
        precisions = ['fp32'];
        return;
      }
      if (holds(trial)) found++;
      tried++;
      if (found === enough || tried === most || outOfTime) return;
    }
  };

  const strategies: readonly Strategy[] =
    request.strategy === 'auto' ? ['post-prune', 'pre-prune'] : request.strategy === 'none' ? [] : [request.strategy];
  const known = () => [...trials.values()].filter((trial) => trial !== null);
  const quickest = (trials: readonly Trial[]) =>
    trials.reduce<Trial | null>((best, trial) => (best && best.latencyMs <= trial.latencyMs ? best : trial), null);
  const quickestHeld = () => quickest(known().filter(holds));
  /** A variant that does clearly more work than one that holds cannot become the fastest. What holds by its scores alone does not end the search for one that is seen to hold. */
  const isSlower = (variant: Variant): boolean => {
    const best = quickest(known().filter((trial) => holds(trial) && isSeenToHold(trial, request.maxDropPp)));
    return best !== null && workOf(variant) > MORE_WORK * workOf(best.variant);
  };
  /** A named strategy: channels alone, in every precision until that is hopeless or cannot be made. What floats cannot do integers cannot either. */
  const inTurn = async (strategy: Strategy, inputSize: number): Promise<void> => {
    let left = precisions;
    for (const ratio of request.ratio === null ? RATIOS : [request.ratio]) {
      for (const precision of left) {
        const trial = await attempt({ strategy, ratio, inputSize, precision });
        if (outOfTime) return;
        if (trial !== null && !hopeless(trial)) continue;
        if (precision === first) return;
        left = [first];
      }
    }
  };
  /**
   * Whole blocks may go, then channels alone. More where the first ratio holds, less where it does not: what a ratio loses goes up and down by chance, so a ladder from below would end
   * too soon. Integers first, float where they lose a little too much.
   */
  const fromTheMiddle = async (strategy: Strategy, inputSize: number): Promise<void> => {
    const ways = [...precisions]
      .reverse()
      .flatMap((precision, i) => [{ precision, shallow: true }, ...(i === 0 ? [{ precision, shallow: false }] : [])]);
    const tried = async (ratio: number): Promise<boolean> => {
      let best: Trial | null = null;
      for (const { precision, shallow } of ways) {
        const variant: Variant = { strategy, ratio, ...(shallow ? { shallow } : {}), inputSize, precision };
        if (isSlower(variant)) continue;
        if (precision !== precisions.at(-1) && hopeless(best)) break;
        const trial = await attempt(variant);
        if (holds(trial)) return true;
        if (outOfTime) return false;
        if (trial && (best === null || dropPp(trial) < dropPp(best))) best = trial;
      }
      return false;
    };
    if (request.ratio !== null) {
      await tried(request.ratio);
      return;
    }
    const held = await tried(FIRST_RATIO);
    for (const ratio of held ? MORE_RATIOS : LESS_RATIOS) {
      if (outOfTime || (await tried(ratio)) !== held) return;
    }
  };
  /**
   * The automatic search starts at the smallest size that holds unpruned, goes up from there as long as that could still be faster, and then looks at those that alone lose a
   * little too much: pruning or teaching now and then gives that back.
   */
  const sizesToPrune = (): number[] => {
    const holdsAlone = (size: number) =>
      size === request.nativeSize ||
      precisions.some((precision) => holds(trials.get(variantId(plain(size, precision)))));
    return [...promising.filter(holdsAlone).toReversed(), ...promising.filter((size) => !holdsAlone(size))];
  };
  /**
   * One look at the smallest size that holds, at those below and at the next above, so that what is gone on with, and what is taught, is no matter of which came first. Where none of the
   * smaller ones holds, a look at less pruning as well, which is as much work as the next size above: it takes a tenth of a student's time, and a student of what perhaps holds is worth more than one of what is far from it.
   */
  const survey = async (): Promise<void> => {
    const sizes = sizesToPrune();
    const [smallest] = sizes as [number];
    const look = async (inputSize: number, ratio: number): Promise<void> => {
      const precision = precisions.at(-1)!;
      const variant: Variant = { strategy: 'post-prune', ratio, shallow: true, inputSize, precision };
      if (!isSlower(variant)) await attempt(variant);
    };
    const below = sizes.filter((size) => size < smallest);
    const above = promising.filter((size) => size > smallest).slice(-1);
    const most = request.ratio ?? FIRST_RATIO;
    for (const inputSize of [smallest, ...below]) await look(inputSize, most);
    const prunedHolds = known().some((trial) => trial.variant.strategy === 'post-prune' && holds(trial));
    if (!prunedHolds && request.ratio === null) await look(smallest, LESS_RATIOS[0]!);
    for (const inputSize of above) await look(inputSize, most);
  };
  const allPruned = async (): Promise<void> => {
    for (const strategy of strategies) {
      for (const inputSize of sizesToPrune()) {
        await fromTheMiddle(strategy, inputSize);
        if (outOfTime) return;
      }
    }
  };
  /** So few images leave open whether it does: over more of them, when it is finished, it may not. Worth a student where time was kept for some. */
  const holdsPerhaps = (trial: Trial): boolean =>
    kept > 0 && holds(trial) && trial.lost.accuracyUpperPp > request.maxDropPp;
  let students = 0;
  let gain = TAUGHT_GAIN_PP;
  let lastHeld = false;
  /**
   * Of pruned models that lost too much, or only perhaps hold, and would be the fastest: the fastest that holds if teaching gives back what it usually does, or what it gave the student before; `beyondReach`: else the one
   * that had lost least. Where a student holds, of the even faster ones the one that had lost least.
   */
  const allTaught = async (beyondReach: boolean): Promise<void> => {
    const precision = precisions.at(-1)!;
    const studentOf = ({ variant }: Trial): Variant => ({ ...variant, strategy: 'distill' });
    const within = request.maxDropPp + TAUGHT_SLACK_PP;
    while (students < MOST_STUDENTS && !outOfTime) {
      const limitMs = quickestHeld()?.latencyMs ?? Infinity;
      const leastLost = known()
        .filter(
          (trial) =>
            trial.variant.strategy === 'post-prune' &&
            trial.variant.precision === precision &&
            (fails(trial) ? trial.latencyMs < limitMs : holdsPerhaps(trial) && trial.latencyMs <= limitMs) &&
            (lastHeld || dropPp(trial) < within) &&
            !trials.has(variantId(studentOf(trial))),
        )
        .sort((a, b) => dropPp(a) - dropPp(b));
      const [fastestSaved] = leastLost
        .filter((trial) => dropPp(trial) < request.maxDropPp + gain)
        .sort((a, b) => a.latencyMs - b.latencyMs);
      const next = lastHeld ? leastLost[0] : (fastestSaved ?? (beyondReach ? leastLost[0] : undefined));
      if (!next) return;
      const taught = await attempt(studentOf(next));
      if (outOfTime) return;
      students++;
      lastHeld = holds(taught);
      if (taught) gain = dropPp(next) - dropPp(taught);
    }
  };
  /** Floats of students whose integers lose a little too much: they are made already. */
  const taughtInFloats = async (): Promise<void> => {
    if (precisions.length < 2) return;
    for (const trial of known()) {
      const { variant } = trial;
      if (variant.strategy !== 'distill' || holds(trial) || hopeless(trial)) continue;
      const float: Variant = { ...variant, precision: first };
      if (!isSlower(float)) await attempt(float);
      if (outOfTime) return;
    }
  };
  if (auto) {
    // What cannot be had in time by one way may be by the next, and what is known is not tried again.
    const [early, end] = [until, request.timeBudgetMs];
    let ended = false;
    /** Where no student was within reach yet, pruning less may bring one there: the time for it is kept. */
    const lastStudent = () => (kept > 0 && students === 0 ? end - slowest.student : end);
    for (const [way, stop] of [
      [lowerSizes, early],
      [() => inIntegers(1, 1), early],
      [survey, early],
      [() => inIntegers(1), early],
      [allPruned, early],
      [() => allTaught(false), end],
      [taughtInFloats, end],
      [allPruned, lastStudent],
      [() => allTaught(true), end],
      [taughtInFloats, end],
      [allPruned, end],
      // Something slower and more accurate to choose from.
      [() => inIntegers(2), end],
    ] as const) {
      until = typeof stop === 'number' ? stop : stop();
      outOfTime = false;
      await way();
      ended ||= outOfTime && until === end;
    }
    outOfTime = ended;
  } else {
    if (request.strategy === 'none') {
      await lowerSizes();
      await inIntegers(2);
    }
    for (const strategy of strategies) {
      await inTurn(strategy, request.nativeSize);
      if (outOfTime) break;
    }
  }
  return { trials: known(), outOfTime };
}
