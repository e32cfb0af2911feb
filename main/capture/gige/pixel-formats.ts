import type { PixelImage } from '../../vision/image.ts';

/*
 * Pixel formats by the codes of the Pixel Format Naming Convention (PFNC 2.x). Everything becomes 8-bit grey or RGB: more bits are
 * shown by their upper eight, which the frame's notes say.
 */

type Unpack = (data: Uint8Array, at: number, out: Uint8Array, to: number, count: number) => void;
interface PixelFormat {
  name: string;
  code: number;
  bits: number;
  channels: 1 | 3;
  /** `count` pixels from byte `at` into `out` from index `to`, one byte each (three for colour). */
  unpack: Unpack;
  /** Position of red in the two-by-two cell. */
  bayer?: { redX: 0 | 1; redY: 0 | 1 };
}

const copy: Unpack = (data, at, out, to, count) => out.set(data.subarray(at, at + count), to);
const copyThree: Unpack = (data, at, out, to, count) => out.set(data.subarray(at, at + 3 * count), to);
const swapThree: Unpack = (data, at, out, to, count) => {
  for (let i = 0; i < 3 * count; i += 3) {
    out[to + i] = data[at + i + 2]!;
    out[to + i + 1] = data[at + i + 1]!;
    out[to + i + 2] = data[at + i]!;
  }
};
/** Sixteen bits, little-endian, of which `shift + 8` count. */
const wide =
  (shift: number): Unpack =>
  (data, at, out, to, count) => {
    for (let i = 0; i < count; i += 1) {
      out[to + i] = Math.min(255, (data[at + 2 * i]! | (data[at + 2 * i + 1]! << 8)) >> shift);
    }
  };
/** Two pixels in three bytes, the upper eight bits in the outer ones (GigE Vision's own "Packed"). */
const packed: Unpack = (data, at, out, to, count) => {
  for (let i = 0; i < count; i += 1) out[to + i] = data[at + 3 * (i >> 1) + 2 * (i & 1)]!;
};
/** A stream of bits, least significant first (PFNC "p"). */
const stream =
  (bits: number): Unpack =>
  (data, at, out, to, count) => {
    for (let i = 0; i < count; i += 1) {
      // The upper eight bits of pixel i.
      const bit = i * bits + bits - 8;
      const byte = at + (bit >> 3);
      out[to + i] = ((data[byte]! | ((data[byte + 1] ?? 0) << 8)) >> (bit & 7)) & 255;
    }
  };

const mono = (name: string, code: number, bits: number, unpack: Unpack): PixelFormat => ({
  name,
  code,
  bits,
  channels: 1,
  unpack,
});
const bayer = (order: string, code: number, redX: 0 | 1, redY: 0 | 1, bits: 8 | 10 | 12): PixelFormat => ({
  ...mono(`Bayer${order}${bits}`, code, bits === 8 ? 8 : 16, bits === 8 ? copy : wide(bits - 8)),
  channels: 3,
  bayer: { redX, redY },
});

export const pixelFormats: readonly PixelFormat[] = [
  mono('Mono8', 0x0108_0001, 8, copy),
  mono('Mono10', 0x0110_0003, 16, wide(2)),
  mono('Mono10Packed', 0x010c_0004, 12, packed),
  mono('Mono10p', 0x010a_0046, 10, stream(10)),
  mono('Mono12', 0x0110_0005, 16, wide(4)),
  mono('Mono12Packed', 0x010c_0006, 12, packed),
  mono('Mono12p', 0x010c_0047, 12, stream(12)),
  mono('Mono14', 0x0110_0025, 16, wide(6)),
  mono('Mono16', 0x0110_0007, 16, wide(8)),
  bayer('GR', 0x0108_0008, 1, 0, 8),
  bayer('RG', 0x0108_0009, 0, 0, 8),
  bayer('GB', 0x0108_000a, 0, 1, 8),
  bayer('BG', 0x0108_000b, 1, 1, 8),
  bayer('GR', 0x0110_000c, 1, 0, 10),
  bayer('RG', 0x0110_000d, 0, 0, 10),
  bayer('GB', 0x0110_000e, 0, 1, 10),
  bayer('BG', 0x0110_000f, 1, 1, 10),
  bayer('GR', 0x0110_0010, 1, 0, 12),
  bayer('RG', 0x0110_0011, 0, 0, 12),
  bayer('GB', 0x0110_0012, 0, 1, 12),
  bayer('BG', 0x0110_0013, 1, 1, 12),
  { name: 'RGB8', code: 0x0218_0014, bits: 24, channels: 3, unpack: copyThree },
  { name: 'BGR8', code: 0x0218_0015, bits: 24, channels: 3, unpack: swapThree },
];
const byCode = new Map(pixelFormats.map((format) => [format.code, format]));
export const pixelFormatOf = (code: number): PixelFormat | null => byCode.get(code) ?? null;

