import { AppError } from '../contract/errors.ts';
import type { PixelImage } from './image.ts';

/*
 * BMP, which sharp does not read and frame grabbers love: uncompressed, 8 bit with palette, 24 and 32 bit.
 * Source: Microsoft, "Bitmap Header Types" (BITMAPCOREHEADER, BITMAPINFOHEADER, V4, V5).
 */

export const isBmp = (bytes: Uint8Array): boolean => bytes.length >= 2 && bytes[0] === 0x42 && bytes[1] === 0x4d;

/** BI_RGB and BI_BITFIELDS. */
const UNCOMPRESSED = 0;
const BIT_FIELDS = 3;

const shiftOf = (mask: number): number => {
  for (const shift of [0, 8, 16, 24]) if (mask >>> 0 === (0xff << shift) >>> 0) return shift;
  return -1;
};

interface BmpHeader {
  width: number;
  height: number;
  topDown: boolean;
  bits: number;
  pixels: number;
  palette: Uint8Array | null;
  paletteStep: number;
  /** Byte of red, green, blue within a pixel. */
  order: [number, number, number];
}

function readHeader(bytes: Uint8Array, name: string): BmpHeader {
  const bad = (problem: string) => new AppError('IMAGE_UNREADABLE', { file: name, problem });
  if (bytes.length < 26) throw bad('the file is truncated');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerSize = view.getUint32(14, true);
  const core = headerSize === 12;
  if (!core && (headerSize < 40 || headerSize > 124)) throw bad(`unknown BMP header of ${headerSize} bytes`);
  if (bytes.length < 14 + headerSize) throw bad('the file is truncated');
  const width = core ? view.getUint16(18, true) : view.getInt32(18, true);
  const signedHeight = core ? view.getUint16(20, true) : view.getInt32(22, true);
  const bits = view.getUint16(core ? 24 : 28, true);
  const compression = core ? UNCOMPRESSED : view.getUint32(30, true);
  if (width <= 0 || signedHeight === 0) throw bad(`its size is ${width} x ${signedHeight}`);
  if (![8, 24, 32].includes(bits)) throw bad(`BMP of ${bits} bit is not read`);
  let order: [number, number, number] = [2, 1, 0];
  if (compression === BIT_FIELDS && bits === 32) {
    // The masks stand in the header from version 2 on, right behind it before that: the same place.
    if (bytes.length < 66) throw bad('the file is truncated');
    const shifts = [54, 58, 62].map((at) => shiftOf(view.getUint32(at, true)));
    if (shifts.some((shift) => shift < 0)) throw bad('its channels are not whole bytes');
    order = [shifts[0]! / 8, shifts[1]! / 8, shifts[2]! / 8];
  } else if (compression !== UNCOMPRESSED) {
    throw bad('compressed BMP is not read');
  }
  const paletteStep = core ? 3 : 4;
  const pixels = view.getUint32(10, true);
  const colours = bits === 8 ? (core ? 256 : view.getUint32(46, true) || 256) : 0;
  const paletteAt = 14 + headerSize;
  if (colours > 256 || paletteAt + colours * paletteStep > bytes.length) throw bad('its palette is damaged');
  return {
    width,
    height: Math.abs(signedHeight),
    topDown: signedHeight < 0,
    bits,
    pixels,
    palette: bits === 8 ? bytes.subarray(paletteAt, paletteAt + colours * paletteStep) : null,
    paletteStep,
    order,
  };
}

/** From the header alone. @throws IMAGE_UNREADABLE */
export const bmpSize = (bytes: Uint8Array, name: string): { width: number; height: number } => {
  const { width, height } = readHeader(bytes, name);
  return { width, height };
};

/** @throws IMAGE_UNREADABLE */
export function readBmp(bytes: Uint8Array, name: string): { image: PixelImage; notes: string[] } {
  const { width, height, topDown, bits, pixels, palette, paletteStep, order } = readHeader(bytes, name);
  const stride = Math.ceil((width * bits) / 32) * 4;
  // Some writers leave out the padding of the last row.
  if (pixels + stride * (height - 1) + Math.ceil((width * bits) / 8) > bytes.length) {
    throw new AppError('IMAGE_UNREADABLE', { file: name, problem: 'the file is truncated' });
  }
  let grey = palette !== null;
  for (let i = 0; palette && i + 2 < palette.length; i += paletteStep) {
    grey &&= palette[i] === palette[i + 1] && palette[i] === palette[i + 2];
  }
  const channels = grey ? 1 : 3;
  const data = new Uint8Array(width * height * channels);
  const step = bits / 8;
  for (let y = 0, q = 0; y < height; y += 1) {
    let p = pixels + (topDown ? y : height - 1 - y) * stride;
    for (let x = 0; x < width; x += 1, p += step) {
      if (palette) {
        const entry = bytes[p]! * paletteStep;
        if (entry >= palette.length) {
          throw new AppError('IMAGE_UNREADABLE', { file: name, problem: 'a pixel points outside its palette' });
        }
        if (grey) data[q++] = palette[entry]!;
        else {
          data[q++] = palette[entry + 2]!;
          data[q++] = palette[entry + 1]!;
          data[q++] = palette[entry]!;
        }
      } else {
        data[q++] = bytes[p + order[0]]!;
        data[q++] = bytes[p + order[1]]!;
        data[q++] = bytes[p + order[2]]!;
      }
    }
  }
  const notes: string[] = [];
  if (palette && !grey) notes.push('converted from palette');
  if (bits === 32) notes.push('transparency removed');
  return { image: { width, height, channels, data }, notes };
}
