/** Numbers in [0, 1), the same on every machine for the same seed. */
export type RandomSource = () => number;

/** FNV-1a of a text's UTF-16 units, as an unsigned 32-bit number. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/**
 * One stream per parameter, by seed and name: adding a layer leaves the others' weights as they were. sfc32 (Doty-Humphrey, PractRand):
 * 53 bits of each draw are used.
 */
export function randomSource(seed: number, name: string): RandomSource {
  let [a, b, c, counter] = [seed >>> 0, hashText(name), Math.floor(seed / 2 ** 32) >>> 0, 1];
  const next = (): number => {
    const sum = (((a + b) >>> 0) + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) >>> 0;
    c = ((c << 21) | (c >>> 11)) >>> 0;
    c = (c + sum) >>> 0;
    return sum;
  };
  // The first draws still show the seed.
  for (let i = 0; i < 16; i++) next();
  return () => ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
}

/** `count` numbers from N(0, deviation²), by Box and Muller (1958). */
export function normalNumbers(random: RandomSource, count: number, deviation: number): Float32Array {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - random())) * deviation;
    const angle = 2 * Math.PI * random();
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}

/** As normalNumbers, drawn again where beyond `bound` (absolute). */
export function truncatedNormalNumbers(
  random: RandomSource,
  count: number,
  deviation: number,
  bound: number,
): Float32Array {
  const out = normalNumbers(random, count, deviation);
  for (let i = 0; i < count; i++) while (Math.abs(out[i]!) > bound) out[i] = normalNumbers(random, 1, deviation)[0]!;
  return out;
}

/** `count` numbers, even in [-bound, bound). */
export function uniformNumbers(random: RandomSource, count: number, bound: number): Float32Array {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = (2 * random() - 1) * bound;
  return out;
}
