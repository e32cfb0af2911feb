import { AppError } from '../contract/errors.ts';

/** Ranges of activations and channels' worths taken from fewer say nothing. */
export const LEAST_IMAGES = 8;
/** One to learn from while the other is held out. */
const LEAST_PER_CLASS = 2;

/**
 * Said before any time is spent: what cannot be validated is not compressed.
 * @param found readable training images per class, with none for a class that has none; by the name to be shown
 * @param elsewhere names of classes that other stations gave parts of: they are taught whatever is held out here
 * @throws TOO_FEW_PER_CLASS, TOO_FEW_IMAGES
 */
export function checkEnoughImages(found: ReadonlyMap<string, number>, elsewhere: readonly string[] = []): void {
  const short = [...found].filter(([name, count]) => count < LEAST_PER_CLASS && !elsewhere.includes(name));
  if (short.length > 0) {
    const told = (of: (count: number) => number) => short.map(([name, count]) => `${name}: ${of(count)}`).join(', ');
    throw new AppError('TOO_FEW_PER_CLASS', {
      needed: LEAST_PER_CLASS,
      found: told((count) => count),
      missing: told((count) => LEAST_PER_CLASS - count),
    });
  }
  const all = [...found.values()].reduce((sum, count) => sum + count, 0);
  if (all < LEAST_IMAGES) {
    throw new AppError('TOO_FEW_IMAGES', {
      what: [...new Set([...found.keys(), ...elsewhere])].join(', '),
      found: all,
      needed: LEAST_IMAGES,
      missing: LEAST_IMAGES - all,
    });
  }
}
