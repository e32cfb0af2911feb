import type { z } from 'zod';
import { AppError } from '../contract/errors.ts';
import type { trainerMethods } from '../contract/trainer.ts';
import { openInspector } from '../inspection/inspector.ts';
import { readLooks } from '../learning/feature-rows.ts';
import { drawGolden } from '../learning/golden-share.ts';
import { nearDuplicateGroups, NO_LOOK, type Picture } from '../learning/near-duplicates.ts';
import type { TrainerOptions } from '../learning/update.ts';
import { decodeImage } from '../vision/decode.ts';
import type { PixelImage } from '../vision/image.ts';
import { perceptualHash } from '../vision/perceptual-hash.ts';
import { recipeOf } from '../vision/tiles.ts';

type ShareInput = z.output<(typeof trainerMethods)['trainer.goldenShare']['input']>;
type ShareOutput = z.output<(typeof trainerMethods)['trainer.goldenShare']['output']>;
type Input = z.output<(typeof trainerMethods)['trainer.golden']['input']>;
type Output = z.output<(typeof trainerMethods)['trainer.golden']['output']>;

const pictureOf = (file: string, maxPixels: number): Promise<PixelImage | null> =>
  decodeImage(file, { name: file, maxPixels }).then(
    ({ image }) => image,
    () => null,
  );

/** As it is stored: a flat picture has none. */
const knownLook = (look: string): string | null => (look === NO_LOOK ? null : look);

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
    return pictureOf(file, recipe.maxPixels);
  };
  const out: Output = { results: [], leaks: [], unreadable: [], looks: [] };
  const pictures: Picture[] = [];
  await using inspector = bundleDir === null ? null : await openInspector({ bundleDir, threads });
  for (const { sha, file } of golden) {
    const image = await read(file);
    if (image === null) {
      out.unreadable.push(sha);
      continue;
    }
    const look = perceptualHash(image);
    pictures.push({ sha, look });
    if (knownLook(look) !== null) out.looks.push({ sha, look });
    if (inspector === null) continue;
    const { verdict, classId } = await inspector.inspect(image, { recipe: recipeOf(inspector.card, recipe) });
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

/**
 * Which newly labelled pictures judge instead of teaching (learning/golden-share.ts). One that cannot be read stays: learning it says so by name.
 * @throws CANCELLED
 */
export async function shareGolden(
  { fresh, taught, golden, most, maxPixels, featureFile }: ShareInput,
  { signal }: TrainerOptions = {},
): Promise<ShareOutput> {
  const lookAt = async (file: string): Promise<string | undefined> => {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const image = await pictureOf(file, maxPixels);
    return image === null ? undefined : perceptualHash(image);
  };
  const pictures: (Picture & { classId: string; look: string })[] = [];
  for (const { sha, file, classId } of fresh) {
    const look = await lookAt(file);
    if (look !== undefined) pictures.push({ sha, classId, look });
  }
  const [noted, others] = [taught.filter(({ row }) => row >= 0), taught.filter(({ row }) => row < 0)];
  const looks = await readLooks(
    featureFile,
    noted.map(({ row }) => row),
  );
  const known: Picture[] = noted.map(({ sha }, i) => ({ sha, look: looks[i] }));
  for (const { sha, file } of others) known.push({ sha, look: await lookAt(file) });
  const drawn = drawGolden({
    fresh: pictures,
    taught: known,
    golden: golden.map(({ look, ...image }) => ({ ...image, look: look ?? undefined })),
    most: new Map(most.map(({ classId, images }) => [classId, images])),
  });
  const lookOf = new Map(pictures.map(({ sha, look }) => [sha, knownLook(look)]));
  return { drawn: drawn.map((sha) => ({ sha, look: lookOf.get(sha)! })) };
}
