import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeImage, encodePng, thumbnail } from '../../../main/vision/decode.ts';
import type { PixelImage } from '../../../main/vision/image.ts';

const limits = { name: 'part.png', maxPixels: 100_000_000 };

/** A ramp with a different slope per channel: a swapped axis or channel changes it. */
function ramp(width: number, height: number, channels: 1 | 3): PixelImage {
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (let c = 0; c < channels; c += 1) data[(y * width + x) * channels + c] = (x * 3 + y * 7 + c * 50) % 256;
    }
  }
  return { width, height, channels, data };
}
const raw = ({ data, width, height, channels }: PixelImage) => sharp(data, { raw: { width, height, channels } });

/** BMP by the header's specification, written here independently of the reader. */
function bmp(image: PixelImage, bits: 8 | 24 | 32, options: { topDown?: boolean; palette?: number[][] } = {}): Buffer {
  const { width, height, channels, data } = image;
  const stride = Math.ceil((width * bits) / 32) * 4;
  const palette = bits === 8 ? (options.palette ?? Array.from({ length: 256 }, (_, i) => [i, i, i])) : [];
  const offset = 54 + palette.length * 4;
  const out = Buffer.alloc(offset + stride * height);
  out.write('BM');
  out.writeUInt32LE(out.length, 2);
  out.writeUInt32LE(offset, 10);
  out.writeUInt32LE(40, 14);
  out.writeInt32LE(width, 18);
  out.writeInt32LE(options.topDown ? -height : height, 22);
  out.writeUInt16LE(1, 26);
  out.writeUInt16LE(bits, 28);
  out.writeUInt32LE(palette.length, 46);
  palette.forEach(([r, g, b], i) => out.set([b!, g!, r!, 0], 54 + i * 4));
  for (let y = 0; y < height; y += 1) {
    const at = offset + (options.topDown ? y : height - 1 - y) * stride;
    for (let x = 0; x < width; x += 1) {
      const p = (y * width + x) * channels;
      if (bits === 8) out[at + x] = data[p]!;
      else out.set([data[p + 2]!, data[p + 1]!, data[p]!], at + x * (bits / 8));
    }
  }
  return out;
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mekiki-decode-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('pictures that are read as they are', () => {
  it('gives back a grey and a colour PNG byte for byte', async () => {
    for (const channels of [1, 3] as const) {
      const image = ramp(37, 23, channels);
      const { image: read, notes } = await decodeImage(await encodePng(image), limits);
      expect(read).toEqual(image);
      expect(notes).toEqual([]);
    }
  });

  it('reads JPEG, WebP and TIFF, also from a path with Japanese and spaces', async () => {
    const image = ramp(40, 30, 3);
    for (const [name, bytes] of [
      ['検査 1.jpg', await raw(image).jpeg({ quality: 100 }).toBuffer()],
      ['検査 2.webp', await raw(image).webp({ lossless: true }).toBuffer()],
      ['検査 3.tif', await raw(image).tiff().toBuffer()],
    ] as const) {
      const file = path.join(folder, name);
      await writeFile(file, bytes);
      const { image: read, notes } = await decodeImage(file, { ...limits, name });
      expect([read.width, read.height, read.channels, notes]).toEqual([40, 30, 3, []]);
    }
  });

  it('reads BMP of 8, 24 and 32 bit, bottom-up and top-down', async () => {
    const grey = ramp(33, 5, 1);
    const colour = ramp(33, 5, 3);
    for (const topDown of [false, true]) {
      expect((await decodeImage(bmp(grey, 8, { topDown }), limits)).image).toEqual(grey);
      expect((await decodeImage(bmp(colour, 24, { topDown }), limits)).image).toEqual(colour);
      const wide = await decodeImage(bmp(colour, 32, { topDown }), limits);
      expect(wide.image).toEqual(colour);
      expect(wide.notes).toEqual(['transparency removed']);
    }
  });

  it('reads a colour palette of a BMP', async () => {
    const image: PixelImage = { width: 3, height: 1, channels: 1, data: new Uint8Array([0, 1, 0]) };
    const palette = [
      [10, 20, 30],
      [200, 100, 50],
    ];
    const { image: read, notes } = await decodeImage(bmp(image, 8, { palette }), limits);
    expect([...read.data]).toEqual([10, 20, 30, 200, 100, 50, 10, 20, 30]);
    expect(notes).toEqual(['converted from palette']);
  });
});

describe('pictures that are converted, with a note', () => {
  it('16 bit', async () => {
    const data = new Uint16Array(20 * 10).map((_, i) => i * 300);
    const bytes = await sharp(data, { raw: { width: 20, height: 10, channels: 1 } })
      .toColourspace('grey16')
      .png()
      .toBuffer();
    const { image, notes } = await decodeImage(bytes, limits);
    expect(notes).toEqual(['converted from 16 bit']);
    expect([image.channels, image.width, image.height]).toEqual([1, 20, 10]);
    for (const [i, value] of image.data.entries()) expect(Math.abs(value - (i * 300) / 257)).toBeLessThanOrEqual(1);
  });

  it('CMYK', async () => {
    const bytes = await sharp({ create: { width: 16, height: 16, channels: 3, background: '#c04020' } })
      .toColourspace('cmyk')
      .jpeg({ quality: 95 })
      .toBuffer();
    expect((await sharp(bytes).metadata()).space).toBe('cmyk');
    const { image, notes } = await decodeImage(bytes, limits);
    expect(notes).toEqual(['converted from CMYK']);
    expect(image.channels).toBe(3);
    expect(image.data[0]!).toBeGreaterThan(image.data[2]! + 60);
  });

  it('transparency and palette', async () => {
    const clear = await sharp({
      create: { width: 4, height: 4, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0 } },
    })
      .png()
      .toBuffer();
    const seen = await decodeImage(clear, limits);
    expect(seen.notes).toEqual(['transparency laid on black']);
    expect([...seen.image.data.subarray(0, 3)]).toEqual([0, 0, 0]);
    const palette = await raw(ramp(8, 8, 3))
      .png({ palette: true })
      .toBuffer();
    expect((await decodeImage(palette, limits)).notes).toContain('converted from palette');
  });

  it('EXIF orientation', async () => {
    const image = ramp(40, 20, 1);
    const bytes = await raw(image).withMetadata({ orientation: 6 }).png().toBuffer();
    const { image: read, notes } = await decodeImage(bytes, limits);
    expect([read.width, read.height]).toEqual([20, 40]);
    expect(notes).toEqual(['turned by its EXIF orientation']);
    // Orientation 6: the first row of the file is the right-hand column of the picture.
    expect(read.data[19 * read.channels]).toBe(image.data[0]);
  });

  it('a line scan of 20,000 pixels, within the limit', async () => {
    const image = ramp(20_000, 64, 1);
    const { image: read } = await decodeImage(await encodePng(image), limits);
    expect([read.width, read.height]).toEqual([20_000, 64]);
  });
});

