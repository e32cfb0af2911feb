import type { Backbone } from '../../contract/domain.ts';
import { openSession } from '../../runtime/session.ts';
import type { PixelImage } from '../../vision/image.ts';
import { createPreprocessor } from '../../vision/preprocess.ts';
import type { Contender, measureInterleaved } from '../evidence/latency.ts';
import type { ImageSource } from '../image-source.ts';

/** How long contenders are timed against each other; tests with a fake clock replace it. */
export type Measure = typeof measureInterleaved;

/** A whole inference as the line does it, from the decoded image: resize, normalise, run. */
export async function openContender(
  name: string,
  model: Uint8Array,
  options: {
    inputName: string;
    inputSize: number;
    backbone: Pick<Backbone, 'mean' | 'std'>;
    source: Pick<ImageSource, 'view'>;
    image: number;
    threads: number;
  },
): Promise<Contender & AsyncDisposable> {
  const { inputName, inputSize: size, backbone, source, image } = options;
  const session = await openSession(model, { threads: options.threads, name });
  const { image: pixels, region } = await source.view(image);
  const preprocessor = createPreprocessor({ size, mean: backbone.mean, std: backbone.std });
  const data = new Float32Array(3 * size * size);
  return {
    name,
    async run() {
      preprocessor.into(pixels, region, data, 0);
      await session.run({ [inputName]: { type: 'float32', dims: [1, 3, size, size], data } });
    },
    [Symbol.asyncDispose]: () => session.dispose(),
  };
}

/** Median time of bringing a picture to a size. */
export function resizeMs(pixels: PixelImage, size: number, { mean, std }: Pick<Backbone, 'mean' | 'std'>): number {
  const preprocessor = createPreprocessor({ size, mean, std });
  const out = new Float32Array(preprocessor.length);
  const times = Array.from({ length: 11 }, () => {
    const before = performance.now();
    preprocessor.into(pixels, null, out, 0);
    return performance.now() - before;
  });
  return times.toSorted((a, b) => a - b)[5]!;
}
