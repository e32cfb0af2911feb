/*
 * A chart on how far a number lies in the upper tail of the reference, for what is rare: a new class in a few per cent of the parts. Counting
 * parts beyond a limit throws away how far beyond they are, and a limit that few reference parts pass has a share that few parts tell.
 * Here each part counts by the likelihood ratio of its tail probability u under a mixture, (1 - e) + e a u^(a - 1), against 1: usual parts
 * take a little away, one at the edge adds nothing, one far outside much, but no single one nearly enough (CUSUM: Page, 1954).
 *
 * u inside the reference is a share with its error, beyond its largest value the tail goes on as an exponential with the mean excess of its
 * upper tenth (Pickands, 1975, with shape 0). Steps are whole units, so the run length under u ~ U(0, 1) follows exactly from a Markov chain.
 */

/** Share of changed parts that the chart is made for. */
const CHANGED = 0.06;
/** Their tail probabilities have the density a u^(a - 1). */
const STEEPNESS = 0.15;
/** Unit of a step, nats: what a usual part takes away. */
const UNIT = 0.05;
/** Most that one part can add, nats: an outlier is one part and no alarm. */
const MOST = 2.5;
/** Upper tail whose mean excess goes on beyond the reference. */
const TAIL = 0.1;
/** Normal deviate of the confidence (90 %) of the bound that stands for a share of the reference. */
const DEVIATE = 1.2816;
/** The tail is an estimate all the same: so many times the run length is asked for. Chosen by false alarms on simulated lines that no results file has. */
const GUARD = 3;
/** Reference values below which there is no tail to speak of. */
const LEAST = 50;

const MOST_UNITS = Math.round(MOST / UNIT);

/** Step of a part with the tail probability u, in units, -1 to MOST_UNITS. */
export const stepOf = (u: number): number =>
  Math.max(
    -1,
    Math.min(MOST_UNITS, Math.round(Math.log(1 - CHANGED + CHANGED * STEEPNESS * u ** (STEEPNESS - 1)) / UNIT)),
  );

/** Probability of each step, from -1 on, when u is uniform. */
function stepShares(): number[] {
  // u below which a step of at least k comes: the inverse of stepOf at the rounding border.
  const below = (k: number) =>
    Math.min(1, ((Math.exp((k - 0.5) * UNIT) - (1 - CHANGED)) / (CHANGED * STEEPNESS)) ** (1 / (STEEPNESS - 1)));
  const atLeast = Array.from({ length: MOST_UNITS + 2 }, (_, i) => (i === 0 ? 1 : below(i - 1)));
  return atLeast.map((share, i) => share - (atLeast[i + 1] ?? 0));
}
const SHARES = stepShares();

/** Mean parts until the level (never below 0) reaches `height` units when nothing has changed. */
export function tailRunLength(height: number): number {
  // R_i = 1 + sum_k p_k R_max(0, i + k), 0 from `height` on; down by one only, so R_i = c_i + d_i R_(i - 1), from above.
  const [down = 0, stay = 0, ...up] = SHARES;
  const c = new Float64Array(height);
  const d = new Float64Array(height);
  for (let i = height - 1; i >= 0; i -= 1) {
    let constant = 1;
    let own = 1 - stay - (i === 0 ? down : 0);
    // R_(i + k) as chained constant + factor R_i.
    let [sum, factor] = [0, 1];
    for (let k = 1; k <= up.length && i + k < height; k += 1) {
      sum = c[i + k]! + d[i + k]! * sum;
      factor *= d[i + k]!;
      constant += up[k - 1]! * sum;
      own -= up[k - 1]! * factor;
    }
    c[i] = constant / own;
    d[i] = i === 0 ? 0 : down / own;
  }
  return c[0]!;
}

/** Least height that keeps the run length, guard included. */
function heightFor(runLength: number): number {
  let height = MOST_UNITS;
  while (tailRunLength(height) < GUARD * runLength) height += 1;
  return height;
}

/** Upper bound of a share that k of n values show: of a Poisson count, by Wilson and Hilferty (1931). */
const boundOf = (k: number, n: number): number =>
  Math.min(1, ((k + 1) * (1 - 1 / (9 * (k + 1)) + DEVIATE / (3 * Math.sqrt(k + 1))) ** 3) / n);

/** Tail probability of a value beyond reference values; null: they are too few. */
export function tailOf(reference: readonly number[]): ((x: number) => number) | null {
  const sorted = reference.filter(Number.isFinite).sort((a, b) => b - a);
  const n = sorted.length;
  if (n < LEAST) return null;
  const count = Math.floor(TAIL * n);
  const edge = sorted[count]!;
  // With its own standard error on top: a tail that is told too thin makes alarms.
  const excess = (sorted.slice(0, count).reduce((sum, x) => sum + x - edge, 0) / count) * (1 + 1 / Math.sqrt(count));
  const largest = sorted[0]!;
  return (x) => {
    if (x > largest) return boundOf(0, n) * (excess > 0 ? Math.exp(-(x - largest) / excess) : 0);
    let [low, high] = [0, n];
    // How many are at least as large.
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]! >= x) low = middle + 1;
      else high = middle;
    }
    return boundOf(low, n);
  };
}

/** Level after each part, and the height at which it alarms; null: the reference is too small. */
export function createTail(
  reference: readonly number[],
  runLength: number,
): { height: number; next(level: number, x: number): number } | null {
  const tail = tailOf(reference);
  if (tail === null) return null;
  return { height: heightFor(runLength), next: (level, x) => Math.max(0, level + stepOf(tail(x))) };
}
