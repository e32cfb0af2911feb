import { AppError } from '../../contract/errors.ts';
import type { NoveltyLoss } from '../../learning/held-out-novelty.ts';
import { decisiveLossPp, isBlind, keepsLimits, MOST_NOVELTY_LOSS, type Loss, type Quality } from './evaluate.ts';
import type { Broken } from './nearest.ts';
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
  /** Greatest decisive loss, percentage points. */
  maxDropPp: number;
  timeBudgetMs: number;
}

export interface SearchPort {
  /** Null: the variant could not be made (nothing to prune, refused by the runtime); the reason goes to `onSkipped`. */
  evaluate(variant: Variant): Promise<Trial | null>;
  now(): number;
  signal?: AbortSignal | undefined;
  onTrial?: ((trial: Trial, done: number) => void) | undefined;
}

export interface SearchResult {
  trials: Trial[];
  /** True: the time budget ended the search. */
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
const MOST_STUDENTS = 2;
/** Below this share of the backbone's own size little of a picture is left. */
const TINY_SHARE = 0.36;
/** Behind this much more drop than allowed, going further the same way is hopeless. */
export const SLACK_PP = 2;

/**
 * Successive search: cheap moves first (input size), then precision on the sizes that hold, then pruning on
 * top of both, as long as that could still be faster; a ladder is left as soon as it has clearly broken the limit.
 */
export async function searchPlan(request: SearchRequest, port: SearchPort): Promise<SearchResult> {
  const startedAt = port.now();
  const trials = new Map<string, Trial | null>();
  let outOfTime = false;
  let slowest = 0;
  const dropPp = (trial: Trial) => decisiveLossPp(trial.lost, request.maxDropPp);
  const holds = (trial: Trial | null | undefined): trial is Trial =>
    trial !== null && trial !== undefined && keepsLimits(trial, request.maxDropPp);
  const hopeless = (trial: Trial | null) => trial !== null && dropPp(trial) > request.maxDropPp + SLACK_PP;

  const attempt = async (variant: Variant): Promise<Trial | null> => {
    const id = variantId(variant);
    const known = trials.get(id);
    if (known !== undefined) return known;
    if (port.signal?.aborted) throw new AppError('CANCELLED');
    const elapsed = port.now() - startedAt;
    // The first trial is always made: an answer is worth more than the budget.
    if (trials.size > 0 && elapsed + slowest > request.timeBudgetMs) {
      outOfTime = true;
      return null;
    }
    const before = port.now();
    const trial = await port.evaluate(variant);
    slowest = Math.max(slowest, port.now() - before);
    trials.set(id, trial);
    if (trial) port.onTrial?.(trial, trials.size);
    return trial;
  };

  const precisions: readonly Precision[] = request.precision === 'auto' ? ['fp32', 'int8'] : [request.precision];
  const plain = (inputSize: number, precision: Precision): Variant => ({
    strategy: 'none',
    ratio: 0,
    inputSize,
    precision,
  });

  /** Sizes that hold in the first precision tried or nearly so, the native one first. */
  const promising: number[] = [request.nativeSize];
  if (request.strategy === 'auto' || request.strategy === 'none') {
    const first = precisions[0]!;
    if (first === 'int8') await attempt(plain(request.nativeSize, 'int8'));
    let before: Trial | null = null;
    for (const size of request.sizes) {
      // So few pixels are worth a try only where half as many again keep the limit.
      const tiny = size < TINY_SHARE * request.nativeSize;
      if (tiny && !holds(before)) break;
      const trial = await attempt(plain(size, first));
      before = trial;
      // Of a larger size that loses a little too much pruning sometimes makes one that does not; never of the smallest.
      if (tiny ? holds(trial) : trial && !hopeless(trial)) promising.push(size);
      if (hopeless(trial) || outOfTime) break;
    }
    if (precisions.includes('int8')) {
      // From the smallest size upwards: the fastest first; two that hold are enough.
      let found = 0;
      for (const size of [...promising].reverse()) {
        if (holds(await attempt(plain(size, 'int8')))) found++;
        if (found === 2 || outOfTime) break;
      }
    }
  }

  const strategies: readonly Strategy[] =
    request.strategy === 'auto' ? ['post-prune', 'pre-prune'] : request.strategy === 'none' ? [] : [request.strategy];
  const known = () => [...trials.values()].filter((trial) => trial !== null);
  /** A variant that does clearly more work than one that holds cannot become the fastest. */
  const isSlower = (variant: Variant): boolean => {
    const quickest = known()
      .filter(holds)
      .reduce<Trial | null>((best, trial) => (best && best.latencyMs <= trial.latencyMs ? best : trial), null);
    return quickest !== null && workOf(variant) > MORE_WORK * workOf(quickest.variant);
  };
  /** A named strategy: channels alone, in every precision, until it is hopeless. */
  const inTurn = async (strategy: Strategy, inputSize: number): Promise<void> => {
    for (const ratio of request.ratio === null ? RATIOS : [request.ratio]) {
      let last: Trial | null = null;
      for (const precision of precisions) {
        last = await attempt({ strategy, ratio, inputSize, precision });
        if (outOfTime || last === null || hopeless(last)) return;
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
  for (const strategy of strategies) {
    // A named strategy is tried at the backbone's own size. The automatic search starts at the smallest size that holds unpruned, goes
    // up from there as long as that could still be faster, and then looks at those that alone lose a little too much: pruning now and then
    // gives that back.
    const named = request.strategy !== 'auto';
    const holdsAlone = (size: number) =>
      size === request.nativeSize ||
      precisions.some((precision) => holds(trials.get(variantId(plain(size, precision)))));
    const sizes = named
      ? [request.nativeSize]
      : [...promising.filter(holdsAlone).toReversed(), ...promising.filter((size) => !holdsAlone(size))];
    for (const inputSize of sizes) {
      if (named) await inTurn(strategy, inputSize);
      else await fromTheMiddle(strategy, inputSize);
      if (outOfTime) break;
    }
    if (outOfTime) break;
  }
  if (request.strategy === 'auto' && !outOfTime) {
    // Teaching takes longest, so it comes last, where it could win: pruned models that lost too much, closest to the limit first.
    const quickest = Math.min(
      ...known()
        .filter(holds)
        .map(({ latencyMs }) => latencyMs),
      Infinity,
    );
    const lost = known().filter(
      (trial) =>
        trial.variant.strategy === 'post-prune' &&
        trial.variant.precision === precisions.at(-1) &&
        dropPp(trial) > request.maxDropPp &&
        trial.latencyMs < quickest,
    );
    lost.sort((a, b) => dropPp(a) - dropPp(b));
    for (const { variant } of lost.slice(0, MOST_STUDENTS)) {
      for (const precision of precisions) await attempt({ ...variant, strategy: 'distill', precision });
      if (outOfTime) break;
    }
  }
  return { trials: known(), outOfTime };
}

/** Trials that no other beats in both validation accuracy and time; fastest first. */
export const paretoFront = <T extends Pick<Trial, 'balancedAccuracy' | 'latencyMs'>>(trials: readonly T[]): T[] =>
  trials
    .filter(
      (trial) =>
        !trials.some(
          (other) =>
            other !== trial &&
            other.latencyMs <= trial.latencyMs &&
            other.balancedAccuracy >= trial.balancedAccuracy &&
            (other.latencyMs < trial.latencyMs || other.balancedAccuracy > trial.balancedAccuracy),
        ),
    )
    .sort((a, b) => a.latencyMs - b.latencyMs);

export interface OfferLimits {
  maxDropPp: number;
  /** null: none asked. */
  latencyMs: number | null;
}

/** Below this a speed-up is not told from noise. */
export const LEAST_SPEEDUP = 1.05;

export interface OfferFacts {
  speedup: number;
  /** 95 % of it; null: too few runs. */
  speedupInterval: readonly [number, number] | null;
  lost: Loss;
  latencyMs: number;
  bytes: number;
  referenceBytes: number;
  /** Against the uncompressed model; null: there are too few classes to hold one out. */
  newDefects: NoveltyLoss | null;
}

/** Limits that are broken, each with the reason in words; the first is the one to tell. */
const brokenLimits = (facts: OfferFacts, limits: OfferLimits): (Broken & { reason: string })[] => {
  const { speedup, speedupInterval, lost, latencyMs, bytes, referenceBytes, newDefects } = facts;
  const change = changeWords(facts);
  const broken: (Broken & { reason: string })[] = [];
  if (speedup < LEAST_SPEEDUP) {
    broken.push({ limit: 'speed', needs: null, reason: `Not faster on this PC (${speedup.toFixed(2)} times).` });
  } else if (speedupInterval && speedupInterval[0] <= 1) {
    const [low, high] = speedupInterval.map((times) => times.toFixed(2));
    broken.push({
      limit: 'speed',
      needs: null,
      reason: `Not shown to be faster on this PC (${low} to ${high} times).`,
    });
  }
  // A lower input size alone leaves the weights as they are: not larger is enough; what its head adds is a few hundred bytes.
  if (bytes > referenceBytes * 1.01) {
    broken.push({
      limit: 'size',
      needs: null,
      reason: `Larger than the original (${bytes} against ${referenceBytes} bytes).`,
    });
  }
  if (lost.accuracyPp > limits.maxDropPp) {
    broken.push({
      limit: 'drop',
      needs: lost.accuracyPp,
      reason: `Too inaccurate: ${change}; allowed are ${limits.maxDropPp} pp.`,
    });
  } else if (decisiveLossPp(lost, limits.maxDropPp) > limits.maxDropPp) {
    broken.push({
      limit: 'drop',
      needs: decisiveLossPp(lost, limits.maxDropPp),
      reason: `Too uncertain: ${change}, but so few images do not show that, and its scores are ${lost.certaintyPp.toFixed(2)} pp further from the truth (allowed: ${limits.maxDropPp} pp).`,
    });
  }
  if (isBlind(newDefects)) {
    broken.push({
      limit: 'novelty',
      needs: null,
      reason: `Blind to new defects: ${change}, but with one class held out as if it were new, ${(100 * newDefects.loss).toFixed(1)} % fewer of its parts stand out from known ones (area under the curve; allowed: ${100 * MOST_NOVELTY_LOSS} %).`,
    });
  }
  if (limits.latencyMs !== null && latencyMs > limits.latencyMs) {
    broken.push({
      limit: 'latency',
      needs: latencyMs,
      reason: `Too slow: ${latencyMs.toFixed(2)} ms; allowed are ${limits.latencyMs} ms.`,
    });
  }
  return broken;
};

/** Whether a variant is offered, and why or why not, in words for a supervisor. */
export const judgeOffer = (
  facts: OfferFacts,
  limits: OfferLimits,
): { offered: boolean; reason: string; broken: Broken[] } => {
  const broken = brokenLimits(facts, limits);
  const change = changeWords(facts);
  return {
    offered: broken.length === 0,
    reason: broken[0]?.reason ?? `${change[0]!.toUpperCase()}${change.slice(1)}.`,
    broken: broken.map(({ limit, needs }) => ({ limit, needs })),
  };
};

const changeWords = ({ speedup, lost }: OfferFacts): string =>
  `${speedup.toFixed(2)} times as fast, ${dropWords(lost.accuracyPp)} in cross-validation`;

const dropWords = (pp: number): string =>
  pp > 0.005
    ? `${pp.toFixed(2)} pp less accurate`
    : pp < -0.005
      ? `${(-pp).toFixed(2)} pp more accurate`
      : 'equally accurate';

/**
 * The fastest offered variant; among those within a tenth of its time the most accurate (ties: the first).
 * @returns index into `offers`, or null when nothing is offered
 */
export const recommend = (
  offers: readonly { offered: boolean; latencyMs: number; balancedAccuracy: number }[],
): number | null => {
  let fastest = Infinity;
  for (const { offered, latencyMs } of offers) if (offered) fastest = Math.min(fastest, latencyMs);
  let best: number | null = null;
  offers.forEach(({ offered, latencyMs, balancedAccuracy }, i) => {
    if (!offered || latencyMs > 1.1 * fastest) return;
    if (best === null || balancedAccuracy > offers[best]!.balancedAccuracy) best = i;
  });
  return best;
};
