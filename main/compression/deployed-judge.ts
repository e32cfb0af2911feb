import { judgeTile, type TileJudgement } from '../inspection/decide.ts';
import { openInspector, type InspectorSource } from '../inspection/inspector.ts';
import { createPreprocessor } from '../vision/preprocess.ts';
import type { ImageSource } from './image-source.ts';

/** A model as it inspects, asked about labelled regions: an inspector judges frames, a label may be of one tile. */
export interface DeployedJudge extends AsyncDisposable {
  judge(image: number): Promise<TileJudgement>;
}

/** @throws MODEL_UNREADABLE, BUNDLE_ALTERED */
export async function openDeployedJudge(model: InspectorSource, source: ImageSource): Promise<DeployedJudge> {
  const inspector = await openInspector(model);
  const { card, session } = inspector;
  const size = card.inputSize;
  const preprocessor = createPreprocessor({ size, mean: card.mean, std: card.std });
  const data = new Float32Array(3 * size * size);
  return {
    async judge(image) {
      preprocessor.into(await source.pixels(image), source.region(image), data, 0);
      const result = await session.run(
        { [session.inputs[0] ?? 'image']: { type: 'float32', dims: [1, 3, size, size], data } },
        ['logits'],
      );
      // Without the novelty check: which class a model tells is compared, not what it calls unknown.
      return judgeTile({ logits: result['logits']!.data as Float32Array, novelty: -Number.MAX_VALUE }, card);
    },
    [Symbol.asyncDispose]: () => inspector.dispose(),
  };
}
