/** Pixels of one frame: row-major, channels interleaved, 0..255, sRGB for three channels. */
export interface PixelImage {
  width: number;
  height: number;
  channels: 1 | 3;
  data: Uint8Array;
}
