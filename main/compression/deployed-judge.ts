import type { ModelCard, Recipe } from '../contract/domain.ts';
import { judgeTile, type TileJudgement } from '../inspection/decide.ts';
import { openInspector, readBundle, type InspectorSource } from '../inspection/inspector.ts';
import type { PixelImage } from '../vision/image.ts';
import { recipeOf, rotate, viewsTextOf } from '../vision/tiles.ts';
import type { ImageSource } from './image-source.ts';
import { createLogits } from './region-logits.ts';

/** A model as it inspects, asked about labelled regions: an inspector judges frames, a label may be of one tile. */
export interface DeployedJudge extends AsyncDisposable {
  /** Of a model that looks at parts in another way than they are labelled for: of the whole part, as its card says. */
  judge(image: number): Promise<TileJudgement>;
}

/** Without the novelty check: which class a model tells is compared, not what it calls unknown. */
const withoutNovelty = (card: ModelCard): ModelCard => ({
  ...card,
  thresholds: { ...card.thresholds, novelty: Number.MAX_VALUE },
});

/** How a frame that was turned so far is turned back. */
const backFrom = (degrees: Recipe['rotation']) => ((360 - degrees) % 360) as Recipe['rotation'];

/**
 * @param recipe that the labelled regions are of
 * @throws MODEL_UNREADABLE, BUNDLE_ALTERED
 */
export async function openDeployedJudge(
  model: InspectorSource,
  source: ImageSource,
  recipe: Recipe,
): Promise<DeployedJudge> {
  const read = 'bundleDir' in model ? { ...(await readBundle(model.bundleDir)), threads: model.threads } : model;
  const card = withoutNovelty(read.card);
  const inspector = await openInspector({ ...read, card });
  const logitsOf = createLogits(inspector.session, card);
  const own = recipeOf(card, recipe);
  const looksAlike = viewsTextOf(own) === viewsTextOf(recipe);
  /** A part has many labelled tiles. */
  const parts = new WeakMap<PixelImage, Promise<TileJudgement>>();
  const judgePart = (image: PixelImage): Promise<TileJudgement> => {
    const judged = parts.get(image) ?? inspector.inspect(rotate(image, backFrom(recipe.rotation)), { recipe: own });
    parts.set(image, judged);
    return judged;
  };
  return {
    async judge(index) {
      const { image, region } = await source.view(index);
      if (!looksAlike) return judgePart(image);
      return judgeTile({ logits: await logitsOf(image, region), novelty: 0 }, card);
    },
    [Symbol.asyncDispose]: () => inspector.dispose(),
  };
}
