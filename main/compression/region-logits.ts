import type { ModelCard, Region } from '../contract/domain.ts';
import type { Session } from '../runtime/session.ts';
import type { PixelImage } from '../vision/image.ts';
import { createPreprocessor } from '../vision/preprocess.ts';

/** The logits of one region of a picture, as the line prepares it. */
export function createLogits(
  session: Session,
  { inputSize: size, mean, std }: Pick<ModelCard, 'inputSize' | 'mean' | 'std'>,
): (image: PixelImage, region: Region | null) => Promise<Float32Array> {
  const preprocessor = createPreprocessor({ size, mean, std });
  const data = new Float32Array(3 * size * size);
  return async (image, region) => {
    preprocessor.into(image, region, data, 0);
    const input = { [session.inputs[0] ?? 'image']: { type: 'float32' as const, dims: [1, 3, size, size], data } };
    const result = await session.run(input, ['logits']);
    return result['logits']!.data as Float32Array;
  };
}
