import { readFile } from 'node:fs/promises';
import type { Metadata, Sharp } from 'sharp';
import { AppError, problemOf } from '../contract/errors.ts';
import { bmpSize, isBmp, readBmp } from './bmp.ts';
import type { PixelImage } from './image.ts';

const load = async () => {
  const { default: sharp } = await import('sharp');
  // A watched folder sees new pictures under old names; sharp's cache goes by name.
  sharp.cache(false);
  // One thread per picture: several are decoded at once, and the cores belong to inference.
  sharp.concurrency(1);
  return sharp;
};
let library: ReturnType<typeof load> | undefined;
/** Loaded for the first picture: libvips is some 16 MB, and a core that has just been started needs none of it. */
const imaging = (): ReturnType<typeof load> => (library ??= load());

/** For whoever has no time to load it at the first picture. */
export const loadDecoder = async (): Promise<void> => void (await imaging());

/** Raster formats only: an SVG or PDF would be drawn by a program, not taken by a camera. */
const formats = new Set(['jpeg', 'png', 'webp', 'tiff', 'gif', 'heif', 'jp2', 'ppm']);

export interface DecodeOptions {
  /** Named in errors. */
  name: string;
  maxPixels: number;
}

async function bytesOf(source: string | Uint8Array, name: string): Promise<Uint8Array> {
  if (typeof source !== 'string') return source;
  try {
    return await readFile(source);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const problem =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a folder'
          : code === 'EACCES' || code === 'EPERM'
            ? 'it may not be read'
            : problemOf(cause);
    throw new AppError('IMAGE_UNREADABLE', { file: name, problem }, { cause });
  }
}

/** Frames of an animated PNG, which libpng shows as its first frame without a word; null: not animated. */
function animatedPngFrames(bytes: Uint8Array): number | null {
  if (bytes.length < 8 || bytes[0] !== 0x89 || bytes[1] !== 0x50) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === 'acTL') return view.getUint32(at + 8);
    if (kind === 'IDAT') return null;
  }
  return null;
}

/** First line of what libvips says: the rest repeats it. */
const firstLine = (error: unknown): string => problemOf(error).split('\n')[0]!.trim();

/** Of a file that begins as an image and goes wrong later; libvips often has no words for it. */
const damageOf = (error: unknown): string => {
  const said = firstLine(error);
  return `it is damaged or cut short${/^(unknown error)?$/i.test(said) ? '' : ` (${said})`}`;
};

const tooLarge = (name: string, width: number, height: number, limit: number) =>
  new AppError('IMAGE_TOO_LARGE', { file: name, width, height, limit });

/**
 * Reads one picture of any common format as 8 bit grey or sRGB. What had to be converted for it is said in `notes` (they
 * are kept with the part); nothing is converted silently, and a picture that is not whole is refused.
 * @throws IMAGE_UNREADABLE, IMAGE_ANIMATED, IMAGE_TOO_LARGE
 */
