import { byCodeUnit } from './dataset.ts';

/*
 * Near-duplicates: two shots of one part, a picture and its copy in another format. If one of them teaches while the other is
 * held out, the held-out one is no test, and less regularisation looks better than it is. So folds are of groups.
 *
 * Two pictures are near when their perceptual hashes (vision/perceptual-hash.ts) differ in at most a few bits; a group is what
 * is joined by such steps. On a set where everything looks alike (one fixed camera, one kind of part) that would be one group;
 * the radius is then taken smaller until no group fills more than half a fold. The radius and the groups are functions of the
 * set of pictures, in whatever order they came.
 */

/** Radii in bits that are tried in turn. About 32 of 64 bits differ between unrelated pictures. */
export const nearDuplicateRadii: readonly number[] = [6, 4, 2, 0];
/** Share of the pictures that one group may hold: half a fold. */
const LARGEST = 0.1;
/** Groups of up to so many are let be, however few pictures there are. */
const SMALL_GROUP = 4;

export interface Picture {
  /** Content hash; the same picture is always in one group. */
  sha: string;
  /** Perceptual hash, 16 hexadecimal digits; undefined: not known, or the picture is flat: it stands alone. */
  look?: string | undefined;
}

const bitCount = (value: number): number => {
  let x = value - ((value >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  x = (x + (x >>> 4)) & 0x0f0f0f0f;
  return Math.imul(x, 0x01010101) >>> 24;
};

/** A flat picture has no frequencies, and what was never looked at is stored as zeros. */
export const NO_LOOK = '0'.repeat(16);

class Groups {
  readonly #parent: Int32Array;
  readonly #size: Int32Array;
  largest = 1;

  constructor(count: number) {
    this.#parent = Int32Array.from({ length: count }, (_, i) => i);
    this.#size = new Int32Array(count).fill(1);
  }

  rootOf(item: number): number {
    let i = item;
    while (this.#parent[i] !== i) {
      this.#parent[i] = this.#parent[this.#parent[i]!]!;
      i = this.#parent[i]!;
    }
    return i;
  }

  join(a: number, b: number): void {
    let [large, small] = [this.rootOf(a), this.rootOf(b)];
    if (large === small) return;
    if (this.#size[large]! < this.#size[small]!) [large, small] = [small, large];
    this.#parent[small] = large;
    this.#size[large]! += this.#size[small]!;
    this.largest = Math.max(this.largest, this.#size[large]!);
  }
}

/** A hash cut into radius + 1 bands: hashes that differ in at most `radius` bits agree in a band (pigeonhole). */
function bandsOf(radius: number): { high: boolean; shift: number; mask: number }[] {
  const count = radius + 1;
  const bands: { high: boolean; shift: number; mask: number }[] = [];
  // Whole bands within one 32-bit half each: half of them (rounded up) in the high word, the rest in the low word.
  for (const [high, parts] of [
    [true, Math.ceil(count / 2)],
    [false, Math.floor(count / 2)],
  ] as const) {
    for (let b = 0; b < parts; b += 1) {
      const from = Math.floor((32 * b) / parts);
      const width = Math.floor((32 * (b + 1)) / parts) - from;
      bands.push({ high, shift: from, mask: width === 32 ? -1 : (1 << width) - 1 });
    }
  }
  return bands;
}

/** Joins what is near; gives up (false) once a group is larger than `limit`. */
function joinNear(groups: Groups, high: Int32Array, low: Int32Array, known: number[], radius: number, limit: number) {
  for (const band of bandsOf(radius)) {
    const buckets = new Map<number, number[]>();
    for (const i of known) {
      const word = band.high ? high[i]! : low[i]!;
      const key = (word >>> band.shift) & band.mask;
      const bucket = buckets.get(key);
      if (!bucket) {
        buckets.set(key, [i]);
        continue;
      }
      for (const j of bucket) {
        if (bitCount(high[i]! ^ high[j]!) + bitCount(low[i]! ^ low[j]!) > radius) continue;
        groups.join(i, j);
        if (groups.largest > limit) return false;
      }
      bucket.push(i);
    }
  }
  return true;
}

/**
 * Group of each picture, named by the least content hash in it: a function of the set, in any order. Cost: near n for hashes
 * that are spread out; where they are not, a radius ends as soon as a group is too large.
 * @param radii in bits, tried in turn until no group is too large.
 */
export function nearDuplicateGroups(
  pictures: readonly Picture[],
  radii: readonly number[] = nearDuplicateRadii,
): string[] {
  const byContent = new Map<string, Picture>();
  for (const picture of pictures) if (!byContent.has(picture.sha)) byContent.set(picture.sha, picture);
  // The outcome does not depend on this order; the time to give up does, and tests compare times.
  const distinct = [...byContent.values()].sort((a, b) => byCodeUnit(a.sha, b.sha));
  const high = Int32Array.from(distinct, ({ look = NO_LOOK }) => Number.parseInt(look.slice(0, 8), 16) | 0);
  const low = Int32Array.from(distinct, ({ look = NO_LOOK }) => Number.parseInt(look.slice(8), 16) | 0);
  const known = distinct.flatMap(({ look }, i) => (look === undefined || look === NO_LOOK ? [] : [i]));
  const limit = Math.max(SMALL_GROUP, Math.floor(distinct.length * LARGEST));
  let groups = new Groups(distinct.length);
  for (const radius of radii) {
    groups = new Groups(distinct.length);
    if (joinNear(groups, high, low, known, radius, limit)) break;
    // Not even equal hashes tell pictures of this set apart: every picture stands alone.
    groups = new Groups(distinct.length);
  }
  const names = new Map<number, string>();
  const nameOf = new Map<string, string>();
  distinct.forEach(({ sha }, i) => {
    const root = groups.rootOf(i);
    // In order of content hash: the first of a group is its least.
    const name = names.get(root) ?? sha;
    names.set(root, name);
    nameOf.set(sha, name);
  });
  return pictures.map(({ sha }) => nameOf.get(sha)!);
}
