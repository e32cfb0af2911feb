import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { Products } from '../../learning/dense.ts';
import type { Choice, LedgerRow } from '../../learning/selection.ts';
import type { ImageSource } from '../image-source.ts';
import { comparedOf, featuresOf, inViews, validate, type Compared } from './evaluate.ts';

/*
 * A few hundred images tell the difference of two models to some points, because what changes sides are those that are near a boundary anyway, on whichever side chance has
 * put them. Seen once more a little displaced, as the part could have lain, each falls anew: the mean over views moves by what the model lost, and less by such
 * chance. One rare image stays one image: the views say nothing of other parts.
 */

/** The image itself, and two opposite corners. Five told little more and cost so much of ten minutes that no student was taught. */
export const MOST_VIEWS = 3;
/** Of the folds, for each further view: it is another draw of chance by itself. */
const DRAWINGS_OF_VIEW = 3;
/** Share of each side that a displaced view leaves out. */
const DISPLACED = 0.06;
/** Share of the time budget that the further views of the reference may take. */
const VIEWS_SHARE = 0.08;

/** Views that a search can afford. @param passMs time of the uncompressed backbone over all images that are compared */
export const affordableViews = (budgetMs: number, passMs: number): number =>
  Math.max(1, Math.min(MOST_VIEWS, 1 + Math.floor((VIEWS_SHARE * budgetMs) / Math.max(1, passMs))));

/** Images as they would be with the part a little elsewhere. @param view 0: as they are; 1 and 2: without a strip at two sides */
export function displaced(source: Pick<ImageSource, 'view'>, view: number): Pick<ImageSource, 'view'> {
  if (view === 0) return source;
  return {
    async view(index) {
      const { image, region } = await source.view(index);
      const whole = region ?? { x: 0, y: 0, width: image.width, height: image.height };
      const width = Math.max(1, Math.round((1 - DISPLACED) * whole.width));
      const height = Math.max(1, Math.round((1 - DISPLACED) * whole.height));
      return {
        image,
        region: {
          x: whole.x + (view === 2 ? whole.width - width : 0),
          y: whole.y + (view === 2 ? whole.height - height : 0),
          width,
          height,
        },
      };
    },
  };
}

/** A (compressed) backbone whose held-out scores are known on the images as they are. */
export interface SeenOnce {
  bytes: Uint8Array;
  inputSize: number;
  compared: Compared;
  /** Made with the images as they are; lambda and g are hardly others for a few pixels. */
  choice: Choice;
}

/**
 * The same on further views, in each by heads that were taught on that view of the other images.
 * @param views number of all views; 1: nothing is added
 * @param images indices into the source, in ledger order
 * @throws CANCELLED
 */
export async function seenAgain(
  { bytes, inputSize, compared, choice }: SeenOnce,
  views: number,
  options: {
    backbone: Backbone;
    source: Pick<ImageSource, 'view'>;
    images: readonly number[];
    ledger: readonly LedgerRow[];
    products: Products;
    threads: number;
    signal?: AbortSignal | undefined;
  },
): Promise<Compared> {
  const { backbone, source, images, ledger, products, threads, signal } = options;
  const fixed = { lambda: choice.lambda, balancing: choice.balancing };
  const more: Compared[] = [];
  for (let view = compared.views.length; view < views; view++) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const features = await featuresOf(backbone, bytes, inputSize, displaced(source, view), images, { threads, signal });
    const held = await validate(features, backbone, ledger, products, { fixed, drawings: DRAWINGS_OF_VIEW, signal });
    more.push(comparedOf(held, ledger));
  }
  return inViews([compared, ...more]);
}
