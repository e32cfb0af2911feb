import { createHash } from 'node:crypto';
import type { Backbone, ModelStage, ParityStage } from '../contract/domain.ts';
import type { Products } from '../learning/dense.ts';
import { embed } from '../learning/embedding.ts';
import { logitsOf } from '../learning/knowledge.ts';
import { encodeModel } from '../onnx/index.ts';
import { parityOf } from './evidence/parity.ts';
import { parityRows, rowsOfMatrix, type Finished } from './finish.ts';
import type { ImageSource } from './image-source.ts';
import { featuresOf, stagesOf } from './plan/evaluate.ts';
import type { TrialRecord } from './plan/trials.ts';
import { variantId } from './plan/variant.ts';

/*
 * Parity step by step: trained (the uncompressed backbone with its own head), compressed (pruned, taught or at a smaller input, in floats), quantised, deployed (the file as the line loads it), all on the same
 * pictures. The compressed and the quantised model have one head, the candidate's: what lies between them is rounding alone.
 */

/** A quantised backbone as it was in floats; null: it is none, or a run before this one made it and did not try the same network in floats. */
export function floatOf(
  { variant, made }: Pick<TrialRecord, 'variant' | 'made'>,
  tried: ReadonlyMap<string, TrialRecord>,
): Uint8Array | null {
  const { float } = made;
  if (float === null) return null;
  if (typeof float !== 'string') return encodeModel(float);
  const bytes = tried.get(variantId({ ...variant, precision: 'fp32' }))?.made.bytes;
  // A student that was taught once more is another network.
  return bytes && createHash('sha256').update(bytes).digest('hex') === float ? bytes : null;
}

interface StagesOptions {
  backbone: Backbone;
  source: Pick<ImageSource, 'view'>;
  /** Labelled images, in ledger order. */
  images: readonly number[];
  products: Products;
  threads: number;
  signal?: AbortSignal | undefined;
}

interface Reached {
  stage: ModelStage;
  /** Of each compared picture. */
  logits: readonly ArrayLike<number>[];
}

/**
 * Each step that the candidate went, and the whole way last where there are several.
 * @param reference the uncompressed model with the same labels
 * @param float as `floatOf` gives it; null of a quantised one: its rounding is told together with its compression
 * @throws CANCELLED, MODEL_UNREADABLE
 */
export async function parityStages(
  reference: Finished,
  finished: Finished,
  float: Uint8Array | null,
  options: StagesOptions,
): Promise<ParityStage[]> {
  const { backbone, source, images, products } = options;
  const { variant, knowledge } = finished;
  const rows = parityRows(images.length);
  const measured = async (stage: ModelStage, of: Finished): Promise<Reached> => {
    const z = embed(of.features, stagesOf(backbone), rows);
    return { stage, logits: rowsOfMatrix(await logitsOf(of.knowledge, z, products)) };
  };
  const inFloats = async (bytes: Uint8Array): Promise<Reached> => {
    const shown = rows.map((row) => images[row]!);
    const features = await featuresOf(backbone, bytes, variant.inputSize, source, shown, options);
    const z = embed(features, stagesOf(backbone));
    return { stage: 'compressed', logits: rowsOfMatrix(await logitsOf(knowledge, z, products)) };
  };
  const changed = variant.strategy !== 'none' || variant.inputSize !== backbone.inputSize;
  const integer = variant.precision === 'int8';
  const reached: Reached[] = [
    await measured('trained', reference),
    ...(changed && !integer ? [await measured('compressed', finished)] : []),
    ...(changed && integer && float ? [await inFloats(float)] : []),
    ...(integer ? [await measured('quantised', finished)] : []),
    { stage: 'deployed', logits: finished.sample.pictures.map(({ logits }) => logits) },
  ];
  const between = (from: Reached, to: Reached): ParityStage => ({
    from: from.stage,
    to: to.stage,
    ...parityOf(to.logits.map((given, i) => [given, from.logits[i]!])),
  });
  const steps = reached.slice(1).map((to, i) => between(reached[i]!, to));
  return steps.length === 1 ? steps : [...steps, between(reached[0]!, reached.at(-1)!)];
}
