import { spreadOverClasses, type ClassOf } from '../spread.ts';

/** Images that channels are levelled and weights rounded by. */
const FITTED_IMAGES = 64;
/**
 * Images that ranges are taken from in the end: a rare value that none of a few shows is cut off. MobileNetV2 at 224 px on deeppcb_crops leaves .078 of the variance with ranges of 64 images, .057 of 128,
 * .033 of 256 (development figures).
 */
const RANGE_IMAGES = 256;
/** Images on which ranges are compared; not among those they are taken from while there are others. */
const COMPARED_IMAGES = 32;
const LEAST_COMPARED = 8;

/** What integers are chosen by, every class alike. @param images that may be fitted to, indices into a source */
export function rangeImages(images: readonly number[], classOf: ClassOf) {
  const fitted = spreadOverClasses(images, FITTED_IMAGES, classOf);
  const without = (used: readonly number[]) => {
    const taken = new Set(used);
    return images.filter((image) => !taken.has(image));
  };
  const others = without(fitted);
  const compared = spreadOverClasses(others.length >= LEAST_COMPARED ? others : images, COMPARED_IMAGES, classOf);
  const ranged = spreadOverClasses(others.length >= LEAST_COMPARED ? without(compared) : images, RANGE_IMAGES, classOf);
  return { images: fitted, ranged, compared };
}
