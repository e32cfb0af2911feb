import type { Backbone } from '../../contract/domain.ts';
import { openSession } from '../../runtime/session.ts';
import type { PixelImage } from '../../vision/image.ts';
import { createPreprocessor } from '../../vision/preprocess.ts';
import { undisturbedMs, type Contender, type measureInterleaved } from '../evidence/latency.ts';
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
  const { image: pixels, region } = await source.view(image);
  const session = await openSession(model, { threads: options.threads, name });
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

/** What takes so many times as long as its layers tell was disturbed: their median error is 11 to 37 % (results/compress-auto-*.json). */
const DISTURBED = 1.6;

/**
 * Undisturbed times of an original and its changed form, timed together, ms. Once more where the changed one is far slower than its layers tell: what a neighbour does for seconds is in
 * every run of a small network, and what is timed too slow is neither taught nor built on.
 * @param expectedSpeedup null: nothing is known
 */
export async function timePair(
  measure: Measure,
  [original, changed]: readonly [original: Contender, changed: Contender],
  expectedSpeedup: number | null,
  signal?: AbortSignal,
): Promise<{ beforeMs: number; afterMs: number }> {
  const time = async () => {
    const times = await measure([original, changed], { rounds: 60, warmUp: 4, signal, budgetMs: 3000 });
    return { beforeMs: undisturbedMs(times.get(original.name)!), afterMs: undisturbedMs(times.get(changed.name)!) };
  };
  const speedup = ({ beforeMs, afterMs }: Awaited<ReturnType<typeof time>>) => beforeMs / afterMs;
  const first = await time();
  if (expectedSpeedup === null || DISTURBED * speedup(first) >= expectedSpeedup) return first;
  const second = await time();
  return speedup(second) > speedup(first) ? second : first;
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
