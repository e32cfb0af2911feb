/** Deterministic numbers in [-1, 1) that whole-number arithmetic gives alike in every language: element `k` of stream `stream`. */
export function hashed(k: number, stream: number): number {
  let h = (Math.imul(k, 2654435761) + Math.imul(stream, 97531)) >>> 0;
  h = (h ^ (h >>> 15)) >>> 0;
  h = Math.imul(h, 2246822519) >>> 0;
  h = (h ^ (h >>> 13)) >>> 0;
  return h / 2 ** 31 - 1;
}

export const hashedArray = (length: number, stream: number): Float32Array =>
  Float32Array.from({ length }, (_, k) => hashed(k, stream));