export async function decodeImage(
  source: string | Uint8Array,
  { name, maxPixels }: DecodeOptions,
): Promise<{ image: PixelImage; notes: string[] }> {
  const bytes = await bytesOf(source, name);
  if (bytes.length === 0) throw new AppError('IMAGE_UNREADABLE', { file: name, problem: 'the file is empty' });
  if (isBmp(bytes)) {
    const { width, height } = bmpSize(bytes, name);
    if (width * height > maxPixels) throw tooLarge(name, width, height, maxPixels);
    return readBmp(bytes, name);
  }
  const sharp = await imaging();
  let facts: Metadata;
  try {
    facts = await sharp(bytes, { limitInputPixels: false }).metadata();
  } catch (cause) {
    const unknown = /unsupported image format/i.test(problemOf(cause));
    const problem = unknown ? 'it is not an image, or its beginning is damaged' : damageOf(cause);
    throw new AppError('IMAGE_UNREADABLE', { file: name, problem }, { cause });
  }
  const { width, height, format } = facts;
  if (!formats.has(format)) {
    throw new AppError('IMAGE_UNREADABLE', { file: name, problem: `${format} is not a camera format` });
  }
  const pages = animatedPngFrames(bytes) ?? facts.pages ?? 1;
  if (pages > 1) throw new AppError('IMAGE_ANIMATED', { file: name, pages });
  if (width * height > maxPixels) throw tooLarge(name, width, height, maxPixels);
  if (facts.depth === 'float' || facts.depth === 'double' || facts.depth === 'complex' || facts.depth === 'dpcomplex') {
    throw new AppError('IMAGE_UNREADABLE', { file: name, problem: 'its pixels are floating-point numbers' });
  }

  const notes: string[] = [];
  const sixteen = facts.depth === 'ushort' || facts.depth === 'short';
  if (sixteen) notes.push('converted from 16 bit');
  else if (facts.depth !== 'uchar') notes.push(`converted from ${facts.depth}`);
  if (facts.space === 'cmyk') notes.push('converted from CMYK');
  if (facts.isPalette) notes.push('converted from palette');
  if (facts.hasAlpha) notes.push('transparency laid on black');
  const turned = (facts.orientation ?? 1) > 1;
  if (turned) notes.push('turned by its EXIF orientation');
  const grey = facts.space === 'b-w' || facts.space === 'grey16';

  try {
    let pipeline = sharp(bytes, { limitInputPixels: false, unlimited: true, failOn: 'error' });
    if (turned) pipeline = pipeline.autoOrient();
    if (facts.hasAlpha) pipeline = pipeline.flatten({ background: '#000000' });
    const { data, info } = await pipeline
      .toColourspace(grey ? 'b-w' : 'srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 1 && info.channels !== 3) {
      throw new AppError('IMAGE_UNREADABLE', { file: name, problem: `it has ${info.channels} channels` });
    }
    const image: PixelImage = {
      width: info.width,
      height: info.height,
      channels: info.channels,
      data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    };
    return { image, notes };
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('IMAGE_UNREADABLE', { file: name, problem: damageOf(cause) }, { cause });
  }
}

/** Lossless, and quick rather than small: the archive writes one per part. */
export async function encodePng(image: PixelImage): Promise<Uint8Array> {
  const { width, height, channels, data } = image;
  const sharp = await imaging();
  const bytes = await sharp(data, { raw: { width, height, channels }, limitInputPixels: false })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .png({ compressionLevel: 3, adaptiveFiltering: false })
    .toBuffer();
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** JPEG of at most `side` pixels each way: small enough to be sent several times a second. */
export async function previewJpeg(
  { width, height, channels, data }: PixelImage,
  side: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const sharp = await imaging();
  const bytes = await sharp(data, { raw: { width, height, channels }, limitInputPixels: false })
    .resize({ width: side, height: side, fit: 'inside', withoutEnlargement: true })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .jpeg({ quality: 82 })
    .toBuffer();
  return Uint8Array.from(bytes);
}

/**
 * WebP of at most `width` pixels across, for lists and the window.
 * @throws IMAGE_UNREADABLE
 */
export async function thumbnail(source: string | Uint8Array, width: number): Promise<Uint8Array> {
  const name = typeof source === 'string' ? source : 'image';
  const input = await bytesOf(source, name);
  const sharp = await imaging();
  try {
    let pipeline: Sharp;
    if (isBmp(input)) {
      const { image } = readBmp(input, name);
      pipeline = sharp(image.data, { raw: { width: image.width, height: image.height, channels: image.channels } });
    } else {
      pipeline = sharp(input, { limitInputPixels: false, failOn: 'none' }).autoOrient();
    }
    const bytes = await pipeline.resize({ width, withoutEnlargement: true }).webp({ quality: 82 }).toBuffer();
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('IMAGE_UNREADABLE', { file: name, problem: damageOf(cause) }, { cause });
  }
}
