import { spreadOverClasses, type ClassOf } from '../spread.ts';

/** Images that ranges are taken from; more bring little and cost a forward pass each. */
const RANGE_IMAGES = 64;
/** Images on which ranges are compared; not among those they are taken from while there are others. */
const COMPARED_IMAGES = 32;
const LEAST_COMPARED = 8;

/** What integers are chosen by, every class alike. @param images that may be fitted to, indices into a source */
export function rangeImages(images: readonly number[], classOf: ClassOf): { images: number[]; compared: number[] } {
  const taken = spreadOverClasses(images, RANGE_IMAGES, classOf);
  const used = new Set(taken);
  const others = images.filter((image) => !used.has(image));
  const compared = spreadOverClasses(others.length >= LEAST_COMPARED ? others : images, COMPARED_IMAGES, classOf);
  return { images: taken, compared };
}
