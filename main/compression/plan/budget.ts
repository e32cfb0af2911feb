import type { Backbone } from '../../contract/domain.ts';
import { imitationDefaults } from '../distill/imitate.ts';
import { openViews } from '../distill/views.ts';
import type { ImageSource } from '../image-source.ts';
import { spread } from '../spread.ts';
import { forwardMsOf } from './evaluate.ts';

/* What a search of so much time can afford on this PC. */

interface Searched {
  backbone: Backbone;
  source: ImageSource;
  images: readonly number[];
}

/** Share of the budget that one student may be taught for, and the most that pays on a few thousand images. */
const TEACHING_SHARE = 0.2;
const MOST_TEACHING_MS = 300_000;

/** What one student is taught for in a search of `budgetMs`. */
export const teachingMsWithin = (budgetMs: number): number => Math.min(MOST_TEACHING_MS, TEACHING_SHARE * budgetMs);

/** Cross-validation looks at no more; below the least, accuracies say little. */
const MOST_ROWS = 1200;
const LEAST_ROWS = 300;
/** Share of the budget that one pass of the uncompressed backbone may take: about as much as a dozen of the smaller ones after it. */
const REFERENCE_SHARE = 0.12;

/** Images that the search can afford on this PC; finished models are validated on all of them anyway. */
export async function affordableRows(
  bytes: Uint8Array,
  options: Searched & { budgetMs: number; threads: number; signal?: AbortSignal | undefined },
): Promise<number> {
  if (options.images.length <= LEAST_ROWS) return LEAST_ROWS;
  const { backbone, source, images } = options;
  const perImage = await forwardMsOf(backbone, bytes, source, images, options);
  return Math.max(LEAST_ROWS, Math.min(MOST_ROWS, Math.floor((REFERENCE_SHARE * options.budgetMs) / perImage)));
}

/** Mean time in which one more view of a picture is made. */
export async function viewMs(
  { source, backbone, images, seed }: Searched & { seed: number },
  size: number,
): Promise<number> {
  const views = openViews(source, backbone, { augmentation: imitationDefaults.augmentation, seed });
  const out = new Float32Array(3 * size * size);
  const some = spread(images, 16);
  const before = performance.now();
  for (const image of some) await views.into(image, 1, size, out, 0);
  return (performance.now() - before) / some.length;
}
