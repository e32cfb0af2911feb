import { pixelFormats } from '../pixel-formats.ts';

/*
 * What the simulated camera takes pictures of: noise that depends on the frame's id alone, so that a receiver can check every byte
 * without having seen the frame sent. Sample i of frame f is noise[(i + 7919 f) mod 65521], 16 bits, of which a pixel format with
 * n bits carries the upper n. The upper eight bits of every format are therefore the same picture.
 */

/** Prime, so that no width of a picture makes its lines alike. */
const PERIOD = 65_521;
const FRAME_STEP = 7_919;

const noise = new Uint16Array(PERIOD);
{
  // Xorshift (Marsaglia 2003, "Xorshift RNGs", 32 bits: 13, 17, 5).
  let state = 0x9e37_79b9;
  for (let i = 0; i < PERIOD; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    noise[i] = state >>> 16;
  }
}
/** The upper eight bits, twice, so that a turn is one piece. */
const bytes = new Uint8Array(2 * PERIOD);
for (let i = 0; i < bytes.length; i += 1) bytes[i] = noise[i % PERIOD]! >> 8;

const startOf = (frameId: number): number => ((frameId % PERIOD) * FRAME_STEP) % PERIOD;

/** 16 bits. @param index of the sample: row-major, three of a pixel in RGB. */
export const sampleOf = (frameId: number, index: number): number => noise[(startOf(frameId) + index) % PERIOD]!;

/** The upper eight bits of the first `count` samples. */
export function patternBytes(frameId: number, count: number, into: Buffer = Buffer.allocUnsafe(count)): Buffer {
  const start = startOf(frameId);
  for (let at = 0; at < count; at += PERIOD) {
    into.set(bytes.subarray(start, start + Math.min(PERIOD, count - at)), at);
  }
  return into;
}

interface Packing {
  code: number;
  bitsPerPixel: number;
  /** Writes all samples of a frame. */
  pack(frameId: number, samples: number, into: Buffer): void;
}

/** 16 bits little-endian, the value in the lower `bits`. */
const wide = (bits: number): Packing['pack'] => {
  return (frameId, samples, into) => {
    for (let i = 0; i < samples; i += 1) into.writeUInt16LE(sampleOf(frameId, i) >> (16 - bits), 2 * i);
  };
};
/** Least significant bit first, without gaps (PFNC "p"). */
const stream = (bits: number): Packing['pack'] => {
  return (frameId, samples, into) => {
    let held = 0;
    let heldBits = 0;
    let at = 0;
    for (let i = 0; i < samples; i += 1) {
      held |= (sampleOf(frameId, i) >> (16 - bits)) << heldBits;
      heldBits += bits;
      for (; heldBits >= 8; heldBits -= 8) {
        into[at++] = held & 255;
        held >>>= 8;
      }
    }
    if (heldBits > 0) into[at] = held & 255;
  };
};
/** Two pixels in three bytes: upper eight bits of each outside, the rest in the middle, first pixel low (GigE Vision "Packed"). */
const packed = (bits: number): Packing['pack'] => {
  const rest = bits - 8;
  return (frameId, samples, into) => {
    for (let i = 0; i < samples; i += 1) {
      const value = sampleOf(frameId, i) >> (16 - bits);
      const at = 3 * (i >> 1);
      const odd = i & 1;
      if (odd === 0) into[at + 1] = 0;
      if (at + 2 * odd < into.length) into[at + 2 * odd] = value >> rest;
      into[at + 1]! |= (value & ((1 << rest) - 1)) << (4 * odd);
    }
  };
};
const upper: Packing['pack'] = (frameId, samples, into) => void patternBytes(frameId, samples, into);
const swapped: Packing['pack'] = (frameId, samples, into) => {
  for (let i = 0; i < samples; i += 1) into[i - (i % 3) + 2 - (i % 3)] = sampleOf(frameId, i) >> 8;
};

const packingOf = (name: string): Packing['pack'] => {
  if (name === 'BGR8') return swapped;
  const bits = Number(/\d+/.exec(name)![0]);
  if (name.endsWith('p')) return stream(bits);
  if (name.endsWith('Packed')) return packed(bits);
  return bits === 8 ? upper : wide(bits);
};

/** Every format that the driver reads, packed by the names' own rules. */
const packings = new Map<string, Packing>(
  pixelFormats.map(({ name, code, bits }) => [name, { code, bitsPerPixel: bits, pack: packingOf(name) }]),
);
export const patternFormats: readonly string[] = [...packings.keys()];
export const formatCode = (name: string): number | null => packings.get(name)?.code ?? null;
export const formatName = (code: number): string | null =>
  [...packings].find(([, packing]) => packing.code === code)?.[0] ?? null;

/** Bytes of one frame; lines are not padded. */
export const patternSize = (formatNamed: string, width: number, height: number): number =>
  Math.ceil((width * height * packings.get(formatNamed)!.bitsPerPixel) / 8);

/** The bytes that the simulated camera sends as frame `frameId`. */
export function patternOf(formatNamed: string, width: number, height: number, frameId: number): Buffer {
  const { pack, bitsPerPixel } = packings.get(formatNamed)!;
  const into = Buffer.allocUnsafe(patternSize(formatNamed, width, height));
  pack(frameId, width * height * (bitsPerPixel === 24 ? 3 : 1), into);
  return into;
}
