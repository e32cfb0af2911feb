import { assert } from '../../contract/errors.ts';
import { randomOf, type Random } from '../../vision/augment/index.ts';

/* Purposes of a draw: two of one epoch never use the same numbers. */
const SHUFFLE = 1;
const CLASSES = 2;
const CLASS_CYCLE = 3;

/** Fisher-Yates, in place. */
function shuffle(items: Uint32Array, random: Random): Uint32Array {
  for (let i = items.length - 1; i > 0; i -= 1) {
    const j = random.below(i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

export interface OrderOptions {
  /** Class of each image. */
  labels: readonly number[];
  batch: number;
  seed: number;
  /** Default true; false: always 0, 1, 2, … */
  shuffle?: boolean;
  /**
   * Every class comes equally often: an epoch is as long as without, a small class is gone through several times, a large one in part (another part each
   * epoch). Only with shuffle.
   */
  balanced?: boolean;
}

/** The last one is filled up, so none is cut short. */
export const batchesPerEpoch = (images: number, batch: number): number => Math.ceil(images / batch);

/**
 * Indices of the images of one epoch: whole batches. The last batch is filled up from the beginning of the same order, so in a plain epoch every image
 * comes once and the first few may come twice. A pure function of its arguments.
 */
export function epochOrder(options: OrderOptions, epoch: number): Uint32Array {
  const { labels, batch, seed } = options;
  const count = labels.length;
  assert(count > 0 && batch > 0, 'a loader has images and a batch size');
  const length = batchesPerEpoch(count, batch) * batch;
  if (options.balanced && options.shuffle !== false) return balancedOrder(labels, length, seed, epoch);
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  if (options.shuffle !== false) shuffle(order, randomOf(seed, epoch, SHUFFLE));
  return Uint32Array.from({ length }, (_, i) => order[i % count]!);
}

function balancedOrder(labels: readonly number[], length: number, seed: number, epoch: number): Uint32Array {
  const present = [...new Set(labels)].sort((a, b) => a - b);
  const members = new Map(present.map((label) => [label, labels.flatMap((found, i) => (found === label ? [i] : []))]));
  const cycles = new Map<number, { items: Uint32Array; next: number; cycle: number }>();
  const take = (label: number): number => {
    const all = members.get(label)!;
    let state = cycles.get(label);
    if (!state || state.next === all.length) {
      const cycle = (state?.cycle ?? -1) + 1;
      const items = shuffle(Uint32Array.from(all), randomOf(seed, epoch, CLASS_CYCLE, label, cycle));
      state = { items, next: 0, cycle };
      cycles.set(label, state);
    }
    return state.items[state.next++]!;
  };
  const random = randomOf(seed, epoch, CLASSES);
  const order = new Uint32Array(length);
  let round = new Uint32Array();
  for (let i = 0; i < length; i += 1) {
    const within = i % present.length;
    if (within === 0) round = shuffle(Uint32Array.from(present), random) as Uint32Array<ArrayBuffer>;
    order[i] = take(round[within]!);
  }
  return order;
}