describe('pictures that are refused', () => {
  const refused = (source: string | Uint8Array, code: string, problem?: RegExp) =>
    expect(decodeImage(source, limits)).rejects.toMatchObject({
      code,
      details: { file: 'part.png' },
      ...(problem ? { message: expect.stringMatching(problem) } : {}),
    });

  it('empty, missing, a folder, no image at all', async () => {
    await refused(new Uint8Array(0), 'IMAGE_UNREADABLE', /empty/);
    await refused(path.join(folder, 'none.png'), 'IMAGE_UNREADABLE', /no such file/);
    await refused(folder, 'IMAGE_UNREADABLE', /folder/);
    await refused(Buffer.from('hello, this is text'), 'IMAGE_UNREADABLE', /not an image/);
    await refused(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'), 'IMAGE_UNREADABLE');
  });

  it('truncated at any of many places, in every format', async () => {
    const image = ramp(64, 64, 3);
    const whole = [
      await raw(image).png().toBuffer(),
      await raw(image).jpeg().toBuffer(),
      await raw(image).webp().toBuffer(),
      await raw(image).tiff().toBuffer(),
      bmp(image, 24),
    ];
    for (const bytes of whole) {
      for (const share of [0.05, 0.3, 0.6, 0.9]) {
        await refused(
          bytes.subarray(0, Math.floor(bytes.length * share)),
          'IMAGE_UNREADABLE',
          /truncated|damaged|cut short/,
        );
      }
    }
  });

  it('animated and multi-page', async () => {
    const two = { raw: { width: 8, height: 16, channels: 3 as const, pageHeight: 8 } };
    const data = ramp(8, 16, 3).data;
    await refused(await sharp(data, two).gif().toBuffer(), 'IMAGE_ANIMATED');
    await refused(await sharp(data, two).webp().toBuffer(), 'IMAGE_ANIMATED');
    await refused(await sharp(data, two).tiff().toBuffer(), 'IMAGE_ANIMATED');
    // An animated PNG: acTL (two frames) before the data.
    const png = await encodePng(ramp(8, 8, 1));
    const chunk = Buffer.alloc(20);
    chunk.writeUInt32BE(8, 0);
    chunk.write('acTL', 4);
    chunk.writeUInt32BE(2, 8);
    await refused(Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)]), 'IMAGE_ANIMATED');
  });

  it('more pixels than the limit, before decoding', async () => {
    for (const bytes of [await encodePng(ramp(100, 50, 1)), bmp(ramp(100, 50, 1), 8)]) {
      await expect(decodeImage(bytes, { name: 'a', maxPixels: 4999 })).rejects.toMatchObject({
        code: 'IMAGE_TOO_LARGE',
        details: { width: 100, height: 50, limit: 4999 },
      });
      await expect(decodeImage(bytes, { name: 'a', maxPixels: 5000 })).resolves.toBeDefined();
    }
  });

  it('a BMP that lies about itself', async () => {
    const good = bmp(ramp(8, 8, 1), 8);
    const compressed = Buffer.from(good);
    compressed.writeUInt32LE(1, 30);
    await refused(compressed, 'IMAGE_UNREADABLE', /compressed/);
    const huge = Buffer.from(good);
    huge.writeInt32LE(30_000, 18);
    await refused(huge, 'IMAGE_UNREADABLE', /truncated/);
    const paletteless = Buffer.from(good);
    paletteless.writeUInt32LE(100_000, 46);
    await refused(paletteless, 'IMAGE_UNREADABLE', /palette/);
  });
});

it('makes thumbnails of every readable format', async () => {
  const image = ramp(300, 100, 3);
  for (const bytes of [await encodePng(image), bmp(image, 24)]) {
    const facts = await sharp(await thumbnail(bytes, 120)).metadata();
    expect([facts.format, facts.width, facts.height]).toEqual(['webp', 120, 40]);
  }
});
