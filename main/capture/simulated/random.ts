import { mulberry32 } from '../../vision/random.ts';

/** A seeded source of numbers: the same seeds give the same part on every machine. */
export interface Random {
  /** [0, 1) */
  next(): number;
  between(low: number, high: number): number;
  /** Whole number in [low, high]. */
  whole(low: number, high: number): number;
  chance(share: number): boolean;
  pick<T>(items: readonly [T, ...T[]]): T;
  /** Standard normal. */
  normal(): number;
}

/** Mixes any number of words into 32 bits (MurmurHash3's finaliser after each word). */
export function mixSeeds(...words: number[]): number {
  let h = 0x9e3779b9;
  for (const word of words) {
    h = Math.imul(h ^ (word | 0) ^ Math.imul(Math.floor(word / 2 ** 32), 0x27d4eb2f), 0x85ebca6b);
    h ^= h >>> 13;
    h = Math.imul(h, 0xc2b2ae35);
    h ^= h >>> 16;
  }
  return h >>> 0;
}

/** FNV-1a, 32 bits: the same seed for the same text everywhere. */
export const textSeed = (text: string): number => {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
};

export function createRandom(seed: number): Random {
  const whole = mulberry32(seed);
  const next = () => whole() / 2 ** 32;
  return {
    next,
    between: (low, high) => low + (high - low) * next(),
    whole: (low, high) => low + Math.floor(next() * (high - low + 1)),
    chance: (share) => next() < share,
    pick: (items) => items[Math.floor(next() * items.length)]!,
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
  };
}
