import { judgeTile, type TileJudgement } from '../inspection/decide.ts';
import { openInspector, type InspectorSource } from '../inspection/inspector.ts';
import type { ImageSource } from './image-source.ts';
import { createLogits } from './region-logits.ts';

/** A model as it inspects, asked about labelled regions: an inspector judges frames, a label may be of one tile. */
export interface DeployedJudge extends AsyncDisposable {
  judge(image: number): Promise<TileJudgement>;
}

/** @throws MODEL_UNREADABLE, BUNDLE_ALTERED */
export async function openDeployedJudge(model: InspectorSource, source: ImageSource): Promise<DeployedJudge> {
  const inspector = await openInspector(model);
  const { card, session } = inspector;
  const logitsOf = createLogits(session, card);
  return {
    async judge(image) {
      const view = await source.view(image);
      const logits = await logitsOf(view.image, view.region);
      // Without the novelty check: which class a model tells is compared, not what it calls unknown.
      return judgeTile({ logits, novelty: -Number.MAX_VALUE }, card);
    },
    [Symbol.asyncDispose]: () => inspector.dispose(),
  };
}
