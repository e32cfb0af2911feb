/** Numbers that any machine repeats from the same keys. */
export interface Random {
  /** Uniform in [0, 1), 32 bits. */
  next(): number;
  /** Uniform in [from, to). */
  between(from: number, to: number): number;
  /** Whole number in [0, count). */
  below(count: number): number;
  /** Standard normal (Box and Muller). */
  normal(): number;
}

/** Final mixing of MurmurHash3: every bit of the input reaches every bit of the output. */
function mix(word: number): number {
  let h = word | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * A generator for one purpose, for example (seed, epoch, index of the image): neighbouring keys give unrelated numbers, and nobody's
 * draw depends on how many others drew before.
 * @param keys whole numbers below 2^32
 */
export function randomOf(...keys: readonly number[]): Random {
  let state = 0x9e3779b9;
  for (const key of keys) state = mix(state ^ mix((key + 0x6d2b79f5) | 0)) + 0x9e3779b9;
  // sfc32 (PractRand, Chris Doty-Humphrey), started from four mixed words.
  let a = mix(state);
  let b = mix(state + 1);
  let c = mix(state + 2);
  let counter = 1;
  const word = () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i += 1) word();
  const next = () => word() / 2 ** 32;
  return {
    next,
    between: (from, to) => from + (to - from) * next(),
    below: (count) => Math.floor(next() * count),
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
  };
}
