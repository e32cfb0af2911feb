import type { z } from 'zod';
import { AppError } from '../contract/errors.ts';
import type { trainerMethods } from '../contract/trainer.ts';
import { openInspector } from '../inspection/inspector.ts';
import { nearDuplicateGroups, type Picture } from '../learning/near-duplicates.ts';
import type { TrainerOptions } from '../learning/update.ts';
import { decodeImage } from '../vision/decode.ts';
import type { PixelImage } from '../vision/image.ts';
import { perceptualHash } from '../vision/perceptual-hash.ts';

type Input = z.output<(typeof trainerMethods)['trainer.golden']['input']>;
type Output = z.output<(typeof trainerMethods)['trainer.golden']['output']>;

/**
 * A model on the golden set, as the line would judge it, and whether the set is apart from what was learnt: the same picture, or one that
 * looks nearly like a learnt one, is no test. Near is what grouped validation calls near (learning/near-duplicates.ts).
 * @throws MODEL_UNREADABLE, BUNDLE_ALTERED, CANCELLED
 */
export async function tryGolden(
  { bundleDir, recipe, golden, learnt, threads }: Input,
  options: TrainerOptions = {},
): Promise<Output> {
  const total = golden.length + learnt.length;
  let done = 0;
  const read = async (file: string): Promise<PixelImage | null> => {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const step = { key: 'golden.judge', details: { done, total } };
    options.onProgress?.({ progress: done / total, secondsLeft: null, step });
    done += 1;
    return decodeImage(file, { name: file, maxPixels: recipe.maxPixels }).then(
      ({ image }) => image,
      () => null,
    );
  };
  const out: Output = { results: [], leaks: [], unreadable: [] };
  const pictures: Picture[] = [];
  await using inspector = bundleDir === null ? null : await openInspector({ bundleDir, threads });
  for (const { sha, file } of golden) {
    const image = await read(file);
    if (image === null) {
      out.unreadable.push(sha);
      continue;
    }
    pictures.push({ sha, look: perceptualHash(image) });
    if (inspector === null) continue;
    const { verdict, classId } = await inspector.inspect(image, { recipe });
    out.results.push({ sha, verdict, classId });
  }
  const judged = pictures.length;
  for (const { sha, file } of learnt) {
    const image = await read(file);
    pictures.push(image === null ? { sha } : { sha, look: perceptualHash(image) });
  }
  const groups = nearDuplicateGroups(pictures);
  const learntIn = new Map<string, string>();
  for (let i = judged; i < pictures.length; i += 1) learntIn.set(groups[i]!, pictures[i]!.sha);
  const taught = new Set(learnt.map(({ sha }) => sha));
  for (let i = 0; i < judged; i += 1) {
    const { sha } = pictures[i]!;
    const like = taught.has(sha) ? sha : learntIn.get(groups[i]!);
    if (like !== undefined) out.leaks.push({ sha, like });
  }
  return out;
}
