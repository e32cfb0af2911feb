import type { OfferLimits } from './offers.ts';

/* Where nothing is offered: which limit it is that everything breaks, and what the nearest candidate would need. */

/** A limit that a candidate breaks, and the least value of it under which it would not; `null`: nobody sets it. */
export interface Broken {
  limit: 'latency' | 'drop' | 'speed' | 'size' | 'novelty';
  needs: number | null;
}

interface Judged {
  id: string;
  latencyMs: number;
  broken: readonly Broken[];
}

const nameOf: Record<Broken['limit'], string> = {
  latency: 'the latency',
  drop: 'the drop of accuracy',
  speed: 'the speed-up',
  size: 'the file size',
  novelty: 'the sense for new defects',
};

/** Rounded up, so that the number told is enough. */
const atLeast = (value: number): string => (Math.ceil(value * 100 - 1e-9) / 100).toFixed(2);

const wouldOffer = ({ limit, needs }: Broken): string | null =>
  needs === null
    ? null
    : limit === 'latency'
      ? `${atLeast(needs)} ms (--latency-ms)`
      : limit === 'drop'
        ? `${atLeast(needs)} pp (--max-drop-pp)`
        : null;

/**
 * @param offers candidates, none of them offered
 * @returns sentences for a supervisor
 */
export function whatBinds(offers: readonly Judged[], { latencyMs, maxDropPp }: OfferLimits): string {
  const asked = { latency: latencyMs === null ? '' : ` of ${latencyMs} ms`, drop: ` of ${maxDropPp} pp` };
  const named = (limit: Broken['limit']) =>
    `${nameOf[limit]}${limit === 'latency' ? asked.latency : limit === 'drop' ? asked.drop : ''}`;
  // A limit that all break binds whatever else holds; where none is, different ones do.
  const all = (['latency', 'drop', 'novelty', 'speed', 'size'] as const).filter((limit) =>
    offers.every(({ broken }) => broken.some((each) => each.limit === limit)),
  );
  const binding = all.length > 0 ? all : [...new Set(offers.flatMap(({ broken }) => broken.map(({ limit }) => limit)))];
  // The nearest breaks the fewest limits, of those the least far.
  const far = ({ broken }: Judged): number =>
    broken.reduce((sum, { limit, needs }) => {
      const allowed = limit === 'latency' ? latencyMs : limit === 'drop' ? maxDropPp : null;
      return needs === null || allowed === null ? sum : sum + Math.log((needs + 0.01) / (allowed + 0.01));
    }, 0);
  const [nearest] = offers.toSorted(
    (a, b) => a.broken.length - b.broken.length || far(a) - far(b) || a.latencyMs - b.latencyMs,
  );
  const wishes = nearest!.broken.map(wouldOffer);
  const remedy = wishes.every((wish) => wish !== null) ? ` It would be offered with ${wishes.join(' and ')}.` : '';
  return `Nothing is recommended; what binds is ${binding.map(named).join(' and ')}. Nearest is ${nearest!.id}.${remedy}`;
}
