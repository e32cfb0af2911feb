import { AppError, isAppError } from '../contract/errors.ts';
import type { Backbone, Recipe, Region } from '../contract/domain.ts';
import { decodeImage } from '../vision/decode.ts';
import { findPart, moved, type Shift } from '../vision/find-part.ts';
import type { PixelImage } from '../vision/image.ts';
import { perceptualHash } from '../vision/perceptual-hash.ts';
import { createPreprocessor } from '../vision/preprocess.ts';
import { rotate } from '../vision/tiles.ts';

/** A labelled image as compression sees it. */
export interface SourceImage {
  file: string;
  /** In the rotated frame; null: the whole frame. */
  region: Region | null;
}

/** Pixels of the images at any input size, through the preprocessing that the line uses. */
export interface ImageSource {
  readonly count: number;
  /** @returns [indices.length, 3, size, size] */
  tensor(indices: readonly number[], size: number): Promise<Float32Array>;
  /** The decoded (and rotated) image, and the region of it where it lies on the part. @throws IMAGE_*, PART_NOT_FOUND, CANCELLED */
  view(index: number): Promise<{ image: PixelImage; region: Region | null }>;
  /** As it was labelled: where it lies on a part at its taught place. */
  region(index: number): Region | null;
}

/** Decoded images are kept up to this many bytes: every candidate reads all of them again at its own size. */
const CACHE_BYTES = 768 * 1024 * 1024;

/** Pictures are read when they are asked for. Its calls throw what reading does (IMAGE_*), PART_NOT_FOUND and CANCELLED. */
export function createImageSource(
  images: readonly SourceImage[],
  backbone: Pick<Backbone, 'mean' | 'std'>,
  options: Pick<Recipe, 'rotation' | 'maxPixels'> & { finder?: Recipe['finder']; signal?: AbortSignal | undefined },
): ImageSource {
  const cache = new Map<string, PixelImage>();
  /** Tiles of one picture are asked for together: it is decoded once. */
  const decoding = new Map<string, Promise<PixelImage>>();
  let cached = 0;
  const preprocessors = new Map<number, ReturnType<typeof createPreprocessor>>();
  const preprocessorOf = (size: number) => {
    const known = preprocessors.get(size);
    if (known) return known;
    const made = createPreprocessor({ size, mean: backbone.mean, std: backbone.std });
    preprocessors.set(size, made);
    return made;
  };
  /** The newest that was not kept: its tiles may be asked for one after the other. */
  let newest: { file: string; image: PixelImage } | null = null;
  const decode = async (file: string): Promise<PixelImage> => {
    const { image } = await decodeImage(file, { name: file, maxPixels: options.maxPixels });
    const turned = options.rotation === 0 ? image : rotate(image, options.rotation);
    // First come, first kept: a cache that evicts would be useless for scans in order.
    if (cached + turned.data.length <= CACHE_BYTES) {
      cache.set(file, turned);
      cached += turned.data.length;
    } else newest = { file, image: turned };
    return turned;
  };
  const pixels = async (index: number): Promise<PixelImage> => {
    const { file } = images[index]!;
    const known = cache.get(file) ?? (newest?.file === file ? newest.image : decoding.get(file));
    if (known) return known;
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const made = decode(file).finally(() => decoding.delete(file));
    decoding.set(file, made);
    return made;
  };
  const shifts = new Map<string, Shift>();
  const view = async (index: number) => {
    const { file, region } = images[index]!;
    const image = await pixels(index);
    if (region === null) return { image, region };
    const shift = shifts.get(file) ?? findPart(options.finder ?? { kind: 'fixed' }, image);
    shifts.set(file, shift);
    return { image, region: moved(region, shift, image) };
  };
  return {
    count: images.length,
    view,
    region: (index) => images[index]!.region,
    async tensor(indices, size) {
      const plane = 3 * size * size;
      const out = new Float32Array(indices.length * plane);
      const preprocessor = preprocessorOf(size);
      for (let i = 0; i < indices.length; i += 8) {
        const some = indices.slice(i, i + 8);
        const decoded = await Promise.all(some.map(view));
        decoded.forEach(({ image, region }, k) => preprocessor.into(image, region, out, (i + k) * plane));
      }
      return out;
    },
  };
}

/**
 * Opens every image once: which can be used, with the perceptual hash of the whole picture (copies of one shot share a fold), and which cannot.
 * @throws CANCELLED
 */
export async function readableImages(
  source: ImageSource,
): Promise<{ indices: number[]; looks: string[]; failed: { index: number; problem: string }[] }> {
  const indices: number[] = [];
  const looks: string[] = [];
  const failed: { index: number; problem: string }[] = [];
  const hashes = new WeakMap<PixelImage, string>();
  const lookOf = (image: PixelImage): string => {
    const known = hashes.get(image) ?? perceptualHash(image);
    hashes.set(image, known);
    return known;
  };
  for (let start = 0; start < source.count; start += 8) {
    const some = Array.from({ length: Math.min(8, source.count - start) }, (_, i) => start + i);
    const seen = await Promise.all(
      some.map(async (index): Promise<{ look: string } | { problem: string }> => {
        try {
          const { image, region } = await source.view(index);
          return region && (region.x + region.width > image.width || region.y + region.height > image.height)
            ? { problem: 'its region lies outside it' }
            : { look: lookOf(image) };
        } catch (error) {
          if (!isAppError(error) || error.code === 'CANCELLED') throw error;
          return { problem: error.message };
        }
      }),
    );
    seen.forEach((found, i) => {
      if ('look' in found) {
        indices.push(some[i]!);
        looks.push(found.look);
      } else failed.push({ index: some[i]!, problem: found.problem });
    });
  }
  return { indices, looks, failed };
}
