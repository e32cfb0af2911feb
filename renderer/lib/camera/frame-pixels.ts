/** Grey of red, green and blue: weights of ITU-R BT.601, section 2.5.1, in 1/256. */
const RED = 77;
const GREEN = 150;
const BLUE = 29;

/** RGBA of a canvas as the line takes it: one byte of grey, or three of colour, a pixel. */
export function packPixels(rgba: Uint8ClampedArray, channels: 1 | 3, out: Uint8Array): void {
  if (channels === 1) {
    for (let to = 0, from = 0; to < out.length; to += 1, from += 4)
      out[to] = (RED * rgba[from]! + GREEN * rgba[from + 1]! + BLUE * rgba[from + 2]! + 128) >> 8;
    return;
  }
  for (let to = 0, from = 0; to < out.length; to += 3, from += 4) {
    out[to] = rgba[from]!;
    out[to + 1] = rgba[from + 1]!;
    out[to + 2] = rgba[from + 2]!;
  }
}
