import type { PixelImage } from './image.ts';
import { createPreprocessor } from './preprocess.ts';

/*
 * A 64-bit hash of how a picture looks: the signs of its lowest frequencies (the DCT hash of Zauner, "Implementation and benchmarking of
 * perceptual image hash functions", 2010, with signs in place of the comparison with the median, so that no bit depends on
 * another). Another exposure, another compression or a small shift turns few bits; another picture turns about half of them.
 *
 * Integers from the grey values on, so the hash is the same on every machine.
 */

const SIZE = 32;
/** Frequencies per axis: 8 x 8 without the constant, and (0, 8) to make 64. */
const LOW = 8;
/** cos((2 x + 1) u pi / 64) in 1/4096. */
const cosines = Array.from({ length: LOW + 1 }, (_, u) =>
  Int32Array.from({ length: SIZE }, (__, x) => Math.round(4096 * Math.cos(((2 * x + 1) * u * Math.PI) / (2 * SIZE)))),
);
const frequencies: [number, number][] = [];
for (let v = 0; v < LOW; v += 1) for (let u = 0; u < LOW; u += 1) if (u + v > 0) frequencies.push([u, v]);
frequencies.push([0, LOW]);

const preprocessor = createPreprocessor({ size: SIZE, mean: [0, 0, 0], std: [1, 1, 1] });
const planes = new Float32Array(preprocessor.length);

/** 16 hexadecimal digits. Pictures whose hashes differ in few bits look alike (hammingDistance). */
export function perceptualHash(image: PixelImage): string {
  preprocessor.into(image, null, planes, 0);
  const pixels = SIZE * SIZE;
  const grey = new Int32Array(pixels);
  // Rec. 601 luma in 1/16 of a grey level.
  for (let i = 0; i < pixels; i += 1) {
    grey[i] = Math.round(4.784 * planes[i]! + 9.392 * planes[pixels + i]! + 1.824 * planes[2 * pixels + i]!);
  }
  const rows = cosines.map((wave) => {
    const out = new Float64Array(SIZE);
    for (let y = 0; y < SIZE; y += 1) for (let x = 0; x < SIZE; x += 1) out[y]! += wave[x]! * grey[y * SIZE + x]!;
    return out;
  });
  let hash = '';
  for (let digit = 0; digit < 16; digit += 1) {
    let value = 0;
    for (let bit = 0; bit < 4; bit += 1) {
      const [u, v] = frequencies[digit * 4 + bit]!;
      let sum = 0;
      for (let y = 0; y < SIZE; y += 1) sum += rows[u]![y]! * cosines[v]![y]!;
      value = value * 2 + (sum > 0 ? 1 : 0);
    }
    hash += value.toString(16);
  }
  return hash;
}
