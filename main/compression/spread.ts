/** Class of an image of a source. */
export type ClassOf = (image: number) => string;

/** Of images of which nothing more is known. */
export const oneClass: ClassOf = () => '';

/** At most `most` entries at an even stride. */
export const spread = <T>(items: readonly T[], most: number): T[] =>
  items.length <= most
    ? [...items]
    : Array.from({ length: most }, (_, i) => items[Math.floor(((i + 0.5) * items.length) / most)]!);

/**
 * At most `most` images, of each class as many as of the others while there are some, at an even stride within it: what tells a rare defect from good parts is noise to a fit in which
 * two images of three are good parts, and accuracy is the mean over classes.
 * @returns in the order of `images`
 */
export function spreadOverClasses(images: readonly number[], most: number, classOf: ClassOf): number[] {
  if (images.length <= most) return [...images];
  const smallestFirst = [...Map.groupBy(images, classOf).values()].toSorted((a, b) => a.length - b.length);
  const taken = new Set<number>();
  smallestFirst.forEach((some, i) => {
    const share = Math.floor((most - taken.size) / (smallestFirst.length - i));
    for (const image of spread(some, share)) taken.add(image);
  });
  return images.filter((image) => taken.has(image));
}
