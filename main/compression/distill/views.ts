import { augmentPixels, planAugmentation, randomOf, type Augmentation } from '../../vision/augment/index.ts';
import { createPreprocessor } from '../../vision/preprocess.ts';
import type { PixelImage } from '../../vision/image.ts';
import type { ImageSource } from '../image-source.ts';

/**
 * Views of an image: the picture itself (view 0) and ways to see it that a camera could have seen as well. Of one view, teacher and student see the same
 * section, each at its own size. Geometry alone: light, blur and what else is done at the size of a network would not be the same for both.
 */
export interface Views {
  /** Writes [3, size, size] at `offset`. */
  into(image: number, view: number, size: number, out: Float32Array, offset: number): Promise<void>;
}

/** @param backbone its preprocessing: teacher and student are given pictures in the same way */
export function openViews(
  source: ImageSource,
  backbone: { mean: readonly [number, number, number]; std: readonly [number, number, number] },
  options: { augmentation: Augmentation; seed: number },
): Views {
  const preprocessors = new Map<number, ReturnType<typeof createPreprocessor>>();
  const preprocessorOf = (size: number) => {
    let known = preprocessors.get(size);
    if (!known) preprocessors.set(size, (known = createPreprocessor({ size, mean: backbone.mean, std: backbone.std })));
    return known;
  };
  return {
    async into(image, view, size, out, offset) {
      const { image: pixels, region: whole } = await source.view(image);
      if (view === 0) return preprocessorOf(size).into(pixels, whole, out, offset);
      const plan = planAugmentation(options.augmentation, randomOf(options.seed, view, image));
      // A part's own section is cut out first: what lies beside it is not the part.
      const section = whole === null ? pixels : cut(pixels, whole);
      const seen = augmentPixels(section, plan);
      preprocessorOf(size).into(seen.image, seen.region, out, offset);
    },
  };
}

const cut = (
  { data, width: across, channels }: PixelImage,
  { x, y, width, height }: { x: number; y: number; width: number; height: number },
) => {
  const out = new Uint8Array(width * height * channels);
  for (let row = 0; row < height; row++) {
    const from = ((y + row) * across + x) * channels;
    out.set(data.subarray(from, from + width * channels), row * width * channels);
  }
  return { width, height, channels, data: out };
};