/** Bytes of a picture: lines follow each other without a gap but for `paddingX` bytes. */
export const imageBytes = (format: PixelFormat, width: number, height: number, paddingX: number): number =>
  paddingX === 0
    ? Math.ceil((width * height * format.bits) / 8)
    : (Math.ceil((width * format.bits) / 8) + paddingX) * height;

/** @param data at least imageBytes(); may be returned as it is (Mono8): copy what is to be kept. */
export function toImage(
  format: PixelFormat,
  data: Uint8Array,
  width: number,
  height: number,
  paddingX: number,
): PixelImage {
  if (format.unpack === copy && !format.bayer && paddingX === 0) {
    return { width, height, channels: 1, data: data.subarray(0, width * height) };
  }
  const samples = format.bits === 24 ? 3 : 1;
  const out = new Uint8Array(width * height * samples);
  if (paddingX === 0) format.unpack(data, 0, out, 0, width * height);
  else {
    const stride = Math.ceil((width * format.bits) / 8) + paddingX;
    for (let y = 0; y < height; y += 1) format.unpack(data, y * stride, out, y * width * samples, width);
  }
  if (format.bayer) return { width, height, channels: 3, data: demosaic(out, width, height, format.bayer) };
  return { width, height, channels: format.channels, data: out };
}

/**
 * Bilinear: each missing colour is the mean of its nearest neighbours of that colour. At the rim neighbours are mirrored, which
 * keeps their colour. Row-major, three bytes a pixel.
 */
function demosaic(
  raw: Uint8Array,
  width: number,
  height: number,
  { redX, redY }: { redX: number; redY: number },
): Uint8Array {
  const out = new Uint8Array(width * height * 3);
  const mirror = (i: number, n: number) => (n === 1 ? 0 : i < 0 ? -i : i >= n ? 2 * n - 2 - i : i);
  for (let y = 0; y < height; y += 1) {
    const here = y * width;
    const up = mirror(y - 1, height) * width;
    const down = mirror(y + 1, height) * width;
    const redRow = (y & 1) === redY;
    for (let x = 0; x < width; x += 1) {
      const left = mirror(x - 1, width);
      const right = mirror(x + 1, width);
      const own = raw[here + x]!;
      const sides = raw[here + left]! + raw[here + right]!;
      const ends = raw[up + x]! + raw[down + x]!;
      const at = 3 * (here + x);
      if (redRow === ((x & 1) === redX)) {
        // On red (or, in the other rows, on blue).
        const corners = raw[up + left]! + raw[up + right]! + raw[down + left]! + raw[down + right]!;
        const green = (sides + ends + 2) >> 2;
        const other = (corners + 2) >> 2;
        out[at] = redRow ? own : other;
        out[at + 1] = green;
        out[at + 2] = redRow ? other : own;
      } else {
        const across = (sides + 1) >> 1;
        const along = (ends + 1) >> 1;
        out[at] = redRow ? across : along;
        out[at + 1] = own;
        out[at + 2] = redRow ? along : across;
      }
    }
  }
  return out;
}
